"""The comparison of an exported file with Keras, before the file is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import softmax

from utils.base.errors import UserError
from utils.evaluation.intervals import Interval
from utils.export.clips import ComparisonClips
from utils.networks.formats.opening import open_runtime
from utils.networks.model_file import ModelFileError

LARGEST_DIFFERENCE = 1e-4  # of probabilities, for float32
LEAST_AGREEMENT = 0.99  # for int8
LARGEST_LOSS = 0.01  # of accuracy, for int8


@dataclass(frozen=True)
class Verification:
    """largest_difference and agreement as in ExportedFile; accuracy on the test clips, None if there are none."""

    largest_difference: float
    agreement: float
    accuracy: Interval | None


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
    path: Path, precision: str, clips: ComparisonClips, expected: np.ndarray, *, output: str, temperature: float
) -> tuple[Verification, bool]:
    """Run a file on all clips and compare its probabilities; also return whether it takes batches of any size.

    Raises UserError if the file cannot be run or if it differs from Keras by more than its precision explains.
    """
    try:
        runtime = open_runtime(path)
    except ModelFileError as error:
        raise UserError(f"{path.name} cannot be run: {error}") from None
    found = outputs_of(runtime, clips)
    if output == "logits":
        found = softmax(found / temperature, axis=1)
    verification = compared(found, expected, clips)
    if precision == "int8":
        check_integers(path.name, verification, clips.accuracy(expected), clips)
    else:
        check_floats(path.name, verification, clips)
    return verification, runtime.is_dynamic


def compared(found: np.ndarray, expected: np.ndarray, clips: ComparisonClips) -> Verification:
    """Compare probabilities (N, C) with those of Keras."""
    if found.shape != expected.shape:
        raise UserError(f"the exported file must output {expected.shape}, found {found.shape}")
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    difference = float(np.abs(found - expected).max()) if np.isfinite(found).all() else float("inf")
    return Verification(difference, float(same.mean()), clips.accuracy(found))


def check_floats(name: str, verification: Verification, clips: ComparisonClips) -> None:
    """Raise UserError unless probabilities agree to LARGEST_DIFFERENCE.

    The most probable classes are then equal too, except where Keras has two of nearly the same probability.
    """
    difference = verification.largest_difference
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(
            f"{name}: probabilities must differ from those of Keras by at most {LARGEST_DIFFERENCE:g} on "
            f"{clips.count} {clips.source}, found {difference:.2g}; no file was written"
        )


def check_integers(name: str, verification: Verification, keras: Interval | None, clips: ComparisonClips) -> None:
    """Raise UserError unless classes agree to LEAST_AGREEMENT, or accuracy drops by at most LARGEST_LOSS.

    keras: the accuracy of Keras on test clips, None if there are none.
    """
    is_finite = np.isfinite(verification.largest_difference)
    if is_finite and verification.agreement >= LEAST_AGREEMENT:
        return
    reached = verification.accuracy
    is_accurate = reached is not None and reached.estimate >= keras.estimate - LARGEST_LOSS - 1e-9
    if is_finite and is_accurate:
        return
    accuracy = "" if reached is None else f" and an accuracy of {reached.estimate:.1%} in place of {keras.estimate:.1%}"
    raise UserError(
        f"--int8: {name} must agree with Keras on {LEAST_AGREEMENT:.0%} of {clips.count} {clips.source}, or lose at "
        f"most one point of accuracy on test clips; found {verification.agreement:.1%}{accuracy}; no file was written; "
        "try more --calibration_clips, or leave --int8 out"
    )
