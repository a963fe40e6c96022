"""Where an experiment's arrays come from: the user's arrays or videos, or synthetic videos made for it."""

from dataclasses import dataclass
from pathlib import Path

from utils.extraction import extract
from utils.options import DataOptions
from utils.progress import progress
from utils.synthetic import render_dataset


@dataclass(frozen=True)
class ClipSource:
    """The user's arrays (`data` is given), else the user's videos (`videos` is given), else synthetic videos.

    synthetic: the arguments of `utils.synthetic.render_dataset`.
    """

    data: Path | None
    annotations: Path | None
    paths: Path | None
    videos: Path | None
    synthetic: dict
    sequence_length: int
    frame_size: tuple[int, int]


def arrays(source: ClipSource, folder: Path) -> DataOptions:
    """The arrays of `source`; what has to be made for them is made in `folder`, once."""
    if source.data is not None:
        return DataOptions(source.data, source.annotations, source.paths)
    videos = source.videos
    if videos is None:
        print("\n== synthetic videos", flush=True)
        videos = folder / "videos"
        render_dataset(videos, **source.synthetic, progress=progress)
    print("\n== extraction", flush=True)
    frames = folder / "frames"
    height, width = source.frame_size
    print(extract(videos, frames, sequence_length=source.sequence_length, frame_height=height, frame_width=width))
    return DataOptions(*(frames / name for name in ("frames.npy", "labels.npy", "video_file_paths.npy")))
