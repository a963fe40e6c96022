"""The arrays of an experiment, from arrays or videos of the user or from synthetic videos."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.options import DataOptions
from utils.base.progress import progress
from utils.data.clips import ClipDataset, class_of
from utils.video.discovery import find_videos
from utils.video.extract import extract
from utils.video.synthetic import render_dataset, synthetic_paths


@dataclass(frozen=True)
class ArrayOrigin:
    """Existing arrays if `data` is given, otherwise the user's `videos` if given, otherwise synthetic videos.

    synthetic: the arguments of `utils.video.synthetic.render_dataset`. follow_links: see `find_videos`.
    """

    data: Path | None
    annotations: Path | None
    paths: Path | None
    videos: Path | None
    synthetic: dict
    sequence_length: int
    frame_size: tuple[int, int]
    follow_links: bool = False


def arrays(origin: ArrayOrigin, folder: Path) -> DataOptions:
    """Return the arrays of `origin`; videos are rendered and extracted in `folder` if this has not been done before."""
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
    size = {"sequence_length": origin.sequence_length, "frame_height": height, "frame_width": width}
    print(extract(videos, frames, **size, follow_links=origin.follow_links))
    return extracted(folder)


def extracted(folder: Path) -> DataOptions:
    """Return where the arrays of an experiment's videos are."""
    return DataOptions(*(folder / "frames" / name for name in ("frames.npy", "labels.npy", "video_file_paths.npy")))


def existing_arrays(origin: ArrayOrigin, folder: Path) -> DataOptions | None:
    """Return the arrays of `origin` if they exist already, otherwise None."""
    if origin.data is not None:
        return DataOptions(origin.data, origin.annotations, origin.paths)
    data = extracted(folder)
    return data if all(path.is_file() for path in (data.data, data.annotations, data.paths)) else None


def expected_clips(origin: ArrayOrigin, folder: Path) -> tuple[DataOptions, ClipDataset]:
    """Return the arrays that `origin` will have if every video can be read, and a ClipDataset of them without frames.

    Raises UserError if there are fewer than two classes of videos.
    """
    if origin.videos is None:
        settings = origin.synthetic
        paths = synthetic_paths(settings["classes"], settings["subjects"], settings["clips"])
    else:
        videos = find_videos(origin.videos, follow_links=origin.follow_links)
        paths = [video.path for video in videos if video.problem is None]
        names = sorted({class_of(path) for path in paths})
        if len(names) < 2:
            found = f"only {names[0]}" if names else "none"
            raise UserError(
                f"--videos: {origin.videos} must contain at least 2 class folders with videos, found {found}"
            )
    class_names, labels = np.unique([class_of(path) for path in paths], return_inverse=True)
    return extracted(folder), ClipDataset(None, labels.astype(np.int64), np.array(paths), tuple(class_names.tolist()))
