"""Which files of a folder of class folders are videos, and which of those cannot even be tried."""

import os
from dataclasses import dataclass
from pathlib import Path

from utils.runtime.errors import UserError

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".3gp", ".asf", ".avi", ".divx", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".rm", ".ts", ".vob", ".webm", ".wmv",
))
# fmt: on


@dataclass(frozen=True)
class FoundVideo:
    """A video file, by its path below the input folder with `/`; `problem` says why it is not to be read, if so."""

    path: str
    problem: str | None = None


def find_videos(input_path: str | os.PathLike) -> list[FoundVideo]:
    """All videos below `input_path`, in sorted path order; a video's class is the first folder of its path.

    Nested folders are searched, linked ones too unless they lead back to a folder above them. Hidden files, files
    without a video's suffix and nested `Annotation` folders (UCF11) are ignored.
    Raises UserError if `input_path` cannot be listed.
    """
    input_path = Path(input_path)
    try:
        entries = sorted(os.scandir(input_path), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"--input_path: {input_path} cannot be listed: {error.strerror}") from None
    found = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _search(entry.path, entry.name, (os.path.realpath(input_path),), set())
        elif _is_video_name(entry.name):
            found.append(FoundVideo(entry.name, "lies directly in the input folder, so it has no class"))
    return sorted(found, key=lambda video: video.path)


def _is_video_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _search(folder: str, path: str, above: tuple[str, ...], searched: set[str]) -> list[FoundVideo]:
    """The videos of one folder of a class; `above` are the true paths of the folders over it.

    `searched` keeps the true paths already visited in this class, so that links among folders cannot multiply.
    """
    true_path = os.path.realpath(folder)
    if true_path in above or true_path in searched:
        return []
    searched.add(true_path)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        return [FoundVideo(path, f"is a folder that cannot be listed: {error.strerror}")]
    found = []
    for entry in entries:
        below = f"{path}/{entry.name}"
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            if entry.name.casefold() == "annotation":
                continue
            inside = _search(entry.path, below, (*above, true_path), searched)
            if not inside and _is_video_name(entry.name):
                inside = [FoundVideo(below, "is a folder without videos")]
            found += inside
        elif _is_video_name(entry.name):
            found.append(FoundVideo(below))
    return found


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
