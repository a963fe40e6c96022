"""Synthetic videos: only motion determines the class, a seed gives the same files, and sets are reused or refused."""

import itertools
import json

import cv2
import numpy as np
import pytest

from utils.base.errors import UserError
from utils.video.actions import ACTIONS, FRAME_COUNTS, Look, loop_position, plan_clip, render_clip
from utils.video.stick_figure import CHANNELS
from utils.video.synthetic import render_dataset

SMALL = {"classes": 2, "subjects": 2, "clips": 2, "frame_height": 48, "frame_width": 64, "workers": 1}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "videos"
    return render_dataset(folder, **SMALL)


def file_bytes(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/*.avi"))}


def plans(action, *, look, count=200):
    return [plan_clip(action, subject=1 + number % 12, clip=number // 12, look=look) for number in range(count)]


@pytest.fixture(scope="module")
def default_plans():
    return {action: plans(action, look=Look()) for action in ACTIONS}


def shares(values):
    return np.histogram(np.clip(values, 0, 1), bins=4, range=(0, 1))[0] / len(values)


def total_variation(first, second):
    """Return the total variation distance d. An ideal classifier of two classes has an accuracy of (1 + d) / 2."""
    return np.abs(first - second).sum() / 2


def test_every_rhythm_has_the_same_distribution_of_positions():
    """Classes could be distinguished by the frequency of poses instead of by motion."""
    moments = (np.arange(20000) + 0.5) / 20000
    expected = shares(loop_position(moments, "rises", 0.1))
    assert expected == pytest.approx([0.3, 0.2, 0.2, 0.3], abs=0.002)  # a tenth of the time is spent at each end
    for rhythm in ("falls", "slow", "fast"):
        assert shares(loop_position(moments, rhythm, 0.1)) == pytest.approx(expected, abs=0.002)


def test_falls_is_rises_reversed_in_time():
    """A pair of classes would differ in more than the direction of motion."""
    moments = np.linspace(-2, 2, 401)
    np.testing.assert_allclose(loop_position(moments, "falls", 0.1), loop_position(-moments, "rises", 0.1), atol=1e-9)
    slow_part = loop_position(np.linspace(-0.3, 0.3, 50), "rises", 0.1)
    assert (np.diff(slow_part) > 0).all()
    assert loop_position(np.array([0.0]), "rises", 0.1) == pytest.approx(0.5)


def test_random_frames_have_the_same_poses_in_every_class(default_plans):
    """The class would be visible in a single frame, and a network could ignore motion."""
    poses = {name: np.concatenate([plan.poses[::3] for plan in plans]) for name, plans in default_plans.items()}
    everything = np.concatenate(list(poses.values()))
    for name, channel in itertools.product(ACTIONS, range(len(CHANNELS))):
        distance = total_variation(shares(poses[name][:, channel]), shares(everything[:, channel]))
        assert distance < 0.13, (name, CHANNELS[channel])  # 200 clips of one distribution differ by up to 0.12


@pytest.mark.parametrize(("rising", "falling", "channel"), [("StandUp", "SitDown", 0), ("RaiseArms", "LowerArms", 1)])
def test_single_frames_reveal_little_and_with_full_phase_spread_nothing(default_plans, rising, falling, channel):
    """The first frame of a clip would reveal its class."""
    spread = {name: plans(name, look=Look(phase_spread=1.0)) for name in (rising, falling)}
    for found, frames, bound in ((default_plans, (0, -1), 0.6), (spread, (0, 10, 20, -1), 0.17)):
        for frame in frames:
            up, down = (shares([plan.poses[frame, channel] for plan in found[name]]) for name in (rising, falling))
            assert total_variation(up, down) < bound


def test_exactly_one_channel_moves(default_plans):
    """The motion of a class would be missing, or other motion would distract from it."""
    for action, (moving, _) in ACTIONS.items():
        for plan in default_plans[action]:
            travel = np.ptp(plan.poses, axis=0)
            assert travel[CHANNELS.index(moving)] > 0.6
            assert np.delete(travel, CHANNELS.index(moving)).max() < 0.07


def test_length_and_subject_do_not_depend_on_the_class(default_plans):
    """A network could infer the class from the clip length or the person."""
    lengths = []
    for clips in default_plans.values():
        counts = [len(plan.poses) for plan in clips]
        assert (min(counts), max(counts)) == FRAME_COUNTS
        lengths.append(np.mean(counts))
        assert clips[4].subject == plan_clip("SitDown", subject=5, clip=7, look=Look()).subject
    assert np.ptp(lengths) < 3.5  # the standard error of one mean is 0.6


def test_videos_are_in_class_folders_and_readable(small_set):
    """Extraction and splits could not read class, subject and clip from the names, or decode the videos."""
    assert small_set.video_paths[:3] == (
        "SitDown/v_SitDown_g01_c01.avi",
        "SitDown/v_SitDown_g01_c02.avi",
        "SitDown/v_SitDown_g02_c01.avi",
    )
    assert small_set.class_names == ("SitDown", "StandUp")
    assert sorted(file_bytes(small_set.folder)) == list(small_set.video_paths)
    frames = render_clip("SitDown", subject=1, clip=2, look=Look(frame_height=48, frame_width=64))
    capture = cv2.VideoCapture(str(small_set.folder / small_set.video_paths[1]))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == len(frames)
    assert capture.get(cv2.CAP_PROP_FPS) == 25
    read, decoded = capture.read()
    assert read
    error = decoded[..., ::-1].astype(float) - frames[0]
    assert np.abs(error).mean() < 10  # grey levels, from compression


def test_colours_are_rgb_in_memory_and_in_the_file(small_set):
    """Red and blue would be swapped in the videos, which no accuracy would reveal."""
    frames = render_clip("StandUp", subject=2, clip=1, look=Look(frame_height=48, frame_width=64))
    capture = cv2.VideoCapture(str(small_set.folder / "StandUp/v_StandUp_g02_c01.avi"))
    decoded = capture.read()[1][..., ::-1].astype(float)
    right, swapped = (np.abs(decoded - frames[0][..., order]).mean() for order in ([0, 1, 2], [2, 1, 0]))
    assert right < swapped


def test_a_seed_gives_equal_files_and_a_larger_set_contains_a_smaller_one(small_set, tmp_path):
    """Results in the README could not be reproduced."""
    larger = render_dataset(tmp_path / "larger", **SMALL | {"classes": 4, "subjects": 2, "clips": 3})
    again = file_bytes(larger.folder)
    assert len(again) == 24
    for path, content in file_bytes(small_set.folder).items():
        assert again[path] == content
    other_seed = render_clip("SitDown", subject=1, clip=1, look=Look(seed=1))
    assert not np.array_equal(other_seed[0], render_clip("SitDown", subject=1, clip=1, look=Look())[0])


def test_workers_do_not_change_the_files(small_set, tmp_path, monkeypatch):
    """The videos would depend on the machine."""
    monkeypatch.setattr("utils.video.synthetic.CLIPS_PER_WORKER", 4)
    shared = render_dataset(tmp_path / "shared", **SMALL | {"workers": 2})
    assert file_bytes(shared.folder) == file_bytes(small_set.folder)


def test_a_complete_set_is_reused_and_a_deleted_video_rendered_again(small_set, monkeypatch):
    """Every run would render all videos again, or a deleted video would stay missing."""
    before = file_bytes(small_set.folder)
    (small_set.folder / small_set.video_paths[3]).unlink()
    assert not render_dataset(small_set.folder, **SMALL).reused
    assert file_bytes(small_set.folder) == before
    monkeypatch.setattr("utils.video.synthetic.render_video", None)
    assert render_dataset(small_set.folder, **SMALL).reused


def test_an_interrupted_rendering_is_not_reused(tmp_path, small_set):
    """Videos of other settings would silently be part of the set."""
    folder = tmp_path / "killed"
    (folder / "SitDown").mkdir(parents=True)
    (folder / small_set.video_paths[0]).write_bytes(b"of other settings")
    (folder / "SitDown/.v_SitDown_g01_c02.77.partial.avi").write_bytes(b"half")
    rendered = render_dataset(folder, **SMALL)
    assert not rendered.reused
    assert file_bytes(folder) == file_bytes(small_set.folder)


def test_progress_counts_every_video(tmp_path):
    """The progress bar would stand still or not reach its end."""
    seen = []

    class Progress:
        def __init__(self, total, *, done, unit):
            seen.append((total, done))

        def __enter__(self):
            return lambda: seen.append("video")

        def __exit__(self, *error):
            pass

    render_dataset(tmp_path / "set", **SMALL | {"subjects": 1, "clips": 1}, progress=Progress)
    assert seen == [(2, 0), "video", "video"]


def test_other_settings_are_refused(small_set):
    """Videos of two sets would be mixed in one folder."""
    with pytest.raises(UserError, match=r"holds a synthetic set with noise 5\.0, expected 9\.0"):
        render_dataset(small_set.folder, **SMALL | {"noise": 9.0})
    settings = json.loads((small_set.folder / "synthetic.json").read_text())
    assert (settings["seed"], settings["classes"]) == (0, 2)


def test_a_folder_with_other_files_is_refused(tmp_path):
    """A user's own videos would be overwritten or mixed with synthetic ones."""
    (tmp_path / "SitDown").mkdir()
    (tmp_path / "SitDown" / "holiday.avi").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"found SitDown/holiday\.avi"):
        render_dataset(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.rglob("*.avi")] == ["holiday.avi"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("classes", 3),
        ("classes", 18),
        ("subjects", 0),
        ("clips", 100),
        ("frame_width", 65),
        ("noise", -1.0),
        ("seed", -1),
    ],
)
def test_a_setting_out_of_range_is_named(tmp_path, setting, value):
    """The user would not know which argument to change."""
    with pytest.raises(UserError, match=f"--{setting} must be .*{value}"):
        render_dataset(tmp_path / "set", **SMALL | {setting: value})
    assert not (tmp_path / "set").exists()
