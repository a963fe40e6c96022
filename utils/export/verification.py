"""The comparison of an exported file with Keras, before the file is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import softmax

from utils.base.errors import UserError
from utils.evaluation.intervals import Interval
from utils.export.clips import ComparisonClips
from utils.networks.export_record import ExportMetadata
from utils.networks.formats.opening import format_of, open_runtime
from utils.networks.model_file import ModelFileError
from utils.networks.precision import cpu_has_bfloat16

LARGEST_DIFFERENCE = 1e-4  # of probabilities, for float32
LEAST_AGREEMENT = 0.99  # for int8 and bfloat16
LARGEST_LOSS = 0.01  # of accuracy, for int8 and bfloat16


@dataclass(frozen=True)
class Verification:
    """largest_difference and agreement as in ExportedFile; accuracy on the test clips, None if there are none."""

    largest_difference: float
    agreement: float
    accuracy: Interval | None

    def __str__(self) -> str:
        return f"largest difference {self.largest_difference:.1g}, {self.agreement:.1%} of classes"


@dataclass(frozen=True)
class Verified:
    """The comparison of a file, whether it takes batches of any size, and its comparison in bfloat16, if it passed."""

    verification: Verification
    is_dynamic: bool
    bfloat16: Verification | None = None


def expected_probabilities(model, clips: ComparisonClips, temperature: float) -> np.ndarray:
    """Return what the files should output as probabilities, computed by the Keras model of logits: float64 (N, C).

    Raises UserError if they are not finite.
    """
    logits = outputs_of(model.predict_on_batch, clips)
    if not np.isfinite(logits).all():
        raise UserError(f"--recognizer: the logits must be finite, got NaN or infinity on {clips.source}")
    return softmax(logits / temperature, axis=1)


def outputs_of(run: Callable[[np.ndarray], np.ndarray], clips: ComparisonClips) -> np.ndarray:
    """Return the outputs for all clips: float64 (N, C)."""
    return np.concatenate([np.asarray(run(batch), np.float64) for batch in clips.batches()])


def verify(
    path: Path, kind: str, precision: str, clips: ComparisonClips, expected: np.ndarray, metadata: ExportMetadata
) -> Verified:
    """Run a file of the format `kind` on all clips and compare its probabilities with those of Keras.

    A float32 file is also run in bfloat16 if the format and this CPU can. That is recorded if it keeps the classes as
    well as integers must. Raises UserError if the file cannot be run or if it differs by more than its precision
    explains.
    """

    def run(compute: str) -> tuple[Verification, bool]:
        try:
            runtime = open_runtime(path, precision=compute)
            found = outputs_of(runtime, clips)
        except ModelFileError as error:
            raise UserError(f"{path.name} cannot be run: {error}; no file was written") from None
        found = found if metadata.output == "probabilities" else softmax(found / metadata.temperature, axis=1)
        return compared(found, expected, clips), runtime.is_dynamic

    (verification, is_dynamic), keras = run("float32"), clips.accuracy(expected)
    print(f"{path.name}: {verification} on {clips.count} {clips.source}")
    if precision == "int8":
        check_integers(path.name, verification, keras, clips)
        return Verified(verification, is_dynamic)
    check_floats(path.name, verification, clips)
    if not (format_of(kind).has_bfloat16 and cpu_has_bfloat16()):
        return Verified(verification, is_dynamic)
    bfloat16 = run("bfloat16")[0]
    is_kept = keeps_classes(bfloat16, keras)
    print(f"{path.name} in bfloat16: {bfloat16}; predict.py computes it in {'bfloat16' if is_kept else 'float32'}")
    return Verified(verification, is_dynamic, bfloat16 if is_kept else None)


def compared(found: np.ndarray, expected: np.ndarray, clips: ComparisonClips) -> Verification:
    """Compare probabilities (N, C) with those of Keras."""
    if found.shape != expected.shape:
        raise UserError(f"the exported file must output {expected.shape}, found {found.shape}")
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    return Verification(float(np.abs(found - expected).max()), float(same.mean()), clips.accuracy(found))


def check_floats(name: str, verification: Verification, clips: ComparisonClips) -> None:
    """Raise UserError unless probabilities agree to LARGEST_DIFFERENCE.

    The most probable classes are then equal too, except where Keras has two of nearly the same probability.
    """
    difference = verification.largest_difference
    if difference > LARGEST_DIFFERENCE:
        raise UserError(
            f"{name}: probabilities must differ from those of Keras by at most {LARGEST_DIFFERENCE:g} on "
            f"{clips.count} {clips.source}, found {difference:.2g}; no file was written"
        )


def keeps_classes(verification: Verification, keras: Interval | None) -> bool:
    """Return whether classes agree to LEAST_AGREEMENT, or accuracy drops by at most LARGEST_LOSS; see below."""
    reached = verification.accuracy
    is_accurate = reached is not None and reached.estimate >= keras.estimate - LARGEST_LOSS - 1e-9
    return verification.agreement >= LEAST_AGREEMENT or is_accurate


def check_integers(name: str, verification: Verification, keras: Interval | None, clips: ComparisonClips) -> None:
    """Raise UserError unless classes agree to LEAST_AGREEMENT, or accuracy drops by at most LARGEST_LOSS.

    keras: the accuracy of Keras on test clips, None if there are none.
    """
    if keeps_classes(verification, keras):
        return
    reached = verification.accuracy
    accuracy = "" if reached is None else f" and an accuracy of {reached.estimate:.1%} in place of {keras.estimate:.1%}"
    raise UserError(
        f"--int8: {name} must agree with Keras on {LEAST_AGREEMENT:.0%} of {clips.count} {clips.source}, or lose at "
        f"most one point of accuracy on test clips; found {verification.agreement:.1%}{accuracy}; no file was written; "
        "try more --calibration_clips, or leave --int8 out"
    )
