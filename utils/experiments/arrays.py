"""Where an experiment's arrays come from: the user's arrays or videos, or synthetic videos made for it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.data.clips import ClipDataset
from utils.extraction.discovery import find_videos
from utils.extraction.extract import extract
from utils.runtime.errors import UserError
from utils.runtime.progress import progress
from utils.settings.options import DataOptions
from utils.synthetic.dataset import render_dataset, synthetic_paths


@dataclass(frozen=True)
class ArrayOrigin:
    """The user's arrays (`data` is given), else the user's videos (`videos` is given), else synthetic videos.

    synthetic: the arguments of `utils.synthetic.dataset.render_dataset`.
    """

    data: Path | None
    annotations: Path | None
    paths: Path | None
    videos: Path | None
    synthetic: dict
    sequence_length: int
    frame_size: tuple[int, int]


def arrays(origin: ArrayOrigin, folder: Path) -> DataOptions:
    """The arrays of `origin`; what has to be made for them is made in `folder`, once."""
    if origin.data is not None:
        return DataOptions(origin.data, origin.annotations, origin.paths)
    videos = origin.videos
    if videos is None:
        print("\n== synthetic videos", flush=True)
        videos = folder / "videos"
        render_dataset(videos, **origin.synthetic, progress=progress)
    print("\n== extraction", flush=True)
    frames = folder / "frames"
    height, width = origin.frame_size
    print(extract(videos, frames, sequence_length=origin.sequence_length, frame_height=height, frame_width=width))
    return extracted(folder)


def extracted(folder: Path) -> DataOptions:
    """The arrays that an experiment's videos become."""
    return DataOptions(*(folder / "frames" / name for name in ("frames.npy", "labels.npy", "video_file_paths.npy")))


def arrays_at_hand(origin: ArrayOrigin, folder: Path) -> DataOptions | None:
    """The arrays of `origin` if nothing has to be made for them, else None."""
    if origin.data is not None:
        return DataOptions(origin.data, origin.annotations, origin.paths)
    made = extracted(folder)
    return made if all(path.is_file() for path in (made.data, made.annotations, made.paths)) else None


def expected_clips(origin: ArrayOrigin, folder: Path) -> tuple[DataOptions, ClipDataset]:
    """Labels, paths and class names that the arrays of `origin` will have if every video can be read; no frames.

    Raises UserError if there are no videos.
    """
    if origin.videos is None:
        settings = origin.synthetic
        paths = synthetic_paths(settings["classes"], settings["subjects"], settings["clips"])
    else:
        paths = [video.path for video in find_videos(origin.videos) if video.problem is None]
        if not paths:
            raise UserError(f"--videos: {origin.videos} holds no videos in class folders")
    class_names, labels = np.unique([path.partition("/")[0] for path in paths], return_inverse=True)
    return extracted(folder), ClipDataset(None, labels.astype(np.int64), np.array(paths), tuple(class_names.tolist()))
