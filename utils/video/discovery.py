"""Find the videos in a folder of class folders."""

import os
from dataclasses import dataclass

from utils.base.errors import UserError

# fmt: off
VIDEO_SUFFIXES = frozenset((
    ".3gp", ".asf", ".avi", ".divx", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".rm", ".ts", ".vob", ".webm", ".wmv",
))
# fmt: on
LEAVES = "links to a path outside the input folder; --follow_links would read it"


@dataclass(frozen=True)
class FoundVideo:
    """A video file: its path relative to the input folder, with `/`, and the reason not to read it, if there is one."""

    path: str
    problem: str | None = None


def find_videos(input_path: str | os.PathLike, *, follow_links: bool = False) -> list[FoundVideo]:
    """Return all videos below `input_path`, sorted by path. The first folder of a path is the video's class.

    Subfolders are searched. Symbolic links are followed if their targets are below `input_path`, or if `follow_links`
    is true; links to other videos and folders are returned with a problem. A folder is searched once per class.
    Hidden files, files without a video suffix and nested `Annotation` folders (UCF11) are ignored.
    Raises UserError if `input_path` cannot be listed.
    """
    try:
        entries = _visible_entries(input_path)
    except OSError as error:
        raise UserError(f"--input_path: {input_path} cannot be listed: {error.strerror}") from None
    root = os.path.realpath(input_path)
    limit = None if follow_links else root
    found = []
    for entry in entries:
        if os.path.isdir(entry.path):
            leaves = _leaves(entry, limit)
            found += [FoundVideo(entry.name, LEAVES)] if leaves else _search(entry.path, entry.name, {root}, limit)
        elif _has_video_suffix(entry.name):
            found.append(FoundVideo(entry.name, "lies directly in the input folder, so it has no class"))
    return sorted(found, key=lambda video: video.path)


def _visible_entries(folder: str | os.PathLike) -> list[os.DirEntry]:
    return sorted((entry for entry in os.scandir(folder) if entry.name[0] != "."), key=lambda entry: entry.name)


def _has_video_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def _leaves(entry: os.DirEntry, limit: str | None) -> bool:
    """Return whether an entry is a link whose target is not below the real path `limit`; never if `limit` is None."""
    if limit is None or not entry.is_symlink():
        return False
    return os.path.commonpath((limit, os.path.realpath(entry.path))) != limit


def _search(folder: str, path: str, searched: set[str], limit: str | None) -> list[FoundVideo]:
    """Return the videos of a folder inside a class; `path` is the folder relative to the input folder.

    `searched` holds the real paths of the folders already visited in this class. Links must not leave `limit`.
    """
    real_path = os.path.realpath(folder)
    if real_path in searched:
        return []
    searched.add(real_path)
    try:
        entries = _visible_entries(folder)
    except OSError as error:
        return [FoundVideo(path, f"is a folder that cannot be listed: {error.strerror}")]
    found = []
    for entry in entries:
        below = f"{path}/{entry.name}"
        problem = LEAVES if _leaves(entry, limit) else None
        if not os.path.isdir(entry.path):
            videos = [FoundVideo(below, problem)] if _has_video_suffix(entry.name) else []
        elif entry.name.casefold() == "annotation":
            videos = []
        elif problem:
            videos = [FoundVideo(below, problem)]
        else:
            videos = _search(entry.path, below, searched, limit)
            if not videos and _has_video_suffix(entry.name):
                videos = [FoundVideo(below, "is a folder without videos")]
        found += videos
    return found
