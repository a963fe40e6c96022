"""Views: functions of (view_seed, clip, number), the same for every frame and at every input size."""

import numpy as np
import pytest

from utils.base.options import ViewOptions
from utils.data.clips import open_clips
from utils.data.views import (
    SMALLEST_SIDE,
    VERSION,
    WHOLE,
    View,
    evenly_spaced,
    render,
    view_of,
    whole_view,
    window_frames,
)

OPTIONS = ViewOptions()
MANY = [view_of(row, number, OPTIONS) for row in range(40) for number in range(1, 11)]


def ramp(frames=4, height=120, width=160):
    """Return a clip with red = column, green = row and blue = 7 x frame number."""
    clip = np.zeros((frames, height, width, 3), np.uint8)
    clip[..., 0] = np.arange(width)
    clip[..., 1] = np.arange(height)[:, None]
    clip[..., 2] = 7 * np.arange(frames)[:, None, None]
    return clip


def test_views_are_those_for_which_logits_were_cached():
    """With other views under the same VERSION, cached logits would be used for pixels that no teacher has seen."""
    assert VERSION == 2
    view = view_of(3, 2, ViewOptions(view_seed=5))
    found = [view.top, view.left, view.side, view.start, view.window, view.contrast, view.brightness, *view.gains]
    expected = [
        0.005882751844490155,
        0.005253409018175175,
        0.9104966070285814,
        0.5802691784323357,
        0.4212992616309561,
        1.1830381780664725,
        -6.697871100490133,
        0.972377070388273,
        1.0093433795148261,
        1.0065293772252941,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert view.flipped is True


def test_views_depend_only_on_seed_clip_and_number():
    """Logits can be computed in advance only if a view does not depend on earlier views."""
    views = [
        view_of(row, number, ViewOptions(view_seed=seed)) for seed in (0, 1) for row in (0, 1) for number in (1, 2)
    ]
    assert len(set(views)) == 8
    assert view_of(np.int64(1), np.int64(2), ViewOptions(views=3)) == views[3]
    assert view_of(9, 0, OPTIONS) == WHOLE


def test_crops_are_inside_the_frame_and_at_all_positions():
    """Crops near one corner only would never show the other corners."""
    sides = np.array([view.side for view in MANY])
    assert sides.min() >= SMALLEST_SIDE
    assert np.ptp(sides) > 0.28
    for start in ("top", "left"):
        starts = np.array([getattr(view, start) for view in MANY])
        assert starts.min() >= 0
        assert (starts + sides).max() <= 1 + 1e-12
        free = starts / (1 - sides)
        assert free.min() < 0.05
        assert free.max() > 0.95


def test_half_of_the_views_are_flipped_or_none():
    """If classes differ by left and right, a flipped clip has the wrong label."""
    assert 0.4 < np.mean([view.flipped for view in MANY]) < 0.6
    unflipped = [view_of(row, number, ViewOptions(flip=False)) for row in range(40) for number in range(1, 11)]
    assert not any(view.flipped for view in unflipped)
    assert all(one.side == other.side and one.gains == other.gains for one, other in zip(MANY, unflipped))


def test_the_crop_is_where_the_view_says():
    """Swapped height and width, or a shifted crop, would show another part of the frame."""
    picture = render(ramp(), View(top=0.25, left=0.5, side=0.5), height=60, width=80)
    np.testing.assert_array_equal(picture, ramp()[:, 30:90, 80:160])
    flipped = render(ramp(), View(top=0.25, left=0.5, side=0.5, flipped=True), height=60, width=80)
    np.testing.assert_array_equal(flipped, picture[:, :, ::-1])
    halved = render(ramp(), View(top=0.25, left=0.5, side=0.5), height=30, width=40)
    assert np.abs(halved - picture.reshape(4, 30, 2, 40, 2, 3).mean(axis=(2, 4))).max() <= 0.5 + 1e-6


def test_colour_is_contrast_then_brightness_then_gains():
    """Computed by hand: contrast 1.2 around 127.5, then 10 grey levels, then red times 1.05."""
    clip = np.full((2, 50, 50, 3), 100, np.uint8)
    picture = render(clip, View(contrast=1.2, brightness=10.0, gains=(1.05, 1.0, 0.95)), height=50, width=50)
    value = (100 - 127.5) * 1.2 + 127.5 + 10
    assert picture.reshape(-1, 3).tolist() == [[round(value * 1.05), round(value), round(value * 0.95)]] * 5000
    white = render(np.full_like(clip, 255), View(brightness=25.0), height=50, width=50)
    assert white.min() == 255  # clipped, not wrapped around


def test_all_frames_are_changed_in_the_same_way():
    """A crop or colour that changes between frames would look like motion."""
    clip = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8), 5, axis=0)
    for view in MANY[:20]:
        picture = render(clip, view, height=32, width=32)
        assert (picture == picture[0]).all()


def test_teacher_and_student_with_different_input_sizes_see_the_same_view():
    """The teacher's logits are targets for the student's clip only if both see the same content."""
    clip = ramp()
    for view in MANY[:20]:
        large, small = render(clip, view, height=120, width=160), render(clip, view, height=30, width=40)
        averaged = large.reshape(4, 30, 4, 40, 4, 3).astype(float).mean(axis=(2, 4))
        assert np.abs(averaged - small).max() < 3


def test_view_zero_is_the_whole_clip():
    """Validation and test read view 0; a colour change there would affect every reported number."""
    clip = ramp()
    np.testing.assert_array_equal(render(clip, WHOLE, height=60, width=60), whole_view(clip, height=60, width=60))
    assert window_frames(16, 16).tolist() == list(range(16))


def test_frames_are_the_middles_of_equal_parts():
    """A model of few frames would see the beginning of each video only, often a title or a neutral pose."""
    assert [window_frames(16, frames).tolist() for frames in (1, 2, 4)] == [[8], [4, 12], [2, 6, 10, 14]]
    assert window_frames(40, 4).tolist() == [5, 15, 25, 35]
    numbers = {int(window_frames(16, 1, view)[0]) for view in MANY}
    assert numbers == set(range(4, 13))  # of training views: around the middle, on both sides


def test_time_windows_are_inside_the_clip_and_at_all_positions():
    """Longer stored clips are useful only if all of their parts are shown."""
    windows = np.array([window_frames(64, 16, view) for view in MANY])
    assert windows.min() == 1  # the middle of the first of 16 parts of at least 32 frames
    assert windows.max() in (62, 63)
    assert (np.diff(windows, axis=1) >= 1).all()
    spans = np.ptp(windows, axis=1)
    assert spans.min() <= 32  # half of the clip
    assert spans.max() >= 59  # nearly all of it
    assert len(np.unique(windows[:, 0])) > 25
    assert all(np.array_equal(window_frames(16, 16, view), np.arange(16)) for view in MANY)
    assert all(len(set(window_frames(17, 16, view))) == 16 for view in MANY)
    with pytest.raises(ValueError, match="at least 17 frames, got 16"):
        window_frames(16, 17, MANY[0])


def test_a_dataset_renders_each_row_in_its_own_view(make_arrays):
    """Mixed-up rows or views would combine a teacher's logits with another clip."""
    folder = make_arrays(length=40, height=64, width=96)
    stored = np.load(folder / "frames.npy")
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    rows, numbers = np.array([7, 2, 7]), np.array([3, 0, 1])
    found = dataset.view(rows, numbers, (16, 32, 48, 3), OPTIONS)
    for row, number, clip in zip(rows, numbers, found):
        view = view_of(row, number, OPTIONS)
        np.testing.assert_array_equal(clip, render(stored[row][window_frames(40, 16, view)], view, height=32, width=48))
    np.testing.assert_array_equal(found[1], dataset.view_zero(np.array([2]), (16, 32, 48, 3))[0])
    assert found.dtype == np.uint8


def test_clips_are_chosen_evenly():
    """Arrays sorted by class would be represented by their first classes."""
    assert evenly_spaced(4, 10).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(4, 3).tolist() == [0, 1, 2]
    assert evenly_spaced(4, 0).tolist() == []
