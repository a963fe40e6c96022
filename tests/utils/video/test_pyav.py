"""Videos that OpenCV cannot decode are read by PyAV, with the same frames and pixels."""

import sys

import cv2
import numpy as np
import pytest

from utils.video import video as video_module
from utils.video.extract import extract
from utils.video.pyav import opened_with_pyav
from utils.video.video import NoFrameError, VideoError, read_clip, read_clip_and_info

av = pytest.importorskip("av", reason="PyAV is not installed")
SHAPE = (4, 40, 56, 3)
AV1_ENCODER = "libsvtav1"


def moving_pattern(frame_count, height=72, width=96):
    """Return smooth colourful frames whose pattern moves: uint8 (frame_count, height, width, 3), RGB."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    picture = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.stack([np.roll(picture, 3 * k, axis=1) for k in range(frame_count)])


def encode(path, frames, codec="libx264", pixels="yuv420p", colorspace=None):
    """Write a video with PyAV; skip the test if its build lacks the encoder."""
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {codec}")
    av.logging.set_level(None)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        if codec == AV1_ENCODER:
            stream.options = {"preset": "11", "crf": "20"}
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def opencv_frames(path):
    """Return all frames that OpenCV decodes, BGR."""
    capture, frames = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames


def pyav_frames(path):
    """Return all frames that PyAV decodes, BGR."""
    frames = []
    with opened_with_pyav(str(path)) as capture:
        while capture.grab():
            frames.append(capture.retrieve()[1])
    return frames


@pytest.fixture
def only_pyav(monkeypatch):
    """Let OpenCV decode no frame of any video, as of AV1."""
    read = video_module._read

    def refuse_opencv(cv2, opened, *arguments):
        if opened.func is not opened_with_pyav:
            raise NoFrameError("no frame can be decoded")
        return read(cv2, opened, *arguments)

    monkeypatch.setattr(video_module, "_read", refuse_opencv)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_an_av1_video_is_read(tmp_path, suffix):
    """Downloads from video sites, often AV1, would be skipped."""
    frames = moving_pattern(19)
    path = encode(tmp_path / f"a{suffix}", frames, AV1_ENCODER)
    assert opencv_frames(path) == []  # otherwise this test shows nothing
    clip, info = read_clip_and_info(path, SHAPE)
    expected = np.stack([cv2.resize(frames[number], (56, 40)) for number in (0, 4, 8, 12)])
    assert np.abs(clip.astype(int) - expected).mean() < 6  # the loss of the encoder; neighbouring frames differ by 20
    assert np.abs(clip.astype(int) - np.roll(expected, 1, axis=0)).mean() > 15
    assert (info.frame_count, info.height, info.width, info.frame_rate) == (19, 72, 96, 25.0)


def test_an_extraction_reads_av1_videos(tmp_path):
    """The limits of the worker processes would prevent PyAV from decoding."""
    (tmp_path / "videos" / "a").mkdir(parents=True)
    path = encode(tmp_path / "videos" / "a" / "1.mp4", moving_pattern(9), AV1_ENCODER)
    size = {"sequence_length": 4, "frame_height": 40, "frame_width": 56}
    assert extract(tmp_path / "videos", tmp_path / "out", workers=1, **size).clips == 1
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "frames.npy")[0], read_clip(path, **size))


def test_a_short_av1_video(tmp_path):
    """Short videos would be filled up only if OpenCV decodes them."""
    path = encode(tmp_path / "a.mp4", moving_pattern(3), AV1_ENCODER)
    with pytest.raises(VideoError, match="has 3 frames, fewer than the 4 wanted"):
        read_clip_and_info(path, SHAPE)
    clip, info = read_clip_and_info(path, SHAPE, "hold")
    np.testing.assert_array_equal(clip[3], clip[2])
    assert np.abs(clip[2].astype(int) - clip[1]).mean() > 5
    assert (info.frame_count, info.height, info.width) == (3, 72, 96)


def test_without_pyav_the_reason_names_the_remedy(tmp_path, monkeypatch):
    """A user could not find out how to read the skipped videos."""
    path = encode(tmp_path / "a.mp4", moving_pattern(8), AV1_ENCODER)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoError, match=r"^no frame can be decoded by OpenCV, and PyAV.* requirements-video\.txt\)$"):
        read_clip_and_info(path, SHAPE)


def test_ordinary_videos_do_not_import_pyav(tmp_path, monkeypatch):
    """Reading would become slower, or fail where PyAV is not installed."""
    path = encode(tmp_path / "a.mp4", moving_pattern(8))
    monkeypatch.setitem(sys.modules, "av", None)
    assert read_clip_and_info(path, SHAPE)[0].shape == SHAPE


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("colorspace", [None, 1, 5, 9])  # none, BT.709, BT.601, BT.2020
def test_pixels_equal_those_of_opencv(tmp_path, only_pyav, pixels, colorspace):
    """Colours would depend on the codec of a video."""
    path = encode(tmp_path / "a.mp4", moving_pattern(8), pixels=pixels, colorspace=colorspace)
    expected = opencv_frames(path)
    assert len(expected) == 8
    np.testing.assert_array_equal(pyav_frames(path), expected)
    clip = read_clip(path, sequence_length=4, frame_height=40, frame_width=56)
    resized = [cv2.cvtColor(cv2.resize(frame, (56, 40)), cv2.COLOR_BGR2RGB) for frame in expected[::2]]
    np.testing.assert_array_equal(clip, resized)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_rotated_real_videos_are_upright(shared_data, only_pyav, angle):
    """Videos of a phone would be read lying on their side."""
    path = shared_data / "odd" / "decord" / f"video_{angle}.mov"
    expected = opencv_frames(path)
    np.testing.assert_array_equal(pyav_frames(path), expected)
    info = read_clip_and_info(path, (3, 40, 40, 3))[1]
    assert (info.frame_count, info.height, info.width, info.frame_rate) == (3, *expected[0].shape[:2], 30.0)


@pytest.mark.parametrize("name", ["imageio/realshort.mp4", "imageio/newtonscradle.gif", "decord/unordered.mov"])
def test_real_videos_equal_those_of_opencv(shared_data, only_pyav, name):
    """Frames would be in another order, or others would be sampled, than by OpenCV."""
    path = shared_data / "odd" / name
    np.testing.assert_array_equal(pyav_frames(path), opencv_frames(path))
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    with opened_with_pyav(str(path)) as other:
        for name in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS):
            assert other.get(name) == capture.get(name)


def test_damaged_packets_are_skipped(shared_data, only_pyav):
    """A damaged video would be skipped as a whole, or decoding would not end."""
    path = shared_data / "odd" / "decord" / "corrupted.mp4"  # some of its 50 frames are damaged
    assert 28 <= len(pyav_frames(path)) < 50
    assert read_clip_and_info(path, (16, 24, 24, 3))[0].shape == (16, 24, 24, 3)


def test_scripts_are_not_opened(tmp_path, only_pyav, monkeypatch):
    """PyAV would follow references to other files that OpenCV must not follow."""
    encode(tmp_path / "secret.mp4", moving_pattern(8))
    script = tmp_path / "script.mp4"
    script.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with av.open(str(script)) as container:  # without restrictions it would work
        assert container.streams.video
    monkeypatch.setattr(video_module, "is_text", lambda path: False)
    with pytest.raises(VideoError, match="no frame can be decoded"):
        read_clip_and_info(script, SHAPE)
