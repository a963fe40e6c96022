"""Stage 1, run as a script."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def run_script(*arguments):
    """Run the script and return the finished process, with progress lines removed from stderr."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "video_to_frames.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    done.stderr = re.sub(r"^\d+/\d+ videos, .*\n", "", done.stderr, flags=re.MULTILINE)
    return done


@pytest.fixture
def videos(tmp_path):
    for name in ("run/1.avi", "walk/1.avi"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 36))
        for k in range(18):
            writer.write(np.full((36, 48, 3), 10 * k, np.uint8))
        writer.release()
    return tmp_path / "videos"


def test_command_as_published(videos, tmp_path):
    """The first command of the README would fail, or write a progress bar to a log file."""
    done = run_script(
        *("--input_path", f"{videos}/", "--sequence_length", 16, "--frame_height", 30, "--frame_width", 40),
        *("--output_path", f"{tmp_path}/Frames_datasets/UCF11/"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Videos read: 2 in 2 classes\nVideos skipped: 0\n")
    assert np.load(tmp_path / "Frames_datasets/UCF11/frames.npy").shape == (2, 16, 30, 40, 3)


def test_defaults(videos, tmp_path):
    """The script would need more than two paths, or its default would not be 16 frames of 224x224 pixels."""
    assert run_script("--input_path", videos, "--output_path", tmp_path / "out").returncode == 0
    assert np.load(tmp_path / "out/frames.npy").shape == (2, 16, 224, 224, 3)


def test_closed_output_streams(videos, tmp_path):
    """Without stdout and stderr, as under some service managers, the run would fail or lose its frames."""
    command = [sys.executable, str(ROOT / "video_to_frames.py"), "--input_path", str(videos), "--frame_height", "20"]
    run_script(*command[2:], "--frame_width", 24, "--output_path", tmp_path / "plain")
    command += ["--frame_width", "24", "--output_path", str(tmp_path / "closed")]
    done = subprocess.run(["/bin/sh", "-c", '"$@" <&- >&- 2>&-', "sh", *command], timeout=120)
    assert done.returncode == 0
    assert (tmp_path / "closed/frames.npy").read_bytes() == (tmp_path / "plain/frames.npy").read_bytes()


def test_every_option(videos, tmp_path):
    """An argument that `--help` shows would fail when it is used."""
    (tmp_path / "out").mkdir()
    np.save(tmp_path / "out" / "frames.npy", np.zeros(3))
    done = run_script(
        *("--input_path", videos, "--output_path", tmp_path / "out", "--frame_height", 20, "--frame_width", 24),
        *(
            "--workers",
            1,
            "--video_timeout",
            30.5,
            "--overwrite",
            "--dataset_report",
            "--follow_links",
            "--short_videos",
            "hold",
        ),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert np.load(tmp_path / "out/frames.npy").shape == (2, 16, 20, 24, 3)
    assert done.stdout.endswith(f"Report: {tmp_path / 'out' / 'dataset_report.png'}\n")
    assert (tmp_path / "out" / "dataset_report.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--frame_height", "0"), "error: --frame_height: must be a whole number of at least 1, got 0"),
        (("--workers", "0"), "error: --workers: must be a whole number of at least 1, got 0"),
        (("--video_timeout", "0"), "error: --video_timeout: must be a number above 0, got 0"),
        (("--input_path", "nowhere"), "error: --input_path: must be an existing folder, got nowhere"),
        (("--sequence_length", "19"), "error: --input_path: none of the 2 videos below "),
    ],
)
def test_a_user_error_is_one_line_and_exit_code_2(videos, tmp_path, arguments, message):
    """The user would get a traceback."""
    done = run_script("--input_path", videos, "--output_path", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_help_imports_no_slow_package():
    """`--help` would take seconds."""
    code = (
        "import sys; sys.argv = ['video_to_frames.py', '--help']\n"
        "import runpy\n"
        "try: runpy.run_path('video_to_frames.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'cv2', 'numpy', 'tensorflow', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.endswith("[]\n")
