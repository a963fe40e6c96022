"""Differences between two recognisers by class, with paired tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control

from utils.base.drawing import Display, label
from utils.evaluation.intervals import compare

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
        return 5.2, 1.3 + 0.26 * len(self.shown)

    def draw(self, ax) -> None:
        for row, gain in enumerate(self.shown):
            colour = GAIN if gain.gain > 0 else LOSS if gain.gain < 0 else EQUAL
            ax.plot([100 * gain.second, 100 * gain.first], [row, row], color=colour, linewidth=2)
        rows = range(len(self.shown))
        colours = [GAIN if gain.gain > 0 else LOSS if gain.gain < 0 else EQUAL for gain in self.shown]
        first, second = ([100 * getattr(gain, name) for gain in self.shown] for name in ("first", "second"))
        ax.scatter(second, rows, 30, facecolors="white", edgecolors=colours, zorder=3, label=label(self.second))
        ax.scatter(first, rows, 30, c=colours, zorder=4, label=label(self.first))
        ax.set_yticks(rows, [label(gain.name, 30) for gain in self.shown], fontsize=10)
        if len(self.shown) < len(self.gains):
            ax.axhline(SHOWN_GAINS - 0.5, color="0.6", linestyle=":", linewidth=1)
        ax.set(xlabel="accuracy (%)", xlim=(-3, 103), ylim=(len(self.shown) - 0.4, -0.6))
        ax.grid(axis="x", alpha=0.3)
        ax.legend(fontsize=10, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
