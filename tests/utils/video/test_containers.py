"""Files that name other files are not opened as videos, and file names are never taken for URLs or patterns."""

import struct

import cv2
import numpy as np
import pytest

from utils.video import containers
from utils.video.video import VideoError, read_clip

SIZE = {"sequence_length": 4, "frame_height": 32, "frame_width": 32}
CODECS = {".avi": "MJPG", ".mp4": "mp4v"}


def write_video(path, level=200):
    """Write a video of 8 frames of one grey level."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*CODECS[path.suffix]), 25, (64, 48))
    for _ in range(8):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    return path


# Formats of FFmpeg and of players that refer to other files, by name; {path} is the file whose frames must not leak.
SCRIPTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{path}'\n",
    "ffconcat with a comment of bytes": "ffconcat version 1.0\nfile '{path}'\n# \x00\x01\x02",
    "ffconcat after a byte order mark": "\ufeffffconcat version 1.0\nfile '{path}'\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "HLS, list of playlists": '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile://{path}\n#EXT-X-MEDIA:URI="{path}"\n',
    "HLS of a URL": "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "DASH": '<?xml version="1.0"?><MPD><Period><AdaptationSet><Representation><BaseURL>{path}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "IMF": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>',
    "Smooth Streaming": '<SmoothStreamingMedia MajorVersion="2"><c url="{path}"/></SmoothStreamingMedia>',
    "ASX": '<asx version="3.0"><entry><ref href="{path}"/></entry></asx>',
    "PLS": "[playlist]\nFile1={path}\nNumberOfEntries=1\n",
    "AviSynth": 'AVISource("{path}")\n',
    "VapourSynth": "import vapoursynth as vs\nvs.core.lsmas.LWLibavSource('{path}').set_output()\n",
    "VobSub": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n",
    "subtitles": "1\n00:00:00,000 --> 00:00:01,000\n{path}\n",
    "one line": "{path}",
}


@pytest.mark.parametrize("checks", ["both", "formats alone"])
@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_not_opened_as_a_video(tmp_path, monkeypatch, script, suffix, checks):
    """A downloaded video could copy the frames of a private one, or open a connection.

    FFmpeg's list of formats must do without the check for text, which a script can evade by its first bytes.
    """
    secret = write_video(tmp_path / "secret.avi")
    path = tmp_path / f"script{suffix}"
    path.write_text(SCRIPTS[script].replace("{path}", str(secret)), encoding="utf-8")
    if checks == "both":
        reason = "is a text file, such as a playlist, not a video"
    else:
        monkeypatch.setattr("utils.video.containers.is_text", lambda path: False)
        reason = "cannot be opened as a video"
    with pytest.raises(VideoError) as raised:
        read_clip(path, **SIZE)
    assert str(raised.value) == reason


def test_without_the_checks_a_script_would_be_opened(tmp_path, monkeypatch):
    """The test above would pass if FFmpeg had been built without support for scripts."""
    path = tmp_path / "script.mp4"
    path.write_text("ffconcat version 1.0\nfile 'secret.avi'\n")
    write_video(tmp_path / "secret.avi")
    monkeypatch.setattr("utils.video.containers.is_text", lambda path: False)
    monkeypatch.setitem(containers.OPENING, "options", {"safe": "1"})
    assert read_clip(path, **SIZE).mean() > 190


def test_a_pattern_of_pictures_is_not_opened(tmp_path):
    """A file with such a name would stand for other files: pictures that are numbered."""
    for number in range(1, 9):
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), np.full((48, 64, 3), 200, np.uint8))
    pattern = tmp_path / "%03d.png"
    pattern.write_bytes((tmp_path / "001.png").read_bytes())
    with pytest.raises(VideoError, match="cannot be opened as a video"):
        read_clip(pattern, **SIZE)


@pytest.mark.parametrize(
    "name",
    ["concat:1.avi|2.avi", "http:a.avi", "pipe:0.avi", "file:a.avi", "%03d.avi", "-.avi", "*.avi", "subfile,,:a.avi"],
)
def test_a_file_name_is_not_taken_for_a_url_or_pattern(tmp_path, monkeypatch, name):
    """A good video would be skipped, or another one read in its place."""
    for other in ("001.avi", "1.avi", "2.avi", "a.avi"):
        write_video(tmp_path / other, level=200)
    write_video(tmp_path / "plain.avi", level=40).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, tmp_path / name):
        assert read_clip(path, **SIZE).mean() == pytest.approx(40, abs=3)


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


def boxes(data):
    """Return the (type, content) of the boxes of an MP4 file."""
    found, start = [], 0
    while start < len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        found.append((kind, data[start + 8 : start + size]))
        start += size
    return found


def with_external_data(content, target):
    """Replace the data reference in the content of a `moov` box by a Macintosh alias of the file `target`."""

    def replaced(kind, content):
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            return box(kind, b"".join(replaced(*inner) for inner in boxes(content)))
        if kind != b"dref":
            return box(kind, content)
        name = b":" + target.name.encode()
        name += bytes(len(name) % 2)
        alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
        alias += struct.pack(">HH", 2, len(name)) + name + struct.pack(">hH", -1, 0)
        return box(b"dref", struct.pack(">II", 0, 1) + box(b"alis", bytes(4) + alias))

    return replaced(b"moov", content)


def test_frames_of_another_file_in_an_mp4(tmp_path, monkeypatch):
    """A downloaded MP4 could take its frames from a private one next to it."""
    secret = write_video(tmp_path / "secret.mp4")
    parts = boxes(secret.read_bytes())
    assert [kind for kind, _ in parts] == [b"ftyp", b"free", b"mdat", b"moov"]
    hostile = tmp_path / "hostile.mp4"
    content = {kind: box(kind, content) for kind, content in parts}
    content[b"mdat"] = box(b"mdat", bytes(len(content[b"mdat"]) - 8))
    content[b"moov"] = with_external_data(parts[-1][1], secret)
    hostile.write_bytes(b"".join(content.values()))
    with pytest.raises(VideoError):
        read_clip(hostile, **SIZE)
    # The file works where FFmpeg is told to follow the reference.
    monkeypatch.setitem(containers.OPENING["options"], "enable_drefs", "1")
    assert read_clip(hostile, **SIZE).mean() > 190


def test_real_containers_are_not_text(shared_data):
    """Every video of a container would be skipped."""
    paths = [path for path in (shared_data / "odd").rglob("*.*") if path.suffix in (".mp4", ".mov", ".gif")]
    paths += sorted((shared_data / "ucf11").rglob("*.mpg"))[:5] + sorted((shared_data / "clips").rglob("*.avi"))
    assert len(paths) > 10
    assert [path for path in paths if containers.is_text(path)] == []
