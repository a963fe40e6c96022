"""What may be opened as a video: regular files in containers that hold their own frames."""

import codecs
import os
import stat
import string
from pathlib import Path

# FFmpeg's names of the demuxers that read no other file: playlists and concatenation scripts could copy the frames of
# any file on the machine into a data set. "mov" includes MP4 and 3GP, "matroska" WebM, "mpeg" VOB.
# fmt: off
FORMATS = (
    "asf", "av1", "avi", "cavsvideo", "dhav", "dv", "flv", "gif", "h261", "h263", "h264", "hevc", "ivf", "m4v",
    "matroska", "mjpeg", "mov", "mpeg", "mpegts", "mpegvideo", "mxf", "nsv", "nut", "obu", "ogg", "rm", "swf", "vc1",
    "wtv",
)
VIDEO_SUFFIXES = frozenset((
    ".264", ".265", ".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265",
    ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4", ".mpe",
    ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".ps", ".qt", ".rm", ".rmvb", ".tod",
    ".ts", ".vob", ".webm", ".wmv", ".wtv", ".xvid",
))
# fmt: on
SCHEMES = ("http", "https", "rtmp", "rtp", "rtsp", "tcp", "udp")  # of URLs that may be opened
OPENING = {
    "options": {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)},
    "metadata_errors": "replace",
}

_TEXT = frozenset(string.printable.encode())
_SIGNATURES = (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"0&\xb2u\x8ef\xcf\x11", b".RMF", b"\6\x0e+4")
_HEAD = 64  # bytes; each container has a byte within them that is not text


class VideoError(Exception):
    """A video that yields no clip; the message is the reason, in one line."""


def checked_file(path: str | os.PathLike) -> str:
    """Return the absolute path of a regular, readable file that is not text; otherwise raise VideoError.

    FFmpeg could take a relative path such as `http:a.avi` for a URL. Opening a FIFO would block forever.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise VideoError(f"cannot be reached: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("is not a regular file")
    if status.st_size == 0:
        raise VideoError("is empty")
    if not os.access(path, os.R_OK):
        raise VideoError("cannot be read: permission denied")
    if is_text(path):
        raise VideoError("is a text file, such as a playlist, not a video")
    text = os.path.abspath(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise VideoError("has a name that is not valid UTF-8") from None
    return text


def is_text(path: str | os.PathLike) -> bool:
    """Return whether a file starts with ASCII text, unlike a video container. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    return _TEXT.issuperset(head.removeprefix(codecs.BOM_UTF8))


def has_video_signature(path: str | os.PathLike) -> bool:
    """Return whether a file starts as a container of videos does; False if it cannot be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(189)
    except OSError:
        return False
    is_stream = len(head) == 189 and head[0] == head[188] == 0x47  # packets of a transport stream
    return is_stream or head[4:8] == b"ftyp" or head[8:12] == b"AVI " or head.startswith(_SIGNATURES)
