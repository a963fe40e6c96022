"""What --input names: video files, or one camera or stream."""

import glob
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.base.errors import UserError
from utils.video.containers import SCHEMES
from utils.video.discovery import videos_below


@dataclass(frozen=True)
class Inputs:
    """Video files in order, or in `live` the number of a camera, its device file or the URL of a stream."""

    videos: tuple[Path, ...] = ()
    live: int | str | None = None


def find_inputs(texts: Sequence[str]) -> Inputs:
    """Find what the texts of --input name.

    An existing path has priority: a folder stands for the videos and folders of numbered pictures below it, sorted,
    without hidden files. Otherwise a whole number is a camera, a text with "://" a stream, and a text with `*`, `?` or
    `[` a glob pattern, in which `**` matches folders. A file that several texts name is listed once.
    Raises UserError if a text names nothing, or if a camera or stream is not the only input.
    """
    live = [text for text in texts if not os.path.lexists(text) and (_is_camera(text) or _is_url(text))]
    live += [text for text in texts if os.path.exists(text) and Path(text).is_char_device()]
    if live and len(texts) > 1:
        raise UserError(f"--input: a camera or stream must be the only input, got {live[0]} among {len(texts)}")
    if live:
        return Inputs(live=int(live[0]) if _is_camera(live[0]) else live[0])
    return Inputs(tuple(dict.fromkeys(path for text in texts for path in _files(text))))


def _is_camera(text: str) -> bool:
    return re.fullmatch("[0-9]{1,4}", text) is not None


def _is_url(text: str) -> bool:
    scheme, separator, _ = text.partition("://")
    if separator and scheme.lower() not in SCHEMES:
        raise UserError(f"--input: a URL must start with one of {', '.join(SCHEMES)}, got {text}")
    return bool(separator)


def _files(text: str) -> list[Path]:
    path = Path(text)
    if os.path.isdir(text):  # unlike Path.is_dir, False for "" and for a name that is too long
        found = videos_below(path)
        for video in found:
            if video.problem:
                print(f"note: {video.path} {video.problem}", file=sys.stderr)
        paths = [Path(video.path) for video in found if not video.problem]
        if not paths:
            raise UserError(f"--input: {text} must hold videos or numbered pictures, found none below it")
        return paths
    if os.path.lexists(text):
        return [path]
    if glob.has_magic(text):
        found = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if not os.path.isdir(name)]
        if not found:
            raise UserError(f"--input: {text} must match at least one file, found none")
        return found
    raise UserError(
        f"--input: must be an existing video or folder, a glob pattern, a camera number or a URL, got "
        f"{text or 'nothing'}"
    )
