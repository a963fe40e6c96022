"""An overview of an extracted data set on one page: counts, lengths, frame sizes and rates, groups, sample frames."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from utils.base.array_files import open_array
from utils.base.drawing import Display, label, save_figure
from utils.base.text import counted
from utils.data.clips import class_of
from utils.data.groups import groups_or_reason
from utils.data.views import evenly_spaced
from utils.video.extraction_state import LOG, VideoOutcome, read_log

PAGE = (8.27, 11.69)  # A4, in inches
NAMED_CLASSES = 40  # with more classes their names would be unreadable
SHOWN_CLASSES = 11  # rows of sample frames
CLIPS_PER_CLASS = 8  # sample frames per row
BARS = 6  # of the most frequent frame sizes and frame rates


def write_dataset_report(output_path: Path) -> Path | None:
    """Write dataset_report.png for the data set in `output_path`, into the same folder.

    Returns its path, or None after a note if it could not be drawn.
    """
    path = Path(output_path) / "dataset_report.png"
    return path if save_figure(DatasetReport.of_folder(output_path), path, whole_page=True) else None


@dataclass(eq=False)
class DatasetReport(Display):
    """The content of the page, in six panels. `pictures` holds the middle frames of some clips, by class."""

    title: str
    clips_per_class: dict[str, int]
    outcomes: tuple[VideoOutcome, ...]  # of the videos that have a clip
    groups: str  # number of groups and the pattern of the names
    groups_per_class: dict[str, int]
    pictures: dict[str, list[np.ndarray]]

    @classmethod
    def of_folder(cls, output_path: Path) -> "DatasetReport":
        """Read the arrays and the log of a complete extraction."""
        output_path = Path(output_path)
        outcomes = read_log(output_path / LOG)
        read = tuple(outcome for outcome in outcomes if outcome.reason is None)
        paths = np.array([outcome.path for outcome in read])
        classes = np.array([class_of(path) for path in paths.tolist()])
        clips_per_class = _counts(classes.tolist())
        groups, _ = groups_or_reason(paths)
        keys = [] if groups is None else groups.keys.tolist()
        frames = open_array(output_path / "frames.npy", "--output_path")
        length, height, width = frames.shape[1:4]
        named = counted(len(clips_per_class), "class", "classes")
        shown = some(np.array(list(clips_per_class)), SHOWN_CLASSES).tolist()
        return cls(
            title=f"{counted(len(read), 'clip')} of {counted(length, 'frame')}, {width}x{height} pixels, in {named}; "
            f"{counted(len(outcomes) - len(read), 'video')} skipped",
            clips_per_class=clips_per_class,
            outcomes=read,
            groups="none found in the names" if groups is None else f"{len(set(keys))} by {groups.pattern}",
            groups_per_class=_counts(name for name, _ in set(zip(classes.tolist(), keys))),
            pictures={
                name: frames[some(np.flatnonzero(classes == name), CLIPS_PER_CLASS), length // 2] for name in shown
            },
        )

    def new_axes(self) -> np.ndarray:
        figure = Figure(figsize=PAGE, layout="constrained")
        figure.suptitle(label(self.title, 100), fontsize=11)
        grid = figure.add_gridspec(4, 3, height_ratios=(1.5, 1.2, 1.2, 5.2))
        places = (grid[0, :], grid[1, 0], grid[1, 1], grid[1, 2], grid[2, :], grid[3, :])
        return np.array([figure.add_subplot(place) for place in places])

    def draw(self, ax) -> None:
        classes, lengths, sizes, rates, groups, pictures = ax
        shown = f"{len(self.pictures)} of {len(self.clips_per_class)} classes"
        titles = ["Clips per class", "Frames per video", "Frame size of the videos", "Frame rate"]
        titles += [label(f"Groups per class: {self.groups}", 100)]
        titles += [f"Middle frame of up to {CLIPS_PER_CLASS} clips per class, {shown}, stretched to 4:3"]
        for axes, title in zip(ax, titles):
            axes.set_title(title, fontsize=9)
            axes.tick_params(labelsize=7)
        _plot_classes(classes, self.clips_per_class)
        lengths.hist([outcome.frame_count for outcome in self.outcomes], bins=30)
        _plot_most_frequent(sizes, Counter(f"{outcome.width}x{outcome.height}" for outcome in self.outcomes))
        _plot_most_frequent(rates, Counter(f"{outcome.frame_rate:.4g} fps" for outcome in self.outcomes))
        _plot_classes(groups, self.groups_per_class)
        self._plot_pictures(pictures)

    def _plot_pictures(self, axes) -> None:
        for row, pictures in enumerate(self.pictures.values()):
            for column, picture in enumerate(pictures):
                axes.imshow(picture, extent=(column, column + 0.97, row + 0.97, row))  # left, right, bottom, top
        rows = len(self.pictures)
        axes.set(xlim=(0, CLIPS_PER_CLASS), ylim=(max(rows, 1), 0), aspect=0.75, xticks=[])
        axes.set_yticks(np.arange(rows) + 0.5, [label(name, 24) for name in self.pictures])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def _counts(names) -> dict[str, int]:
    """Return the number of occurrences of each name, sorted by name."""
    return dict(sorted(Counter(names).items()))


def some(values: np.ndarray, count: int) -> np.ndarray:
    return values[evenly_spaced(count, len(values))]


def _plot_classes(axes, counts: dict[str, int]) -> None:
    axes.bar(range(len(counts)), list(counts.values()))
    if 0 < len(counts) <= NAMED_CLASSES:
        rotation = 30 if len(counts) < 15 else 90
        axes.set_xticks(range(len(counts)), [label(name, 24) for name in counts], rotation=rotation, ha="right")
        axes.tick_params(axis="x", labelsize=6.5)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(counts)} classes, sorted by label" if counts else "", fontsize=7)


def _plot_most_frequent(axes, counts: Counter) -> None:
    shown = dict(counts.most_common(BARS))
    if len(counts) > BARS:
        shown[f"{len(counts) - BARS} others"] = counts.total() - sum(shown.values())
    axes.barh(list(shown), list(shown.values()))
    axes.invert_yaxis()
