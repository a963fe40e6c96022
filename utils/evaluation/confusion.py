"""Confusion matrices: their counts, an order of the classes, the most confused pairs, and the figure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import PowerNorm
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from sklearn.metrics import confusion_matrix

from utils.base.drawing import Display, label

COUNTED_CLASSES = 30  # with more classes, the matrix has no numbers in its cells
MOST_SORTED = 300  # classes; the best order of the leaves takes cubic time


@dataclass(frozen=True)
class ConfusedPair:
    """Clips of the class `true` that are recognised as `predicted`: their number, and their share of the class."""

    true: int
    predicted: int
    clips: int
    share: float


def counts_of(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return the number of clips by true class (row) and predicted class (column), int64 `(C, C)`.

    labels: int `(N,)`. logits: float `(N, C)`; of equal logits the first counts.
    """
    return confusion_matrix(labels, np.argmax(logits, axis=1), labels=np.arange(logits.shape[1]))


def order_by_similarity(counts: np.ndarray) -> np.ndarray:
    """Return the order of the classes, int64 `(C,)`, in which classes that are confused are next to each other.

    It is the order of the leaves of a hierarchical clustering (average linkage). The similarity of two classes is the
    mean share of the clips of one that are recognised as the other.
    """
    classes = len(counts)
    if classes < 3:
        return np.arange(classes)
    shares = _shares(counts)
    similarity = (shares + shares.T) / 2
    np.fill_diagonal(similarity, 0)
    distances = 1 - similarity / max(similarity.max(), 1e-12)
    np.fill_diagonal(distances, 0)
    condensed = squareform(distances, checks=False)
    tree = linkage(condensed, method="average")
    if classes <= MOST_SORTED:
        tree = optimal_leaf_ordering(tree, condensed)
    return leaves_list(tree).astype(np.int64)


def most_confused(counts: np.ndarray, limit: int) -> list[ConfusedPair]:
    """Return at most `limit` pairs of a true and another predicted class, by falling number of clips, then share."""
    shares = _shares(counts)
    pairs = [
        ConfusedPair(true, predicted, int(counts[true, predicted]), float(shares[true, predicted]))
        for true, predicted in np.argwhere(counts).tolist()
        if true != predicted
    ]
    return sorted(pairs, key=lambda pair: (-pair.clips, -pair.share, pair.true, pair.predicted))[:limit]


def _shares(counts: np.ndarray) -> np.ndarray:
    """Return the counts as shares of the true class, float `(C, C)`; 0 for classes without clips."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


@dataclass(eq=False)
class ConfusionMatrix(Display):
    """Counts int `(C, C)` of true (rows) and predicted (columns) classes, coloured by the share of the true class."""

    counts: np.ndarray
    class_names: Sequence[str]
    title: str

    @classmethod
    def from_predictions(
        cls, labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str], *, title: str = ""
    ) -> "ConfusionMatrix":
        """Return the display with the classes in the order of `order_by_similarity`.

        labels: int `(N,)`. logits: float `(N, C)`.
        """
        counts = counts_of(labels, logits)
        order = order_by_similarity(counts)
        return cls(counts[np.ix_(order, order)], [class_names[number] for number in order], title)

    def size(self) -> tuple[float, float]:
        side = self._side()
        return side + 0.6, side

    def _side(self) -> float:
        classes = len(self.class_names)
        return min(24, 2.8 + (0.42 if classes <= COUNTED_CLASSES else 0.125) * classes)

    def draw(self, ax) -> None:
        classes, shares = len(self.class_names), _shares(self.counts)
        # with many classes single confusions are small shares, which the square root makes visible
        norm = PowerNorm(1.0 if classes <= COUNTED_CLASSES else 0.5, vmin=0, vmax=1)
        image = ax.imshow(shares, cmap="Blues", norm=norm)
        cell = 72 * (self._side() - 2.8) / max(classes, 1)  # in points
        named = range(0, classes, max(1, int(np.ceil(7 / max(cell, 1e-6)))))  # every class that has room for its name
        names = [label(self.class_names[number], 40) for number in named]
        font = min(10, max(6, 0.85 * cell))
        ax.set_xticks(named, names, rotation=90, fontsize=font)
        ax.set_yticks(named, names, fontsize=font)
        if classes <= COUNTED_CLASSES:
            for row, column in zip(*np.nonzero(self.counts)):
                colour = "white" if shares[row, column] > 0.5 else "black"
                ax.text(column, row, self.counts[row, column], ha="center", va="center", color=colour, fontsize=10)
        ax.set(xlabel="predicted class", ylabel="true class")
        if self.title:
            ax.set_title(label(self.title, 90))
        ax.figure.colorbar(image, ax=ax, label="share of the true class", fraction=0.046, pad=0.03)
