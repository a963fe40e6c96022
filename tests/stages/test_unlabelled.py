"""Unlabelled clips in the scripts: what the record holds, and copies of test clips among them."""

import json
import shutil

import numpy as np
import pytest

from tests.planted_clips import clip_of, copied, video, write_arrays
from tests.scripts import eager_functions
from tests.scripts import run_script as run
from utils.data.clips import open_clips
from utils.data.protocols import make_split

pytestmark = pytest.mark.usefixtures("eager")

PATHS = [f"{action}/v_{action}_g0{group}_c0{clip}.avi" for action in "AB" for group in (1, 2, 3) for clip in (1, 2, 3)]
ARRAYS = ["--data", "frames.npy", "--annotations", "labels.npy"]
UNLABELLED = [*ARRAYS, "--unlabelled", "more/frames.npy"]
TRAINING = [
    "--input_size",
    32,
    "--width",
    0.1,
    "--batch_size",
    4,
    "--epochs",
    1,
    "--views",
    0,
    "--source",
    "scores.npy",
]
OUTPUT = ["--output_path", "student.keras", "--log_path", "student"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with unlabelled clips, two of which are copies of test clips, and a student; and the printed lines."""
    folder = write_arrays(tmp_path_factory.mktemp("some") / "arrays", [clip_of(video(row)) for row in range(18)], PATHS)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    test = make_split(dataset.labels, dataset.paths, class_names=dataset.class_names).test
    more = [clip_of(video(seed)) for seed in range(50, 58)]
    more[2], more[7] = (clip_of(copied(video(row), kind)) for row, kind in zip(test, ("encoded", "brightened")))
    write_arrays(folder / "more", more, [f"any/{number}.avi" for number in range(8)])
    write_arrays(folder / "clean", more[3:7], [f"any/{number}.avi" for number in range(4)])
    write_arrays(folder / "one", more[7:], ["any/7.avi"])
    scores = 5 * np.eye(2, dtype=np.float32)[np.concatenate([dataset.labels, np.arange(8) % 2])] - 1
    np.save(folder / "scores.npy", scores)
    with eager_functions():
        return folder, run("KD_training.py", *UNLABELLED, *TRAINING, *OUTPUT, cwd=folder)


def test_the_record_lists_unlabelled_clips_and_their_leaks(trained):
    """Later it would be unknown what the student has seen."""
    folder, printed = trained
    record = json.loads((folder / "student.json").read_text())
    (file,) = record["unlabelled"]["files"]
    assert (file["path"], file["arrays"]["shape"]) == ("more/frames.npy", [8, 16, 40, 48, 3])
    found = record["unlabelled"]["leaks"]
    assert (found["leaking_test_clips"], found["unlabelled_clips"], found["training_clips"]) == (2, 8, 0)
    assert record["arguments"]["unlabelled"] == ["more/frames.npy"]
    assert max(map(max, record["split"]["rows"].values())) == 17
    assert "8 unlabelled clips: more/frames.npy\n" in printed
    assert "leaks: 2 of 6 test clips share something with 8 unlabelled clips\n" in printed


@pytest.mark.parametrize(
    "command",
    [
        ["KD_training.py", *UNLABELLED, *TRAINING, "--output_path", "refused/s.h5"],
        ["KD_training.py", *UNLABELLED, *TRAINING, "--output_path", "refused/s.h5", "--alpha", 1],
        ["reproduce.py", *UNLABELLED, "--output_path", "refused"],
        ["eval.py", *ARRAYS, "--recognizer", "student.keras", "--output_path", "refused"],
    ],
    ids=["distilled", "baseline", "experiment", "evaluation"],
)
def test_copies_of_test_clips_are_refused(trained, command):
    """The accuracy of a student that has seen test clips would be reported as that on new clips."""
    folder, _ = trained
    printed = run(*command, "--fail_on_leak", cwd=folder, expect=2)
    assert printed.startswith("error: --fail_on_leak: 2 of 6 test clips must share nothing with training, ")
    assert "more/frames.npy: any/" in printed
    assert printed.count("\n") == 1
    assert not list(folder.glob("refused/*.h5")) + list(folder.glob("refused/results*"))


def test_a_single_copy_is_refused(trained):
    """Distances are relative to those of other clips, of which there are none among a single unlabelled clip."""
    arguments = [*ARRAYS, "--unlabelled", "one/frames.npy", "--fail_on_leak"]
    printed = run("KD_training.py", *arguments, cwd=trained[0], expect=2)
    assert printed.startswith("error: --fail_on_leak: 1 of 6 test clips must share nothing with ")


def test_clean_unlabelled_clips_are_accepted(trained):
    """The check of the leaks comes first, so the missing teacher is found only if it passes."""
    arguments = [*ARRAYS, "--unlabelled", "clean/frames.npy", "--fail_on_leak"]
    printed = run("KD_training.py", *arguments, cwd=trained[0], expect=2)
    assert printed == "error: --source must name a teacher unless --alpha is 1, got none\n"


def test_eval_searches_the_unlabelled_clips_or_notes_that_it_cannot(trained, tmp_path):
    """A report without a leak would be trusted although the unlabelled clips were not searched."""
    shutil.copytree(trained[0], tmp_path / "copy")
    evaluate = ["eval.py", *ARRAYS, "--recognizer", "student.keras"]
    printed = run(*evaluate, cwd=tmp_path / "copy")
    leaks = json.loads((tmp_path / "copy/report/metrics.json").read_text())["recognizers"][0]["leaks"]
    assert leaks["kinds"]["near-duplicate"]["with_unlabelled_clips"] == leaks["leaking_test_clips"] == 2
    assert leaks["notes"] == []
    (tmp_path / "copy/more/frames.npy").rename(tmp_path / "moved.npy")
    note = "Unlabelled clips of the training could not be searched for leaks: more/frames.npy does not exist."
    printed = run(*evaluate, cwd=tmp_path / "copy")
    assert f"  {note}\n" in printed
    assert json.loads((tmp_path / "copy/report/metrics.json").read_text())["recognizers"][0]["leaks"]["notes"] == [note]
    printed = run(*evaluate, "--fail_on_leak", cwd=tmp_path / "copy", expect=2)
    assert printed == f"error: --fail_on_leak: student.keras: {note}\n"
