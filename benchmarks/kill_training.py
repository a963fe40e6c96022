"""Kill training scripts at many points, resume them, and compare weights and history with an undisturbed run's.

    python benchmarks/kill_training.py --kills 20 --output_path torture/training

The subjects are Teacher_training.py, KD_training.py, and KD_training.py while it computes teacher logits, on arrays of
noise. The phases are start (files opened before the first step), epoch (training steps), validation, save (file
operations on the training state), end (those on model, record and history) and logits (those on cached logits). After
each kill, the files under final names must be complete. The same command must then give the weights and, except for
times, the history of an undisturbed run. Two unsafe ways to save must be caught: directly to the final name, and
without the state of the dropout generators. See kill_counts.py for the output.
"""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import kill_counts, killing
from benchmarks.common import write_noise_clips
from utils.base import cli

PHASES = ("start", "epoch", "validation", "save", "end")
TIMES = ("seconds", "clips_per_second", "wait_share")
EPOCHS = 3
SETTINGS = f"--input_size 48 --width 0.05 --batch_size 4 --epochs {EPOCHS}"
SETTINGS += " --learning_rate 0.003 --dropout 0.3"  # so that the best epoch is not the first
DIRECT, SEEDLESS = "written directly to the final name", "without the state of the dropout generators"
TEACHER, STUDENT = "teacher.keras", "student.h5"


def subjects(folder: Path) -> Iterator[killing.Subject]:
    """Write the arrays to `folder`, and yield the scripts to kill; the undisturbed teacher must run first."""
    write_noise_clips(folder, classes=3, clips=10, size=(48, 48))
    common = {"hook": hook, "fault_of": fault_of, "leftovers": ("*.training", ".*"), "kills": 5}
    for name, script, model, phases, unsafe in (
        ("teacher", "Teacher_training.py", TEACHER, PHASES, {DIRECT: "save", SEEDLESS: "epoch"}),
        ("student", "KD_training.py", STUDENT, PHASES, {DIRECT: "save", SEEDLESS: "epoch"}),
        ("logits", "KD_training.py", STUDENT, ("logits",), {DIRECT: killing.HALF}),
    ):
        of_model = {"prepare": partial(prepare, model=model), "outcome": partial(outcome, model=model)}
        yield killing.Subject(name, script, phases=phases, unsafe=unsafe, **of_model, **common)


def prepare(folder: Path, model: str) -> list:
    """Return the arguments that train `model` in `folder`, a student with a copy of the undisturbed teacher."""
    arrays = folder.parent
    found = ["--data", arrays / "frames.npy", "--annotations", arrays / "labels.npy", *SETTINGS.split()]
    found += ["--output_path", folder / model, "--log_path", folder / Path(model).stem]
    if model == STUDENT:
        folder.mkdir(exist_ok=True)
        for suffix in (".keras", ".json"):
            shutil.copy(arrays / f"undisturbed_teacher/teacher{suffix}", folder)
        found += ["--source", folder / TEACHER]
    return found


def hook(events: killing.Events, unsafe: str | None) -> None:
    """Count the events of PHASES and the file operations on the cached logits."""
    from utils.training import cache, callbacks, fit, stages
    from utils.training import state as training_state

    def audited(event: str, _) -> None:
        if event in ("open", "os.mkdir") and not events.counts["epoch"]:
            events.count("start")

    class CountSteps(fit.AfterEachStep):
        def on_train_batch_end(self, batch, logs=None):
            events.count("epoch")

        def on_test_batch_end(self, batch, logs=None):
            events.count("validation")

    fit.AfterEachStep = CountSteps
    training_state.TrainingState.save = events.file_operations("save", training_state.TrainingState.save)
    stages.finish = events.file_operations("end", stages.finish)
    cache.written_beside = events.saves(contextlib.nullcontext if unsafe == DIRECT else cache.written_beside)
    cache.compute = events.file_operations("logits", cache.compute)
    if unsafe == DIRECT:
        training_state.written_beside = contextlib.nullcontext
    elif unsafe == SEEDLESS:
        for module in (training_state, callbacks, fit):
            module.own_variables = lambda model: model.weights
    sys.addaudithook(audited)


def outcome(folder: Path, model: str) -> dict:
    """Return the digest of the weights, and the history without times."""
    rows = np.load((folder / model).with_suffix(".npy"))
    history = [{name: row[name].item() for name in rows.dtype.names if name not in TIMES} for row in rows]
    return {"weights": killing.weights_digest(folder / model), "history": history}


def fault_of(folder: Path, _=None) -> str | None:
    """Describe the files under final names that are not complete or have unknown names."""
    faults = []
    for path in sorted(folder.rglob("[!.]*.*")):
        if path.is_file() and path.suffix != ".lock":
            try:
                require_complete(path)
            except Exception as error:  # a reader may raise anything on a part of a file
                faults.append(f"{path.name}: {type(error).__name__} {error}")
    return "; ".join(faults) or None


def require_complete(path: Path) -> None:
    """Raise an error if a file is not complete or has an unknown suffix."""
    content, suffix = path.read_bytes(), path.suffix
    if suffix in (".keras", ".h5"):
        killing.weights_digest(path)
    elif suffix == ".training":
        killing.unzip(path)
    elif suffix == ".npy":
        np.load(path)
    elif suffix == ".json":
        json.loads(content)
    elif suffix == ".csv" and (content.count(b"\n") != 1 + EPOCHS or not content.endswith(b"\n")):
        raise ValueError("lines are missing")
    elif suffix == ".png" and (cv2.imread(str(path)) is None or not content.rstrip().endswith(b"IEND\xaeB`\x82")):
        raise ValueError("the end is missing")
    elif suffix == ".md" and not content.endswith(b"has not chosen a licence yet.\n"):
        raise ValueError("the last line of the card is missing")
    elif suffix not in (".csv", ".png", ".log", ".md"):
        raise ValueError("unknown suffix")


if __name__ == "__main__":
    kill_counts.run(cli.ArgumentParser(__doc__.split("\n")[0]), lambda args: subjects(args.output_path))
