"""One page that shows what was read: clips per class, lengths, sizes, rates, groups, and a few frames of each class."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from utils.extraction.state import LOG, VideoOutcome
from utils.runtime.files import written_beside
from utils.splits.groups import groups_or_reason

PAGE = (8.27, 11.69)  # A4 in inches
NAMED_CLASSES = 40  # more names would not be readable under the bars
SHOWN_CLASSES = 11
CLIPS_A_CLASS = 8
PICTURE = (72, 96)  # height and width in pixels of one frame on the contact sheet
BARS = 6  # of the most frequent frame sizes and rates


def write_dataset_report(output_path: Path) -> Path:
    """Draws the report of the data set in `output_path` beside it, as dataset_report.png; returns that path."""
    path = Path(output_path) / "dataset_report.png"
    figure = DatasetReport.of_folder(output_path).plot()
    with written_beside(path) as temporary:
        figure.savefig(temporary, dpi=120)  # the whole page, not only what is on it
    return path


@dataclass(frozen=True)
class DatasetReport:
    """What the page shows; `pictures` holds, for each of a few classes, the middle frames of a few clips."""

    title: str
    clips_per_class: dict[str, int]
    outcomes: tuple[VideoOutcome, ...]  # of the videos that gave a clip
    groups: str
    groups_per_class: dict[str, int]
    pictures: dict[str, list[np.ndarray]]

    @classmethod
    def of_folder(cls, output_path: Path) -> "DatasetReport":
        """Reads the arrays and the log of a complete extraction."""
        output_path = Path(output_path)
        outcomes = [VideoOutcome(**json.loads(line)) for line in (output_path / LOG).read_text().splitlines()]
        read = tuple(outcome for outcome in outcomes if outcome.reason is None)
        paths = np.array([outcome.path for outcome in read])
        folders = np.array([path.split("/")[0] for path in paths.tolist()])
        counts = Counter(folders.tolist())
        frames = np.load(output_path / "frames.npy", mmap_mode="r")
        groups, groups_per_class = _groups(paths, folders)
        length, height, width = frames.shape[1:4]
        return cls(
            title=f"{len(read)} clips of {length} frames, {width}x{height} pixels, in {len(counts)} classes; "
            f"{len(outcomes) - len(read)} videos skipped",
            clips_per_class=dict(sorted(counts.items())),
            outcomes=read,
            groups=groups,
            groups_per_class=groups_per_class,
            pictures={
                name: [
                    _picture(frames[row, length // 2])
                    for row in _spread(np.flatnonzero(folders == name), CLIPS_A_CLASS)
                ]
                for name in _spread(sorted(counts), SHOWN_CLASSES)
            },
        )

    def plot(self):
        """The page as a matplotlib figure."""
        figure = Figure(figsize=PAGE, layout="constrained")
        figure.suptitle(self.title, fontsize=11)
        grid = figure.add_gridspec(4, 3, height_ratios=(1.5, 1.2, 1.2, 5.2))
        _bars(figure.add_subplot(grid[0, :]), self.clips_per_class, "Clips per class")
        self._plot_lengths(figure.add_subplot(grid[1, 0]))
        sizes = Counter(f"{outcome.width}x{outcome.height}" for outcome in self.outcomes)
        _most_frequent(figure.add_subplot(grid[1, 1]), sizes, "Frame size in the files")
        rates = Counter(f"{outcome.frame_rate:.4g} fps" for outcome in self.outcomes)
        _most_frequent(figure.add_subplot(grid[1, 2]), rates, "Frame rate")
        _bars(figure.add_subplot(grid[2, :]), self.groups_per_class, f"Groups per class: {self.groups}")
        self._plot_pictures(figure.add_subplot(grid[3, :]))
        return figure

    def _plot_lengths(self, axes) -> None:
        axes.hist([outcome.frame_count for outcome in self.outcomes], bins=30, color="tab:blue")
        axes.set_title("Frames in a video", fontsize=9)
        axes.tick_params(labelsize=7)

    def _plot_pictures(self, axes) -> None:
        gap = 3
        height, width = PICTURE[0] + gap, PICTURE[1] + gap
        sheet = np.full((len(self.pictures) * height, CLIPS_A_CLASS * width, 3), 255, np.uint8)
        for row, pictures in enumerate(self.pictures.values()):
            for column, picture in enumerate(pictures):
                top, left = row * height, column * width
                sheet[top : top + PICTURE[0], left : left + PICTURE[1]] = picture
        axes.imshow(sheet, interpolation="antialiased")
        axes.set_yticks([row * height + PICTURE[0] / 2 for row in range(len(self.pictures))], self.pictures, fontsize=7)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        shown = f"{len(self.pictures)} of {len(self.clips_per_class)} classes"
        axes.set_title(
            f"The middle frame of up to {CLIPS_A_CLASS} clips a class, {shown}, stretched to 4:3", fontsize=9
        )


def _groups(paths: np.ndarray, folders: np.ndarray) -> tuple[str, dict[str, int]]:
    """How the names show groups, in words, and the number of groups in each class."""
    groups, _ = groups_or_reason(paths)
    if groups is None:
        return "the names show none", {}
    pairs = set(zip(folders.tolist(), groups.keys.tolist()))
    return f"{len(set(groups.keys.tolist()))} by {groups.pattern}", dict(
        sorted(Counter(name for name, _ in pairs).items())
    )


def _spread(values, number: int) -> list:
    """At most `number` of the values, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(values) - 1, min(number, len(values))).round().astype(int)
    return [values[place] for place in places]


def _picture(frame: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(frame, (PICTURE[1], PICTURE[0]), interpolation=cv2.INTER_AREA)


def _bars(axes, counts: dict[str, int], title: str) -> None:
    axes.bar(range(len(counts)), list(counts.values()), color="tab:blue")
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    if 0 < len(counts) <= NAMED_CLASSES:
        axes.set_xticks(range(len(counts)), counts, rotation=30 if len(counts) < 15 else 90, ha="right", fontsize=6.5)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(counts)} classes, in the order of their labels" if counts else "", fontsize=7)


def _most_frequent(axes, counts: Counter, title: str) -> None:
    shown = counts.most_common(BARS)
    if len(counts) > BARS:
        shown = [
            *shown[:-1],
            (f"{len(counts) - BARS + 1} others", sum(counts.values()) - sum(n for _, n in shown[:-1])),
        ]
    axes.barh([name for name, _ in shown], [number for _, number in shown], color="tab:blue")
    axes.invert_yaxis()
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
