"""The log of a run: header, printed lines and the way it ended, without changing the output on the terminal."""

import io
import re
import sys
from pathlib import Path

import pytest

from utils.base.devices import hardware
from utils.base.errors import UserError
from utils.base.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions
from utils.base.run_log import Tee, begin_log, log_only, run_log
from utils.data.clips import open_clips
from utils.training import stages

OPTIONS = [TrainingOptions(epochs=3, patience=7)]
STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")


def lines_of(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert all(STAMP.match(line) for line in lines)
    return [STAMP.sub("", line) for line in lines]


def test_the_header_holds_command_folder_versions_device_and_settings(tmp_path, monkeypatch):
    """A user could not reconstruct how a model was trained."""
    monkeypatch.setattr(sys, "argv", ["KD_training.py", "--data", "my frames.npy"])
    monkeypatch.chdir(tmp_path)
    with run_log(tmp_path / "logs" / "a.log", OPTIONS):
        pass
    lines = lines_of(tmp_path / "logs" / "a.log")
    assert lines[0].endswith("KD_training.py --data 'my frames.npy'")
    assert lines[1].startswith(f"in {tmp_path}, process ")
    assert re.match(r"python 3\.\d+\.\d+, .*keras 3", lines[2])
    assert lines[3] == f"device: {hardware()}"
    assert '"epochs": 3' in lines[4]
    assert '"patience": 7' in lines[4]
    assert re.fullmatch(r"finished after \d+ (s|min)", lines[-1])


def test_printed_lines_are_logged_and_still_printed(tmp_path, capsys):
    """Output, warnings included, would be missing in the log or on the terminal."""
    with run_log(tmp_path / "a.log", OPTIONS):
        print("epoch 1/3")
        print("note:", "half a line", end="")
        print(", the rest")
        print("a warning", file=sys.stderr)
        log_only("arrays: a fingerprint")
    assert lines_of(tmp_path / "a.log")[5:-1] == [
        "epoch 1/3",
        "note: half a line, the rest",
        "a warning",
        "arrays: a fingerprint",
    ]
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("epoch 1/3\nnote: half a line, the rest\n", "a warning\n")
    log_only("after the run")
    assert "after the run" not in (tmp_path / "a.log").read_text()


def test_a_progress_bar_is_logged_in_its_final_state_only():
    """Thousands of states of a progress bar would fill the log."""
    stream, lines = io.StringIO(), []
    tee = Tee(stream, lines.append)
    for text in ("\r10 %", "\r50 %", "\r100 %\n", "\r10 %", "\r      \r", "epoch 1\n"):
        tee.write(text)
    assert lines == ["100 %", "epoch 1"]
    assert stream.getvalue() == "\r10 %\r50 %\r100 %\n\r10 %\r      \repoch 1\n"


def test_isatty_is_that_of_the_stream():
    """No progress bar would be shown on a terminal."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    assert Tee(stream, print).isatty()


@pytest.mark.parametrize(
    ("raised", "last"),
    [
        (UserError("--data: no such clips"), "error: --data: no such clips"),
        (KeyboardInterrupt("interrupted: epoch 1 is kept"), "interrupted: epoch 1 is kept"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
    ],
)
def test_the_last_line_says_how_the_run_ended(tmp_path, raised, last):
    """The log would not show why a run stopped."""

    def work():
        begin_log()
        raise raised

    with pytest.raises(type(raised)), run_log(tmp_path / "a.log", OPTIONS):
        work()
    assert lines_of(tmp_path / "a.log")[-1] == last
    assert isinstance(raised, (UserError, KeyboardInterrupt)) or "Traceback" in (tmp_path / "a.log").read_text()
    assert not isinstance(sys.stdout, Tee)


def test_a_resumed_run_appends_to_the_log(tmp_path):
    """Resuming would erase the log of the interrupted run."""
    for _ in range(2):
        with run_log(tmp_path / "a.log", OPTIONS):
            print("epoch")
    lines = lines_of(tmp_path / "a.log")
    assert lines.count("epoch") == 2
    assert sum(line.startswith("=== ") for line in lines) == 2


def test_a_full_disk_does_not_end_the_run(capsys):
    """A log that cannot be written would end the training."""
    with run_log(Path("/dev/full"), OPTIONS):
        print("epoch 1")
    assert capsys.readouterr().out == "epoch 1\n"


def test_a_training_writes_its_log_next_to_its_history(make_arrays, tmp_path):
    """Data, split, epochs or saved files would be missing in the log."""
    folder = make_arrays(height=32, width=32)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    training, network = TrainingOptions(batch_size=6, epochs=2), NetworkOptions(width=0.05, input_size=(32, 32))
    output = OutputOptions(tmp_path / "student.keras", tmp_path / "history" / "student.npy")
    settings = {"data": data, "training": training, "network": network}
    stages.train_student(**settings, distillation=DistillationOptions(alpha=1.0), output=output)
    lines = lines_of(tmp_path / "history" / "student.log")
    text = "\n".join(lines)
    assert f"30 clips of 16 frames 32x32 (HxW) in 3 classes: {folder / 'frames.npy'}" in lines
    assert "split group: 18 train, 6 validation, 6 test" in lines
    assert open_clips(data.data, data.annotations).fingerprint()["content"] in text
    assert [line[:9] for line in lines if line.startswith("epoch ")] == ["epoch 1/2", "epoch 2/2"]
    assert f"saved {tmp_path / 'student.keras'}" in text
    assert '"alpha": 1.0' in text
    assert '"view_seed": 0' in text  # a default
    assert "training precision: float32" in lines
    assert lines[-1].startswith("finished after ")


def test_a_run_that_is_rejected_before_its_work_leaves_no_log(tmp_path):
    """A mistyped command would append to the log of another run, or leave a folder behind."""
    with pytest.raises(UserError), run_log(tmp_path / "new/run.log", []):
        raise UserError("--data: is wrong")
    assert list(tmp_path.iterdir()) == []
