"""Differences between two recognisers by class, with paired tests, and the agreement of several recognisers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control

from utils.base.drawing import Display, label
from utils.evaluation.intervals import compare

COUNTED = 30  # with more recognisers, the matrix of agreements has no numbers in its cells
SHOWN_GAINS = 15  # classes at each end of the figure; all if there are no more than twice as many
GAIN, LOSS, EQUAL = "#0072B2", "#D55E00", "0.5"  # Okabe and Ito's blue and vermilion


@dataclass(frozen=True)
class ClassGain:
    """Two recognisers on the clips of one class.

    first, second: their accuracies, 0 to 1. only_first, only_second: number of clips that only one of them recognises.
    p_value: of the paired test, see `compare`. q_value: the p-value adjusted for the number of classes, which
    controls the false discovery rate (Benjamini & Hochberg 1995).
    """

    name: str
    clips: int
    first: float
    second: float
    only_first: int
    only_second: int
    p_value: float
    q_value: float

    @property
    def gain(self) -> float:
        return self.first - self.second


def class_gains(
    labels: np.ndarray,
    logits: np.ndarray,
    other_logits: np.ndarray,
    class_names: Sequence[str],
    groups: np.ndarray | None = None,
) -> list[ClassGain]:
    """Compare two recognisers by class, the largest gain of the first one first; classes without clips are left out.

    labels: int `(N,)`. logits, other_logits: float `(N, C)`. groups: the group of each clip `(N,)`, None if clips are
    independent.
    """
    correct, other = (np.argmax(found, axis=1) == labels for found in (logits, other_logits))
    found = []
    for number in np.unique(labels).tolist():
        mine = labels == number
        first, second = correct[mine], other[mine]
        p_value = compare(first, second, None if groups is None else groups[mine]).p_value
        only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
        shares = float(first.mean()), float(second.mean())
        found.append((class_names[number], int(mine.sum()), *shares, only_first, only_second, p_value))
    q_values = false_discovery_control([row[-1] for row in found]).tolist()
    gains = [ClassGain(*row, q_value) for row, q_value in zip(found, q_values)]
    return sorted(gains, key=lambda gain: (-gain.gain, -gain.clips, gain.name))


@dataclass(eq=False)
class ClassGains(Display):
    """Accuracy of two recognisers by class, sorted by the gain of the first one; of many classes only both ends."""

    gains: list[ClassGain]
    first: str
    second: str

    @classmethod
    def from_predictions(
        cls,
        labels: np.ndarray,
        logits: np.ndarray,
        other_logits: np.ndarray,
        class_names: Sequence[str],
        *,
        groups: np.ndarray | None = None,
        first: str = "first",
        second: str = "second",
    ) -> "ClassGains":
        """Return the display of `class_gains`; `first` and `second` name the recognisers."""
        return cls(class_gains(labels, logits, other_logits, class_names, groups), first, second)

    @property
    def shown(self) -> list[ClassGain]:
        if len(self.gains) <= 2 * SHOWN_GAINS:
            return self.gains
        return self.gains[:SHOWN_GAINS] + self.gains[-SHOWN_GAINS:]

    def size(self) -> tuple[float, float]:
        return 5.2, 1.3 + 0.24 * len(self.shown)

    def draw(self, ax) -> None:
        for row, gain in enumerate(self.shown):
            colour = GAIN if gain.gain > 0 else LOSS if gain.gain < 0 else EQUAL
            ax.plot([100 * gain.second, 100 * gain.first], [row, row], color=colour, linewidth=2)
        rows = range(len(self.shown))
        colours = [GAIN if gain.gain > 0 else LOSS if gain.gain < 0 else EQUAL for gain in self.shown]
        first, second = ([100 * getattr(gain, name) for gain in self.shown] for name in ("first", "second"))
        ax.scatter(second, rows, 30, facecolors="white", edgecolors=colours, zorder=3, label=label(self.second))
        ax.scatter(first, rows, 30, c=colours, zorder=4, label=label(self.first))
        ax.set_yticks(rows, [label(gain.name, 30) for gain in self.shown], fontsize=8)
        if len(self.shown) < len(self.gains):
            ax.axhline(SHOWN_GAINS - 0.5, color="0.6", linestyle=":", linewidth=1)
        ax.set(xlabel="accuracy (%)", xlim=(-3, 103), ylim=(len(self.shown) - 0.4, -0.6))
        ax.grid(axis="x", alpha=0.3)
        ax.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)


@dataclass(eq=False)
class AgreementMatrix(Display):
    """Share of clips, float `(R, R)`, for which two recognisers give the same class; NaN if they are not comparable."""

    shares: np.ndarray
    names: Sequence[str]

    @classmethod
    def from_predictions(cls, predicted: Sequence[np.ndarray | None], names: Sequence[str]) -> "AgreementMatrix":
        """Return the display of predicted classes, int `(N,)` of the same clips per recogniser.

        None stands for a recogniser that was tested on other clips or classes.
        """
        shares = np.full((len(names), len(names)), np.nan)
        for row, mine in enumerate(predicted):
            for column, other in enumerate(predicted):
                if mine is not None and other is not None:
                    shares[row, column] = np.mean(mine == other)
        return cls(shares, names)

    def size(self) -> tuple[float, float]:
        side = min(24, 2.2 + 0.55 * len(self.names))
        return side + 0.6, side

    def draw(self, ax) -> None:
        image = ax.imshow(self.shares, cmap="Blues", vmin=0, vmax=1)
        names = [label(name, 30) for name in self.names]
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        ax.set_yticks(range(len(names)), names, fontsize=8)
        for row, column in zip(*np.nonzero(np.isfinite(self.shares) & (len(names) <= COUNTED))):
            share = self.shares[row, column]
            colour = "white" if share > 0.5 else "black"
            ax.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize=8)
        ax.figure.colorbar(image, ax=ax, label="share of clips with the same class", fraction=0.046, pad=0.03)
