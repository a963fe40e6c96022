"""What may be opened as a video: containers that hold their own frames.

FFmpeg also reads files that only name other files or URLs, such as playlists and concatenation scripts. Opened as a
video, such a file could copy the frames of any other file on the machine into a data set.
"""

import codecs
import contextlib
import os
import string
import threading
from collections.abc import Iterator

# FFmpeg's names of the demuxers that read no other file. "mov" includes MP4 and 3GP, "matroska" WebM, "mpeg" VOB.
# fmt: off
FORMATS = (
    "asf", "av1", "avi", "cavsvideo", "dhav", "dv", "flv", "gif", "h261", "h263", "h264", "hevc", "ivf", "m4v",
    "matroska", "mjpeg", "mov", "mpeg", "mpegts", "mpegvideo", "mxf", "nsv", "nut", "obu", "ogg", "rm", "swf", "vc1",
    "wtv",
)
# fmt: on
RESTRICTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}

_TEXT = frozenset(string.printable.encode())
_HEAD = 64  # bytes; each container has a byte within them that is not text
_OPENCV_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_environment = threading.Lock()


class VideoError(Exception):
    """A video that yields no clip; the message is the reason, in one line."""


def is_text(path: str) -> bool:
    """Return whether a file starts with ASCII text, unlike a video container. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    return _TEXT.issuperset(head.removeprefix(codecs.BOM_UTF8))


@contextlib.contextmanager
def restricted_opencv() -> Iterator[None]:
    """Restrict videos that OpenCV opens inside the block to `RESTRICTIONS`; other options of the user are kept.

    OpenCV takes FFmpeg's options from an environment variable, each time it opens a video.
    """
    with _environment:
        before = os.environ.get(_OPENCV_OPTIONS)
        options = [before] if before else []
        os.environ[_OPENCV_OPTIONS] = "|".join(options + [f"{name};{value}" for name, value in RESTRICTIONS.items()])
        try:
            yield
        finally:
            if before is None:
                del os.environ[_OPENCV_OPTIONS]
            else:
                os.environ[_OPENCV_OPTIONS] = before
