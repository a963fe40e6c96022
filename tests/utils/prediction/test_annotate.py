"""Annotated videos: what they show, their sound, and that players can play them."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from utils.prediction import overlay
from utils.prediction.annotate import annotate, size_of
from utils.prediction.answers import NO_ACTION, Segment, Timeline
from utils.video.exact import opened_video

NAMES = ("walk", "run")


def timeline_of(duration=2.0) -> Timeline:
    """Return a timeline: walk, then "no action", then run, a third each."""
    edges = np.array([0, duration / 3, 2 * duration / 3, duration])
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    labels = ("walk", 0.9), (NO_ACTION, None), ("run", 0.8)
    segments = tuple(Segment(*times, *label) for times, label in zip(itertools.pairwise(edges), labels))
    return Timeline("a.mp4", NAMES, edges, probabilities, segments)


def write(path, *, width=64, height=48, times=None, codec="libx264", audio=None, aspect=None):
    """Write a video of white frames at the given times in seconds, with a tone as sound if `audio` names a codec."""
    times = [k / 10 for k in range(20)] if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio = aspect
        if audio:
            sound = container.add_stream(audio, rate=48000, layout="mono")
            tone = np.sin(np.arange(96000) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            resampler = av.AudioResampler(
                format=sound.codec_context.format, layout="mono", rate=48000, frame_size=sound.frame_size or 1024
            )
        for seconds in times:
            picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), 255, np.uint8), format="rgb24")
            picture.pts, picture.time_base = round(1000 * seconds), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if audio:
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(sound.encode(part))
            container.mux(sound.encode(None))
    return path


def read(path):
    """Return the frames of a video, RGB, their times, and its streams as (type, codec)."""
    with av.open(str(path)) as container:
        streams = [(stream.type, stream.codec_context.codec.canonical_name) for stream in container.streams]
        frames = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return [picture for picture, _ in frames], [seconds for _, seconds in frames], streams


def test_pictures_and_band(tmp_path):
    """The band would cover the picture, show a wrong class, or stop the video early."""
    annotate(write(tmp_path / "a.mp4"), timeline_of(), tmp_path / "out.mp4")
    pictures, times, streams = read(tmp_path / "out.mp4")
    assert streams == [("video", "h264")]
    np.testing.assert_allclose(times, [k / 10 for k in range(20)], atol=1e-4)
    band = overlay.band_of(320, timeline_of().segments, 0.0, 2.0)
    assert pictures[0].shape == (240 + band.height, 320, 3)  # enlarged five times
    assert pictures[0][:230].min() > 240
    bar = 240 + round(1.75 * band.text_size)
    for number, colour in ((0, overlay.PALETTE[0]), (10, overlay.GREY), (19, overlay.PALETTE[1])):
        np.testing.assert_allclose(pictures[number][bar, 30], overlay.rgb(colour), atol=30)
    with open(tmp_path / "out.mp4", "rb") as file:
        start = file.read()
    assert start.index(b"moov") < start.index(b"mdat")  # a browser plays it before it is loaded


def test_times_of_a_variable_frame_rate_are_kept(tmp_path):
    """Sound and picture would drift apart."""
    times = [0, 0.1, 0.2, 0.9, 1.0, 1.7]
    annotate(write(tmp_path / "a.mp4", times=times), timeline_of(), tmp_path / "out.mp4")
    np.testing.assert_allclose(read(tmp_path / "out.mp4")[1], times, atol=1e-3)


@pytest.mark.parametrize(("suffix", "codec", "kept"), [("mp4", "aac", "aac"), ("mkv", "flac", "aac")])
def test_the_sound_is_kept(tmp_path, suffix, codec, kept):
    """The annotated video would be silent, or phones could not play its sound."""
    source = write(tmp_path / f"a.{suffix}", audio=codec)
    annotate(source, timeline_of(), tmp_path / "out.mp4")
    assert read(tmp_path / "out.mp4")[2] == [("video", "h264"), ("audio", kept)]
    with av.open(str(tmp_path / "out.mp4")) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples / 48000 == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotated_videos_are_upright(tmp_path, shared_data, angle):
    """A video of a phone would lie on its side."""
    source = shared_data / f"odd/decord/video_{angle}.mov"
    with opened_video(source) as video:
        upright = next(iter(video))[1]()[..., ::-1]
    annotate(source, timeline_of(), tmp_path / "out.mp4")
    picture = read(tmp_path / "out.mp4")[0][0]
    height, width = overlay.output_size(*upright.shape[:2])
    import cv2

    difference = picture[:height].astype(int) - cv2.resize(upright, (width, height))
    assert np.abs(difference).mean() < 8


@pytest.mark.parametrize("width", [320, 640, 1920])
def test_text_fits(width):
    """A long class name would run into the numbers, or be unreadably small."""
    band = overlay.band_of(width, timeline_of().segments, 0.0, 2.0)
    name = "a class name that is far too long for any picture and goes on and on and on and on and on and on and on"
    long = overlay.Band(width, band.segments, 0.0, 2.0, {name: "#000000", **band.colours})
    short = band.draw(overlay.Moment("walk", 0.5, 0.0))
    drawn = long.draw(overlay.Moment(name, 0.5, 0.0))
    assert drawn.shape == (band.height, width, 3)
    line = slice(0, round(1.4 * band.text_size))
    right = width - round(7 * band.text_size)
    assert (drawn[line, right + 2 * band.text_size :] == short[line, right + 2 * band.text_size :]).all()
    assert band.text_size >= width / 40 - 1


@pytest.mark.parametrize("confidence", [0.0, 0.25, 1.0])
def test_the_bar_is_as_long_as_the_confidence(confidence):
    """Every answer of an annotated video would look certain."""
    band = overlay.band_of(640, timeline_of().segments, 0.0, 2.0)
    row = band.draw(overlay.Moment("walk", confidence, 0.0))[round(1.75 * band.text_size)]
    filled = (row == overlay.rgb(band.colour("walk"))).all(axis=1).sum()
    assert filled == pytest.approx(confidence * (640 - 2 * (band.text_size // 2)), abs=1)


def test_the_playhead_moves():
    """The strip would not show where the video is."""
    band = overlay.band_of(640, timeline_of().segments, 0.0, 2.0)
    row = round(2.35 * band.text_size) - 1  # above the strip
    columns = []
    for seconds in (0.0, 1.0, 2.0):
        bright = band.draw(overlay.Moment("walk", 0.5, seconds))[row].min(axis=1) > 200
        columns.append(np.flatnonzero(bright).mean())
    margin = band.text_size // 2
    np.testing.assert_allclose(columns, [margin, 320, 640 - margin], atol=2)


def test_colours_differ_for_the_colour_blind():
    """Two classes would look alike. The palette's colours differ in lightness or in blue against yellow."""
    assert len(set(overlay.PALETTE)) == 7
    text = [overlay.text_colour(colour) for colour in ("#F0E442", "#0072B2", "#1A1A1A")]
    assert text == ["#000000", "#FFFFFF", "#FFFFFF"]


def test_what_a_killed_run_left_is_deleted(tmp_path):
    """Hidden files as large as videos would pile up."""
    (tmp_path / ".out.123456.partial.mp4").write_bytes(b"half a video")
    annotate(write(tmp_path / "a.mp4"), timeline_of(), tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]


@pytest.mark.parametrize(("aspect", "shape"), [(4 / 3, (480, 854)), (2000.0, (480, 640)), (1 / 2000, (480, 640))])
def test_pixels_that_are_not_square(capsys, aspect, shape):
    """People would look too wide or too narrow; by a fault of the header, pictures would fill the memory."""
    assert size_of(av.VideoFrame(640, 480, "rgb24"), aspect) == shape
    assert ("are taken for square ones" in capsys.readouterr().err) == (not 0.25 <= aspect <= 4)


def test_wide_pixels_of_a_video(tmp_path):
    """The picture would have the shape of another aspect ratio than players show."""
    annotate(
        write(tmp_path / "a.mkv", aspect=Fraction(4, 3), width=480, height=320), timeline_of(), tmp_path / "out.mp4"
    )
    band = overlay.band_of(640, timeline_of().segments, 0.0, 2.0)
    assert read(tmp_path / "out.mp4")[0][0].shape == (320 + band.height, 640, 3)


def test_sizes_of_annotated_pictures():
    """An 8K video would take more memory than the machine has."""
    sizes = {(4320, 7680): (2160, 3840), (7680, 4320): (3840, 2160), (48, 64): (240, 320), (101, 501): (100, 500)}
    assert {size: overlay.output_size(*size) for size in sizes} == sizes
    assert overlay.output_size(1, 8000) == (2, 3840)
