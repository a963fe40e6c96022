"""Arrays of class scores in .npy files: their shape, whether they are logits or probabilities, and finite logits."""

from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.data.class_scores import ScoreKind, as_logits, fault_of, kind_of
from utils.data.clips import open_array

BYTES = (2, 4, 8)  # of the floats that are accepted


def open_scores(
    path: Path,
    argument: str,
    *,
    clips: int | None = None,
    views: int | None = None,
    classes: int | None = None,
    note: str = "",
) -> np.ndarray:
    """Open a .npy of floats, per clip `(N, C)` or per view `(N, K + 1, C)`, as a memory map.

    N is `clips` and C, at least 2, is `classes`; None accepts any number. Raises UserError that names `argument` for
    another dtype or shape. The message includes `views` and `note`, which are not checked.
    """
    scores = open_array(path, argument)
    are_floats = scores.dtype.kind == "f" and scores.dtype.itemsize in BYTES
    fits = scores.ndim in (2, 3) and clips in (None, len(scores)) and classes in (None, scores.shape[-1])
    if not are_floats or not fits or 0 in scores.shape or scores.shape[-1] < 2:
        n, c = ("N" if clips is None else clips), ("K" if classes is None else classes)
        raise UserError(
            f"{argument}: {path} must hold class scores as floats ({n}, {c}) or "
            f"({n}, {'views + 1' if views is None else views + 1}, {c}){note}, found {scores.dtype} of shape "
            f"{scores.shape}"
        )
    return scores


def scores_kind(path: Path, argument: str, asked: str = "auto") -> ScoreKind:
    """Decide whether a file holds logits or probabilities; see `kind_of` for `asked` and for what is refused."""
    return kind_of(open_scores(path, argument), what=f"{argument}: {path}", asked=asked)


def finite_float32(
    values: np.ndarray, kind: ScoreKind | None, rows: np.ndarray, *, what: str, where: str
) -> np.ndarray:
    """Return values `(B, C)` of the clips `rows` as finite float32: logits if they are scores of a `kind`.

    Raises UserError about the first row that is not finite, or holds no scores of this kind. `what` is the start of
    the message, `where` names the view.
    """
    finite = np.isfinite(values).all(axis=1)
    needed = "for all training, validation and unlabelled clips, but"
    if not finite.all():
        raise UserError(
            f"{what} must hold finite scores {needed} those for {(~finite).sum()} of {len(rows)}{where} are not "
            f"(first: row {rows[~finite][0]})"
        )
    if kind is None:
        with np.errstate(over="ignore"):
            found = values.astype(np.float32)
    else:
        found = as_logits(values, kind)
    lost = ~np.isfinite(found).all(axis=1)
    if lost.any():
        row, first = f"row {rows[lost][0]}{where}", values[lost][0].astype(np.float64)
        if kind is None or kind.are_logits:
            raise UserError(
                f"{what} must hold numbers of float32 {needed} {row} holds {first[np.abs(first).argmax()]:g}"
            )
        raise UserError(
            f"{what} must hold probabilities {needed} {row} {fault_of(first)}; for logits, use --source_scores logits"
        )
    return found
