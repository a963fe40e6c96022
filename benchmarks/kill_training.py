"""Kills whole trainings at many moments, runs the same command again, and compares weights and history.

    python benchmarks/kill_training.py --points 20

Three stages on small arrays that it makes itself: Teacher_training.py, KD_training.py, and KD_training.py again while
the teacher answers. The moments are drawn in turn from the phases start (the files opened before the first step), epoch
(its steps), validation, save (each operation on the file of an epoch's state) and end (each operation on model, record
and history); of the third stage from each operation on the files of the answers. After each kill every file under a
final name must be whole, and the same command must end with the weights, by hash, and the history, times apart, of an
undisturbed run. Careless ways to keep what was done come first, killed up to eight times: straight to its final name,
and without the dropouts' random numbers; the benchmark fails if it does not catch each. Prints a JSON line a kill.

Each run is a process of its own, forked from one that has imported TensorFlow (and done nothing else), and runs the
script as a user does.
"""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PHASES = ("start", "epoch", "validation", "save", "end")
ANSWERS = ("answers",)
FILE_CALLS = frozenset(("open", "write", "tofile", "close", "fsync", "replace", "unlink", "mkdir", "flock"))
TIMES = ("seconds", "clips_per_second", "wait_share")
SIZE = ("--input_size", "48", "--width", "0.05", "--batch_size", "4", "--epochs", "3")
RATE = ("--learning_rate", "0.003", "--dropout", "0.3")  # the best epoch is not the first
SCRIPTS = {
    "Teacher_training.py": ("--output_path", "teacher.keras", "--log_path", "teacher"),
    "KD_training.py": ("--output_path", "student.h5", "--log_path", "student", "--source", "teacher.keras"),
}
CARELESS_KILLS = 8
SECONDS_A_RUN = 900
STRAIGHT, SEEDLESS = "straight to its final name", "without the dropouts' random numbers"
STAGES = (  # script, phases, what is careless in which of them
    ("Teacher_training.py", PHASES, {STRAIGHT: "save", SEEDLESS: "epoch"}),
    ("KD_training.py", PHASES, {STRAIGHT: "save", SEEDLESS: "epoch"}),
    ("KD_training.py", ANSWERS, {STRAIGHT: "answers"}),
)


def make_arrays(folder: Path) -> None:
    """Thirty clips of noise, 16x48x48, in three classes that differ in colour; names as those of UCF101."""
    rng = np.random.default_rng(0)
    names = [(label, f"g{group:02}_c{clip:02}") for label in range(3) for group in range(1, 6) for clip in (1, 2)]
    frames = rng.integers(0, 160, (len(names), 16, 48, 48, 3), np.uint8)
    for row, (label, _) in enumerate(names):
        frames[row, ..., label] += 95
    np.save(folder / "frames.npy", frames)
    np.save(folder / "labels.npy", np.array([label for label, _ in names]))
    np.save(folder / "video_file_paths.npy", np.array([f"C{label}/v_C{label}_{name}.avi" for label, name in names]))


def run(script: str, folder: Path, *, kill: tuple[str, int] | None = None, careless: str | None = None) -> dict | None:
    """Runs a script in `folder`; it kills itself at event number `kill[1]` of the phase `kill[0]`.

    Returns the number of events of each phase, or None if it was killed. Raises RuntimeError with the script's output
    if it fails.
    """
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tensorflow", "keras", "matplotlib.pyplot", "sklearn", "scipy.stats"])
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as events:
        process = context.Process(target=victim, args=(script, folder, kill, careless, output.name, events.name))
        process.start()
        process.join(SECONDS_A_RUN)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise RuntimeError(f"{script} hangs; it said:\n{output.read()}")
        if process.exitcode == -signal.SIGKILL:
            return None
        if process.exitcode:
            raise RuntimeError(output.read())
        return json.load(events)


def victim(script: str, folder: Path, kill, careless: str | None, output: str, events: str) -> None:
    """Runs a script, counts what happens, and dies at the moment that is asked for."""
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    from utils import stages
    from utils.teachers import cache as teacher_cache
    from utils.training import fit as training
    from utils.training import state as training_state

    counts, begun = dict.fromkeys(PHASES + ANSWERS, 0), []

    def count(phase: str) -> None:
        counts[phase] += 1
        if kill == (phase, counts[phase]):
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(event: str, _) -> None:
        if event in ("open", "os.mkdir") and not begun:
            count("start")

    def counted(phase: str, function):
        def profile(frame, event, argument) -> None:
            if event == "c_call" and argument.__name__ in FILE_CALLS:
                count(phase)

        def watched(*arguments, **settings):
            sys.setprofile(profile)
            try:
                return function(*arguments, **settings)
            finally:
                sys.setprofile(None)

        return watched

    class CountSteps(training.AfterEachStep):
        def on_train_batch_end(self, batch, logs=None):
            begun.append(batch)
            count("epoch")

        def on_test_batch_end(self, batch, logs=None):
            count("validation")

    training.AfterEachStep = CountSteps
    training_state.TrainingState.save = counted("save", training_state.TrainingState.save)
    stages.finish = counted("end", stages.finish)
    teacher_cache.compute = counted("answers", teacher_cache.compute)
    if careless == STRAIGHT:
        training_state.written_beside = teacher_cache.written_beside = contextlib.nullcontext
    elif careless == SEEDLESS:
        training_state.own_variables = training.own_variables = lambda model: model.weights
    sys.addaudithook(audited)
    arrays = ("--data", "../frames.npy", "--annotations", "../labels.npy")
    sys.argv = [script, *arrays, *SIZE, *RATE, *SCRIPTS[script]]
    runpy.run_path(str(ROOT / script), run_name="__main__")
    Path(events).write_text(json.dumps(counts))


def weights(path: Path) -> str:
    """A hash of all arrays of a model's file, in the order of their names. Raises if the file is not whole."""
    import h5py

    content = path.read_bytes()
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a part does not fit its checksum")
            content = archive.read("model.weights.h5")
    found = hashlib.sha256()
    with h5py.File(io.BytesIO(content)) as file:
        top, arrays = file.get("model_weights", file), {}
        top.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    for name in sorted(arrays):
        found.update(name.encode() + arrays[name].tobytes())
    return found.hexdigest()


def history(path: Path) -> list[dict]:
    """The rows of a history, times apart. Raises if the file is not whole."""
    rows = np.load(path)
    return [{name: row[name].item() for name in rows.dtype.names if name not in TIMES} for row in rows]


def incomplete(folder: Path) -> list[str]:
    """The files under final names that are not whole, and files of unknown names."""
    import cv2

    def table(path: Path) -> None:
        if len(path.read_text().splitlines()) != 4 or not path.read_text().endswith("\n"):
            raise ValueError("lines are missing")

    def picture(path: Path) -> None:
        if cv2.imread(str(path)) is None or not path.read_bytes().rstrip().endswith(b"IEND\xaeB`\x82"):
            raise ValueError("it ends early")

    def state(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a part does not fit its checksum")

    whole = {
        ".keras": weights,
        ".h5": weights,
        ".npy": np.load,
        ".json": lambda path: json.loads(path.read_text()),
        ".csv": table,
        ".log": Path.read_text,
        ".png": picture,
        ".training": state,
    }
    faults = []
    for path in folder.rglob("[!.]*.*"):
        if path.is_file() and path.suffix != ".lock":
            try:
                whole[path.suffix](path)
            except Exception as error:  # whatever a reader says of a part of a file
                faults.append(f"{path.name}: {type(error).__name__} {error}")
    return faults


def result(folder: Path, script: str) -> tuple[str, list[dict]]:
    """The weights' hash and the history that a script left."""
    model = folder / SCRIPTS[script][1]
    return weights(model), history(model.with_suffix(".npy"))


def prepare(script: str, folder: Path) -> None:
    """An empty folder, but for the teacher that a student needs, which an earlier run left in the folder `whole`."""
    if folder.name != "whole":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if script == "KD_training.py":
            for suffix in (".keras", ".json"):
                shutil.copy(folder.parent / f"whole/teacher{suffix}", folder)


def kill_and_continue(
    script: str, folder: Path, whole: tuple, kill: tuple[str, int], careless: str | None = None
) -> dict:
    """Kills a script once, runs it again, and says what is wrong: what is not whole, or not equal to `whole`."""
    prepare(script, folder)
    killed = run(script, folder, kill=kill, careless=careless) is None
    faults = incomplete(folder)
    try:
        run(script, folder, careless=careless)
        found = result(folder, script)
        faults += [name for name, one, other in zip(("weights", "history"), found, whole) if one != other]
        faults += [f"{path.name} is left" for path in folder.iterdir() if path.suffix in (".training", ".lock")]
        faults += [f"{path.name} is left" for path in folder.rglob(".*")]
    except RuntimeError as error:
        faults.append(str(error).strip().splitlines()[-1])
    return {"script": script, "phase": kill[0], "event": kill[1], "killed": killed, "faults": faults}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", type=int, default=20, help="kills a stage")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    choose = random.Random(options.seed)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_arrays(folder)
        for script, phases, careless_ways in STAGES:
            shutil.rmtree(folder / "whole/teacher.scores", ignore_errors=True)
            events = run(script, folder / "whole")
            whole = result(folder / "whole", script)
            print(json.dumps({"script": script, "events": {phase: events[phase] for phase in phases}}), flush=True)
            for careless, phase in careless_ways.items():
                for _ in range(CARELESS_KILLS):
                    moment = (phase, choose.randint(events[phase] // 2, events[phase] * 9 // 10))  # something is kept
                    done = kill_and_continue(script, folder / "careless", whole, moment, careless)
                    print(json.dumps({"careless": careless, "caught": bool(done["faults"])} | done), flush=True)
                    if done["faults"]:
                        break
                failed += not done["faults"]
            for point in range(options.points):
                phase = phases[point % len(phases)]
                moment = (phase, choose.randint(1, events[phase]))
                done = kill_and_continue(script, folder / "killed", whole, moment)
                print(json.dumps(done), flush=True)
                failed += bool(done["faults"]) or not done["killed"]
    print(json.dumps({"points": options.points * len(STAGES), "faults": failed}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
