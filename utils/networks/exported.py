"""Exported networks as models: clips in, logits out, without TensorFlow or Keras."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.options import INPUT_SCALES
from utils.base.schemas import checked
from utils.data.class_scores import ScoreKind, are_probabilities, as_logits
from utils.networks.export_record import (
    ExportMetadata,
    metadata_of,
    read_export_record,
)
from utils.networks.formats.format import Runtime
from utils.networks.formats.opening import open_runtime
from utils.networks.model_file import ModelFileError
from utils.networks.precision import cpu_has_bfloat16
from utils.runs.record import Record


@dataclass(frozen=True)
class ExportedModel:
    """An exported network with the part of a Keras model's interface that recognisers use.

    temperature: of the probabilities softmax(logits / temperature) that the file outputs; None if it outputs logits.
    channels, input_scale: the input that the file expects, "rgb" and "0..255" for files of this project.
    precision: the number format in which it computes.
    """

    runtime: Runtime
    temperature: float | None = None
    channels: str = "rgb"
    input_scale: str = "0..255"
    precision: str = "float32"

    @property
    def input_shape(self) -> tuple[None, int, int, int, int]:
        return (None, *self.runtime.input_shape)

    @property
    def output_shape(self) -> tuple[None, int]:
        return (None, self.runtime.num_classes)

    def predict_on_batch(self, clips: np.ndarray) -> np.ndarray:
        """Return logits float32 `(B, C)` for RGB clips 0..255 `(B, *input_shape)`.

        Those of probabilities are temperature * log(probabilities). They differ from the logits of the network by a
        constant per row, which a softmax ignores. Zeros stand for less than the step of the scores. Raises UserError if
        the file fails for these clips, or outputs no probabilities although it states so.
        """
        clips = clips[..., ::-1] if self.channels == "bgr" else clips
        if self.input_scale != "0..255":
            scale, offset = INPUT_SCALES[self.input_scale]
            clips = clips * np.float32(scale) + np.float32(offset)
        try:
            scores = self.runtime(clips)
        except ModelFileError as error:
            raise UserError(f"{self.runtime.path}: {error}") from None
        if self.temperature is None:
            return scores
        logits = np.float32(self.temperature) * as_logits(scores, ScoreKind("probabilities", self.runtime.step))
        if not np.isfinite(logits).all():
            raise UserError(f"{self.runtime.path}: its scores must be probabilities, as it states, found others")
        return logits


def open_exported(
    path: str | os.PathLike,
    *,
    argument: str,
    channels: str,
    input_scale: str,
    threads: int | None = None,
    precision: str = "float32",
) -> tuple[ExportedModel, ExportMetadata | None, Record | None]:
    """Open an exported file; return the model, what the export states about it, and the record of its source.

    The statements come from NAME.json next to the file, otherwise from the metadata inside it, which hold no record.
    They are None for a file of another project. Then `channels`, `input_scale` and the outputs are treated as those of
    a Keras file without a record.
    `precision` is one of RUN_PRECISIONS. With bfloat16, also if `auto` chooses it, a line says how it was verified.
    Raises UserError if the file is not a network of clips, if NAME.json is damaged or belongs to another file, or if
    `channels` or `input_scale` contradict what is stated.
    """
    export = read_export_record(path, argument=argument)
    verified = export.files[Path(path).name].bfloat16 if export else None
    if precision == "bfloat16" and verified is None:
        raise UserError(f"--precision: must be float32 or auto, as {path} was not verified in bfloat16 by export.py")
    if precision == "auto":
        precision = "bfloat16" if verified and cpu_has_bfloat16() else "float32"
    try:
        runtime = open_runtime(path, threads=threads, precision=precision)
    except ModelFileError as error:
        raise UserError(
            f"{argument}: {path} must be a complete exported model, but loading it failed: {error}"
        ) from None
    stated = metadata_inside(runtime, argument=argument) if export is None else metadata_of(export)
    if stated is None:
        model, outputs = with_conventions(runtime, channels, input_scale)
        print(f"{path}: {outputs}")
        return model, None, None
    if (channels, input_scale) != ("rgb", "0..255"):
        raise UserError(
            f"--channels and --input_scale are for models without a record, but {path} states that it takes RGB 0..255"
        )
    check_stated(runtime, stated, what=f"{argument}: {path}")
    if precision == "bfloat16":
        agreement = f"{verified.agreement:.1%} of classes, largest difference {verified.largest_difference:.1g}"
        print(f"{path}: computed in bfloat16, verified by export.py ({agreement}); --precision float32 is exact")
    temperature = stated.temperature if stated.output == "probabilities" else None
    return ExportedModel(runtime, temperature, precision=precision), stated, export.record if export else None


def metadata_inside(runtime: Runtime, *, argument: str) -> ExportMetadata | None:
    """Return the metadata inside an exported file, None if it has none of this project. Raises UserError."""
    text = runtime.metadata
    if text is None:
        return None
    return checked(text, ExportMetadata, what=f"{argument}: the metadata of {runtime.path}")


def check_stated(runtime: Runtime, stated: ExportMetadata, *, what: str) -> None:
    """Raise UserError that starts with `what` if statements about a file describe another input or other classes."""
    shape, names = list(runtime.input_shape), stated.class_names
    if stated.input.shape != shape:
        raise UserError(f"{what} takes clips of shape {shape}, but its record states {stated.input.shape}")
    if names is not None and len(names) != runtime.num_classes:
        raise UserError(f"{what} has {runtime.num_classes} classes, but its record names {len(names)}")


def with_conventions(runtime: Runtime, channels: str, input_scale: str) -> tuple[ExportedModel, str]:
    """Return a file of another project as a model, and a description of what it outputs.

    Its outputs for two random clips show whether they are probabilities (see `are_probabilities`).
    """
    model = ExportedModel(runtime, None, channels, input_scale)
    probe = np.random.default_rng(0).integers(0, 256, (2, *runtime.input_shape)).astype(np.float32)
    if are_probabilities(model.predict_on_batch(probe)):
        return ExportedModel(runtime, 1.0, channels, input_scale), "probabilities, log taken"
    return model, "logits"
