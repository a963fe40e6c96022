"""The record of exported files: NAME.json, which describes NAME.onnx, NAME.xml, NAME.tflite and NAME_saved_model."""

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pydantic

from utils.base.errors import UserError
from utils.base.files import digest, file_fingerprint, read_json
from utils.base.formats import EXPORTED_SUFFIXES, FORMATS, QUANTISED
from utils.base.schemas import Name, NonNegative, Positive, Schema, Sha256, Share, read_checked
from utils.runs.cost import Cost
from utils.runs.record import ClassNames, ClipSeconds, Input, Record

FORMAT = 1  # incremented with each new field, so that older versions of the project say that a record is newer
KIND = "export"


class Source(Schema):
    """The Keras file that was exported."""

    file: Name
    fingerprint: Sha256


class Agreement(Schema):
    """Largest difference of the probabilities from those of Keras, and share of clips with the same predicted class."""

    largest_difference: NonNegative
    agreement: Share


class ExportedFile(Agreement):
    """A file that was run before it was kept.

    fingerprint: of the file, or of all files of a folder. weights: fingerprint of the .bin file of OpenVINO.
    batch: 1 if the file takes one clip at a time, otherwise "dynamic". bfloat16: agreement of the float32 file if it
    computes in bfloat16; None if that was not verified.
    """

    type: Literal[*FORMATS]
    precision: Literal["float32", "int8"]
    fingerprint: Sha256
    weights: Sha256 | None = None
    batch: Literal["dynamic", 1]
    bfloat16: Agreement | None = None


class ExportMetadata(Schema):
    """What exported files state about themselves, as JSON under METADATA_KEY of formats/format.py.

    The files map RGB clips float32 `(B, *input.shape)`, 0..255, to float32 `(B, C)`: logits, or probabilities
    softmax(logits / temperature). class_names: None if the source has no record. stored_shape: (T, H, W, 3) in which
    stage 1 stores the frames of a video, before they are resized to the input; None if unknown. cost: that of the
    Keras file; None if unknown.
    """

    NEWEST: ClassVar[int] = FORMAT

    format: Annotated[int, pydantic.Field(ge=1, le=FORMAT)]
    kind: Literal["export"]
    source: Source
    class_names: ClassNames | None
    input: Input
    stored_shape: Annotated[list[Positive], pydantic.Field(min_length=4, max_length=4)] | None
    output: Literal["probabilities", "logits"]
    temperature: Annotated[float, pydantic.Field(gt=0)]
    threshold: Share | None
    clip_seconds: ClipSeconds | None
    cost: Cost | None = None
    versions: dict[str, str]


class ExportRecord(ExportMetadata):
    """The content of NAME.json. `record` is the record of the source, `files` has an entry per file name."""

    record: Record | None
    files: Annotated[dict[Name, ExportedFile], pydantic.Field(min_length=1)]


def metadata_of(record: ExportRecord) -> ExportMetadata:
    """Return the part of a record that is stored inside the files."""
    return ExportMetadata(**{name: getattr(record, name) for name in ExportMetadata.model_fields})


def read_export_record(path: str | os.PathLike, *, argument: str) -> ExportRecord | None:
    """Return the record of an exported file or folder, or None if there is none next to it.

    A JSON file that is not of an export, such as the record of a Keras file of the same name, does not count. Raises
    UserError if the record is damaged, or if the file is not the one that it describes.
    """
    path = Path(path)
    for record_path in _record_paths(path):
        what = f"{argument}: {record_path}"
        if not os.path.lexists(record_path):
            continue
        content = read_json(record_path, what=what)
        if not isinstance(content, dict) or content.get("kind") != KIND:
            continue
        record = read_checked(record_path, ExportRecord, what=what)
        if path.name in record.files:
            _require_unchanged(path, record.files[path.name], what)
            return record
    return None


def folder_fingerprint(folder: str | os.PathLike) -> str:
    """Return the SHA-256 of the relative paths and contents of all files in a folder."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder).as_posix()} {file_fingerprint(path)}" for path in files]
    return digest("\n".join(lines).encode(errors="surrogatepass"))


def _record_paths(path: Path) -> list[Path]:
    """Return where the record of an exported file may be; the name of the source may itself end in _int8."""
    stem = path.stem if path.suffix in EXPORTED_SUFFIXES else path.name.removesuffix(FORMATS["saved_model"])
    return [path.with_name(f"{name}.json") for name in dict.fromkeys((stem, stem.removesuffix(QUANTISED))) if name]


def _require_unchanged(path: Path, expected: ExportedFile, what: str) -> None:
    found = folder_fingerprint(path) if path.is_dir() else file_fingerprint(path)
    weights = path.with_suffix(".bin")
    is_same = found == expected.fingerprint
    if is_same and expected.weights is not None:
        is_same = weights.is_file() and file_fingerprint(weights) == expected.weights
    if not is_same:
        raise UserError(
            f"{what} must be the record of {path}, but belongs to another file; restore the matching files, or export "
            "the model again"
        )
