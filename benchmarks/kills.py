"""Kill the scripts of some stages at many points, rerun them, and compare the results with those of an undisturbed run.

    python benchmarks/kills.py extraction --kills 20
    python benchmarks/kills.py training --kills 20
    python benchmarks/kills.py reproduce --kills 20

extraction: half of the kills come after a random time, the other half at a random file operation of the final save.
training: Teacher_training.py, KD_training.py, and KD_training.py while it computes teacher logits. The phases are start
(files opened before the first step), epoch (training steps), validation, save (file operations on the training state),
end (those on model, record and history) and logits (those on cached logits).
reproduce: half of the kills come after a random time, the other half within a random save.

After each kill, files under their final names must be complete or absent, and no worker may survive. The same command
must then give the arrays, the weights and the history of an undisturbed run, or its results.json, except for times.
Unsafe ways to save, such as directly to the final name, must be detected. Videos and networks are tiny. The kills
depend on --seed. Prints a JSON line for each finished run; the last line holds the counts. The exit code is 1 if there
are faults or an unsafe way to save is not detected.
"""

import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.killing import AFTER, BEFORE, HALF, TIME, Events, Subject, kill_repeatedly, unzip, weights_digest
from utils.base import cli
from utils.base.argument_types import non_negative_int, positive_float, positive_int
from utils.base.files import file_fingerprint, read_json
from utils.base.parser import ArgumentParser

EARLY = "logits under the final name before they are complete"
DIRECT, SEEDLESS = "written directly to the final name", "without the state of the dropout generators"

# Extraction
COMPARED = ("frames.npy", "labels.npy", "video_file_paths.npy", "skipped_videos.csv")


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of the COMPARED files in `folder`."""
    return {name: file_fingerprint(folder / name) for name in COMPARED if (folder / name).exists()}


def incomplete_array(output: Path, whole: dict[str, str]) -> str | None:
    """Describe the first file under a final name that is not complete, by the digests of a whole data set."""
    return next((f"{name} is not complete" for name, digest in digests(output).items() if digest != whole[name]), None)


def hook_extraction(events: Events, unsafe: str | None) -> None:
    """Count the file operations of the run and of the save."""
    from utils.video import extract as extraction
    from utils.video.extraction_state import ExtractionState, header_bytes

    def publish_directly(state: ExtractionState, record: dict, write_rest) -> None:
        rows = state.frames_path.read_bytes()[state.header_size : state.offset(state.rows)]
        with open(state.output_path / "frames.npy", "wb", buffering=0) as file:
            file.write(header_bytes(state.rows, state.clip_shape))
            for start in range(0, len(rows), state.row_size):
                file.write(rows[start : start + state.row_size])
        write_rest(state.output_path)
        shutil.rmtree(state.folder)

    extraction.extract = events.file_operations("run", extraction.extract)
    extraction._save = events.file_operations("save", extraction._save)
    if unsafe:
        ExtractionState.publish = publish_directly


def extraction_of(videos: Path, **settings) -> Subject:
    """Return the extraction of a folder of videos, with these arguments of video_to_frames.py."""
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    return Subject(
        name="extraction",
        script="video_to_frames.py",
        prepare=lambda folder: ["--input_path", videos, *flags, "--output_path", folder],
        hook=hook_extraction,
        outcome=digests,
        phases=(TIME, "save"),
        unsafe={DIRECT: "save"},
        fault_of=incomplete_array,
        leftovers=(".extraction*",),
    )


def extractions(folder: Path) -> Iterator[Subject]:
    """Render six videos to `folder`, and yield their extraction."""
    from utils.video.synthetic import render_dataset

    render_dataset(folder / "videos", classes=2, subjects=3, clips=1, workers=1)
    yield extraction_of(folder / "videos", sequence_length=16, frame_height=112, frame_width=112)


# Training
PHASES = ("start", "epoch", "validation", "save", "end")
TIMES = ("seconds", "clips_per_second")
SETTINGS = "--input_size 48 --width 0.05 --batch_size 4 --epochs 3"
SETTINGS += " --learning_rate 0.003 --dropout 0.3"  # so that the best epoch is not the first
TEACHER, STUDENT = "teacher.keras", "student.h5"
READERS = {".keras": weights_digest, ".h5": weights_digest, ".training": unzip, ".npy": np.load, ".json": read_json}


def trainings(folder: Path) -> Iterator[Subject]:
    """Write the arrays to `folder`, and yield the scripts to kill; the undisturbed teacher must run first."""
    write_noise_clips(folder)
    common = {"hook": hook_training, "fault_of": incomplete_file, "leftovers": ("*.training", ".*")}
    for name, script, model, phases, unsafe in (
        ("teacher", "Teacher_training.py", TEACHER, PHASES, {DIRECT: "save", SEEDLESS: "epoch"}),
        ("student", "KD_training.py", STUDENT, PHASES, {DIRECT: "save", SEEDLESS: "epoch"}),
        ("logits", "KD_training.py", STUDENT, ("logits",), {EARLY: HALF}),
    ):
        of_model = {"prepare": partial(prepare, model=model), "outcome": partial(weights_and_history, model=model)}
        yield Subject(name, script, phases=phases, unsafe=unsafe, **of_model, **common)


def write_noise_clips(folder: Path) -> None:
    """Write 30 clips of 16 frames of 48x48 pixels: noise with a colour per class, and names as in UCF101."""
    labels, numbers = np.repeat(np.arange(3), 10), np.tile(np.arange(10), 3)
    frames = np.random.default_rng(0).integers(0, 160, (30, 16, 48, 48, 3), np.uint8)
    frames[np.arange(30), ..., labels] += 95
    names = [f"C{label}/v_C{label}_g{1 + n // 2:02}_c{n:02}.avi" for label, n in zip(labels, numbers)]
    np.save(folder / "frames.npy", frames)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "video_file_paths.npy", np.array(names))


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


def hook_training(events: Events, unsafe: str | None) -> None:
    """Count the events of PHASES and the file operations on the cached logits."""
    from utils.runs import state as training_state
    from utils.training import cache, callbacks, fit, stages

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
    cache.written_beside = events.saves(contextlib.nullcontext if unsafe == EARLY else cache.written_beside)
    if unsafe == EARLY:
        cache.UNFINISHED = (".npy", cache.UNFINISHED[1])
    cache.compute = events.file_operations("logits", cache.compute)
    if unsafe == DIRECT:
        training_state.written_beside = contextlib.nullcontext
    elif unsafe == SEEDLESS:
        for module in (training_state, callbacks, fit):
            module.own_variables = lambda model: model.weights
    sys.addaudithook(audited)


def weights_and_history(folder: Path, model: str) -> dict:
    """Return the digest of the weights, and the history without times."""
    rows = np.load((folder / model).with_suffix(".npy"))
    history = [{name: row[name].item() for name in rows.dtype.names if name not in TIMES} for row in rows]
    return {"weights": weights_digest(folder / model), "history": history}


def incomplete_file(folder: Path, _=None) -> str | None:
    """Describe the files under final names that cannot be read."""
    faults = []
    for path in sorted(folder.rglob("[!.]*.*")):
        try:
            READERS.get(path.suffix, str)(path)
        except Exception as error:  # a reader may raise anything on a part of a file
            faults.append(f"{path.name}: {type(error).__name__} {error}")
    return "; ".join(faults) or None


# reproduce.py
EXPERIMENT = "--classes 2 --subjects 4 --clips 1 --frame_size 32 --input_size 32 --batch_size 2 --seeds 0"
EXPERIMENT += " --teacher_width 0.05 --student_width 0.05 --teacher_epochs 2 --student_epochs 2 --temperatures 1 4"


def experiments(folder: Path) -> Iterator[Subject]:
    """Yield an experiment that renders its own videos."""
    yield Subject(
        name="experiment",
        script="reproduce.py",
        prepare=lambda folder: [*EXPERIMENT.split(), "--output_path", folder],
        hook=hook_experiment,
        outcome=results_and_weights,
        phases=(TIME, HALF, TIME, BEFORE, TIME, AFTER),
        unsafe={DIRECT: HALF},
        kills=5,
    )


def hook_experiment(events: Events, unsafe: str | None) -> None:
    """Count the saves; must run before another module imports `written_beside`."""
    from utils.base import files

    files.written_beside = events.saves(contextlib.nullcontext if unsafe else files.written_beside)


def results_and_weights(folder: Path) -> dict:
    """Return results.json without times and paths, and a digest of the weights of each cell."""
    results = json.loads((folder / "results.json").read_text())
    results = {name: value for name, value in results.items() if name not in ("times", "arguments")}
    return results | {path.parent.name: weights_digest(path) for path in folder.glob("cells/*/*.keras")}


STAGES = {"extraction": extractions, "training": trainings, "reproduce": experiments}


def main() -> None:
    parser = ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument("stage", choices=STAGES, help="what to kill")
    parser.add_argument("--kills", type=positive_int, default=20, help="kills of each script")
    parser.add_argument("--minutes", type=positive_float, default=600.0, help="time budget; checked between runs")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="seed of the choice of kills")
    args = parser.parse_args()
    deadline = time.monotonic() + 60 * args.minutes
    settings = {"kills": args.kills, "seed": args.seed, "deadline": deadline}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        found = [kill_repeatedly(subject, folder, **settings) for subject in STAGES[args.stage](folder)]
    print(json.dumps(found))
    sys.exit(any(each["faults"] or each["missed"] for each in found))


if __name__ == "__main__":
    cli.run(main)
