"""Stage 1 and predict.py use the frames that a file holds, whatever its header, codec and container state."""

import re

import av
import cv2
import numpy as np
import pytest

from tests.utils.video.numbered import UPRIGHT, corners_in, numbers_in, write_numbered
from tests.utils.video.small_videos import claim_frames
from utils.prediction.frames import frames_of
from utils.video import exact
from utils.video.extract import extract
from utils.video.video import VideoError, frame_numbers, read_clip, read_clip_and_info

ONE = 2**16  # in a display matrix
INTERLACED = {"flags": "+ilme+ildct"}
GROUPS_OF_TEN = {"g": "10"}


def many_packets(container, number):
    """Add 100 packets of sound to each frame, as files with telemetry or several languages have."""
    if number is None:
        container.add_stream("pcm_s16le", rate=2500, layout="mono")
        return
    for sample in range(100):
        packet = av.Packet(bytes(2))
        packet.stream, packet.pts = container.streams.audio[0], 100 * number + sample
        packet.dts = packet.pts
        container.mux(packet)


def joined_twice(path):
    path.write_bytes(2 * path.read_bytes())


# fmt: off
KINDS = {
    "interlaced H.264": ("a.mts", {"options": {"x264-params": "tff=1"}}),
    "interlaced H.264, groups": ("a.mp4", {"options": {"x264-params": "tff=1:keyint=10"}}),
    "interlaced MPEG-2": ("a.mpg", {"codec": "mpeg2video", "options": INTERLACED}),
    "interlaced MPEG-4": ("a.avi", {"codec": "mpeg4", "options": INTERLACED}),
    "interlaced ProRes": ("a.mov", {"codec": "prores_ks", "options": INTERLACED, "pixels": "yuv422p10le"}),
    "MPEG-1 program stream": ("a.mpg", {"codec": "mpeg1video", "options": {"g": "10", "bf": "2"}}),
    "MPEG-2 program stream": ("a.vob", {"codec": "mpeg2video", "options": {"g": "10", "bf": "2"}}),
    "MP4 in fragments": ("a.mp4", {"options": GROUPS_OF_TEN, "container_options": {"movflags": "frag_keyframe"}}),
    "packets of other streams": ("a.mkv", {"extra": many_packets}),
    "H.264": ("a.mp4", {"options": GROUPS_OF_TEN}),
    "H.264, one key frame": ("a.mp4", {}),
    "H.264, open groups": ("a.mp4", {"options": {"x264-params": "open-gop=1:keyint=10:bframes=3"}}),
    "H.264, intra refresh": ("a.mp4", {"options": {"x264-params": "intra-refresh=1:keyint=10"}}),
    "H.264 without a container": ("a.h264", {"form": "h264"}),
    "HEVC, open groups": ("a.mp4", {"codec": "libx265", "options": {
        "x265-params": "open-gop=1:keyint=10:bframes=3:log-level=none"}}),
    "MPEG-4 with B-frames": ("a.avi", {"codec": "mpeg4", "options": {"g": "10", "bf": "2"}}),
    "VP8 with hidden frames": ("a.webm", {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}),
    "VP9": ("a.webm", {"codec": "libvpx-vp9", "options": {"auto-alt-ref": "1", "deadline": "realtime"}}),
    "AV1": ("a.mp4", {"codec": "libsvtav1", "options": {"preset": "8", "g": "20", "crf": "10"}}),
    "Motion JPEG": ("a.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
    "Windows Media": ("a.wmv", {"codec": "wmv2"}),
    "GIF": ("a.gif", {"codec": "gif", "pixels": "rgb8"}),
}
# fmt: on


def assert_exact(path, count):
    """Assert that clips and timelines show frames 0 to `count` - 1 of a numbered video, upright, with their times."""
    for length in (1, 3, 8, count):
        clip, info = read_clip_and_info(path, (length, 96, 160, 3))
        assert numbers_in(clip) == [k * (count // length) for k in range(length)]
        assert (info.frame_count, info.height, info.width, info.note) == (count, 96, 160, None)
        assert info.frame_rate == pytest.approx(25, rel=0.02)
        assert corners_in(clip[0]) == corners_in(clip[-1]) == UPRIGHT
    with frames_of(path) as frames:
        found = [(seconds, retrieve()[..., ::-1]) for seconds, retrieve in frames]
    assert numbers_in(np.stack([frame for _, frame in found])) == list(range(count))
    np.testing.assert_allclose([seconds for seconds, _ in found], np.arange(count) / 25, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_videos(tmp_path, kind):
    """Models would be trained on, or applied to, black frames, remains of another video, or other moments."""
    name, settings = KINDS[kind]
    assert_exact(write_numbered(tmp_path / name, 41, **settings), 41)


def test_a_file_that_is_read_twice(tmp_path, monkeypatch):
    """Frames of files that do not fit into memory would be wrong."""
    monkeypatch.setattr(exact, "KEPT_BYTES", 1000)
    assert_exact(write_numbered(tmp_path / "a.mp4", 41, options=GROUPS_OF_TEN), 41)


def test_only_groups_with_wanted_frames_are_decoded(tmp_path, monkeypatch):
    """Long videos would take as long as a decode of all frames."""
    path = write_numbered(tmp_path / "a.mp4", 200, options=GROUPS_OF_TEN | {"bf": "0"})
    decoded, decode = [], exact.Video.decoded
    monkeypatch.setattr(exact.Video, "decoded", lambda self, packet: decoded.append(packet) or decode(self, packet))
    assert numbers_in(read_clip(path, sequence_length=4, frame_height=96, frame_width=160)) == [0, 50, 100, 150]
    assert sum(packet is not None for packet in decoded) == 4  # each is a key frame


def test_joined_transport_streams(tmp_path):
    """The second half of a recording would never be read."""
    path = write_numbered(tmp_path / "a.ts", 20, options=GROUPS_OF_TEN)
    joined_twice(path)
    clip, info = read_clip_and_info(path, (10, 96, 160, 3))
    assert numbers_in(clip) == [0, 4, 8, 12, 16] * 2
    assert (info.frame_count, info.frame_rate) == (40, pytest.approx(25))
    with frames_of(path) as frames:
        assert [round(25 * seconds) for seconds, _ in frames] == list(range(40))


@pytest.mark.parametrize("claimed", [0, 5, 20, 60])
def test_headers_of_interrupted_recorders(tmp_path, claimed):
    """The end of the video would never be read, or the video skipped."""
    path = claim_frames(write_numbered(tmp_path / "a.avi", 40, codec="mjpeg", pixels="yuvj420p"), claimed)
    clip, info = read_clip_and_info(path, (4, 96, 160, 3))
    assert numbers_in(clip) == [0, 10, 20, 30]
    assert info.note == ("breaks off: 40 of 60 frames are in the file" if claimed == 60 else None)


def test_a_file_that_breaks_off(tmp_path):
    """Half of a download would pass for a whole video."""
    path = write_numbered(tmp_path / "a.mp4", 100, container_options={"movflags": "faststart"}, options={"g": "5"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    clip, info = read_clip_and_info(path, (4, 96, 160, 3))
    count = info.frame_count
    assert 30 < count < 70
    assert numbers_in(clip) == [k * (count // 4) for k in range(4)]
    assert info.note in (f"breaks off: {found} of 100 frames are in the file" for found in (count, count + 1))


@pytest.mark.parametrize("name", ["a.mkv", "a.flv"])
def test_a_file_without_a_count_that_breaks_off(tmp_path, name):
    """Half of a download would pass for a whole video."""
    path = write_numbered(tmp_path / name, 100, options={"g": "5"})
    assert read_clip_and_info(path, (4, 96, 160, 3))[1].note is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert re.fullmatch(
        r"breaks off: [12]\.\d of 4\.\d seconds are in the file", read_clip_and_info(path, (4, 96, 160, 3))[1].note
    )


ORIENTATIONS = {
    (1, 0, 0, 1): UPRIGHT,
    (-1, 0, 0, 1): ["green", "red", "yellow", "blue"],  # mirrored: front cameras
    (1, 0, 0, -1): ["blue", "yellow", "red", "green"],
    (-1, 0, 0, -1): ["yellow", "blue", "green", "red"],
    (0, 1, 1, 0): ["red", "blue", "green", "yellow"],
    (0, 1, -1, 0): ["blue", "red", "yellow", "green"],  # a quarter turn clockwise
    (0, -1, 1, 0): ["green", "yellow", "red", "blue"],
    (0, -1, -1, 0): ["yellow", "green", "blue", "red"],
}


@pytest.mark.parametrize("matrix", ORIENTATIONS)
def test_display_matrices(tmp_path, matrix):
    """Videos of a phone would lie on their side, stand on their head, or show left and right exchanged."""
    a, b, c, d = (ONE * value for value in matrix)
    path = write_numbered(tmp_path / "a.mp4", 8, matrix=(a, b, 0, c, d, 0, 0, 0, 2**30))
    shape = (160, 96) if a == 0 else (96, 160)
    clip, info = read_clip_and_info(path, (4, *shape, 3))
    assert corners_in(clip[0]) == ORIENTATIONS[matrix]
    assert (info.height, info.width) == shape
    with frames_of(path) as frames:
        assert corners_in(next(iter(frames))[1]()[..., ::-1]) == ORIENTATIONS[matrix]


@pytest.mark.parametrize("name", ["a.mkv", "a.flv", "a.mp4"])
def test_frame_rates_come_from_frame_times(tmp_path, name):
    """Windows of timelines would have 0.016 s where the clips of the training have 0.5 s."""
    path = write_numbered(tmp_path / name, 20, rate=1000, times=[40 * 40 * k for k in range(20)], options={"bf": "0"})
    assert read_clip_and_info(path, (4, 96, 160, 3))[1].frame_rate == pytest.approx(25, rel=0.01)


def test_a_variable_frame_rate(tmp_path):
    """The rate of a slow phone video would be that of its shortest step."""
    times = np.cumsum([0, 40, 40, 400, 40, 80, 40, 40, 80, 40]).tolist()  # 800 / 1000 s
    path = write_numbered(tmp_path / "a.mp4", 10, times=times, options={"bf": "0"})
    assert read_clip_and_info(path, (4, 96, 160, 3))[1].frame_rate == pytest.approx(9 / 0.8, rel=0.01)
    with frames_of(path) as frames:
        np.testing.assert_allclose([seconds for seconds, _ in frames], np.array(times) / 1000, atol=1e-3)


def opencv_frames(path):
    """Return all frames that OpenCV decodes, BGR."""
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def all_frames(path):
    """Return all frames of a video, BGR."""
    with frames_of(path) as frames:
        return [retrieve() for _, retrieve in frames]


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_pixels_equal_those_of_opencv(tmp_path, pixels):
    """Arrays of published data sets would differ from those of other programs."""
    path = write_numbered(tmp_path / "a.mp4", 4, pixels=pixels)
    np.testing.assert_array_equal(all_frames(path), opencv_frames(path))


REAL = ("imageio/realshort.mp4", "imageio/newtonscradle.gif", "decord/unordered.mov")


@pytest.mark.parametrize("name", [*REAL, *(f"decord/video_{angle}.mov" for angle in (0, 90, 180, 270))])
def test_real_videos_equal_those_of_opencv(shared_data, name):
    """Frames would be in another order, or turned otherwise, than in other programs."""
    expected = opencv_frames(shared_data / "odd" / name)
    np.testing.assert_array_equal(all_frames(shared_data / "odd" / name), expected)
    height, width = (side // 2 for side in expected[0].shape[:2])
    clip = read_clip(shared_data / "odd" / name, sequence_length=3, frame_height=height, frame_width=width)
    wanted = [expected[number] for number in frame_numbers(len(expected), 3)]
    np.testing.assert_array_equal(clip, [cv2.resize(frame, (width, height))[..., ::-1] for frame in wanted])


def test_damaged_packets(shared_data):
    """A damaged video would be skipped as a whole, or used without a word."""
    path = shared_data / "odd" / "decord" / "corrupted.mp4"  # one of its 50 packets cannot be decoded
    clip, info = read_clip_and_info(path, (16, 24, 24, 3))
    assert clip.shape == (16, 24, 24, 3)
    assert (info.frame_count, info.note) == (49, "is damaged: frames may show parts of others")
    assert len(all_frames(path)) == 49


def test_sound_alone(tmp_path):
    """A sound file would end the extraction."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(VideoError, match="has no video stream"):
        read_clip_and_info(tmp_path / "a.mp4", (4, 24, 24, 3))


def test_an_extraction_in_worker_processes(tmp_path):
    """The limits of the worker processes would prevent decoding."""
    (tmp_path / "videos" / "a").mkdir(parents=True)
    path = write_numbered(tmp_path / "videos" / "a" / "1.mts", 9, options={"x264-params": "tff=1"})
    size = {"sequence_length": 4, "frame_height": 96, "frame_width": 160}
    assert extract(tmp_path / "videos", tmp_path / "out", workers=1, **size).clips == 1
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "frames.npy")[0], read_clip(path, **size))
