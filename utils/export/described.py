"""The record of an export: what its files are, and what they state about themselves."""

from collections.abc import Collection
from pathlib import Path

from utils.base.errors import UserError
from utils.base.export_options import ExportOptions, exported_names
from utils.base.files import file_fingerprint
from utils.base.formats import FORMATS
from utils.base.machine import installed_versions
from utils.base.prediction_options import PredictionOptions
from utils.export.deployment import versions_of
from utils.export.verification import Verification, Verified
from utils.networks.cost import cost_of_model
from utils.networks.export_record import (
    FORMAT,
    KIND,
    Agreement,
    ExportedFile,
    ExportMetadata,
    Source,
    folder_fingerprint,
    metadata_of,
    read_export_record,
)
from utils.networks.formats.opening import format_of
from utils.networks.recognizer import Recognizer
from utils.prediction.predictor import class_names_of
from utils.runs.record import Input

CONVERTERS = ("tf2onnx", "onnx", "nncf")


def metadata_for(recognizer: Recognizer, options: ExportOptions, given: PredictionOptions) -> ExportMetadata:
    """Return what the files of an export state about themselves.

    Class names of a model without a record are those of `given`, otherwise unknown. Raises UserError if `given` states
    what the record states.
    """
    path, record = recognizer.path, recognizer.record
    if record is not None and given.class_names is not None:
        raise UserError(f"--class_names is for models without a record, but {path} has one")
    has_names = record is not None or given.class_names is not None
    calibration = record.calibration if record is not None else None
    shape = {"shape": list(recognizer.input_shape)}
    return ExportMetadata(
        format=FORMAT,
        kind=KIND,
        source=Source(file=path.name, fingerprint=file_fingerprint(path)),
        class_names=list(class_names_of(recognizer, given)) if has_names else None,
        input=record.input.model_copy(update=shape) if record is not None else Input(**shape),
        stored_shape=record.arrays.shape[1:] if record is not None else None,
        output=options.output,
        temperature=calibration.temperature if calibration else 1.0,
        threshold=calibration.threshold if calibration else None,
        clip_seconds=record.clip_seconds if record is not None else None,
        cost=cost_of_model(recognizer.model),
        versions=installed_versions() | versions_of((*(format_of(kind).runtime for kind in FORMATS), *CONVERTERS)),
    )


def described(path: Path, kind: str, precision: str, verified: Verified) -> ExportedFile:
    """Return the entry of an exported file or folder in the record."""
    return ExportedFile(
        type=kind,
        precision=precision,
        fingerprint=folder_fingerprint(path) if path.is_dir() else file_fingerprint(path),
        weights=file_fingerprint(path.with_suffix(".bin")) if kind == "openvino" else None,
        batch="dynamic" if verified.is_dynamic else 1,
        bfloat16=verified.bfloat16 and agreement_of(verified.bfloat16),
        **agreement_of(verified.verification).model_dump(),
    )


def agreement_of(verification: Verification) -> Agreement:
    """Return what the record states of a comparison."""
    return Agreement(largest_difference=verification.largest_difference, agreement=verification.agreement)


def kept_files(
    output_path: Path, stem: str, metadata: ExportMetadata, written: Collection[str]
) -> dict[str, ExportedFile]:
    """Return the entries of files of an earlier export of the same model with the same output, which stay valid.

    Prints a note on files of another export, which the new record does not describe.
    """
    kept = {}
    for name in exported_names(stem, ExportOptions(formats=tuple(FORMATS), int8=True)):
        path = output_path / name
        if name in written or not path.exists():
            continue
        try:
            earlier = read_export_record(path, argument="--output_path")
        except UserError:
            earlier = None
        if earlier is not None and _described_alike(metadata_of(earlier), metadata):
            kept[name] = earlier.files[name]
        else:
            print(f"note: {path} is of another export; {stem}.json no longer describes it")
    return kept


def _described_alike(metadata: ExportMetadata, other: ExportMetadata) -> bool:
    return metadata.model_dump(exclude={"versions"}) == other.model_dump(exclude={"versions"})
