"""The commands in README.md, CONTRIBUTING.md and docs/, run on small stand-ins for what they read."""

import argparse
import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from models.c3d import WEIGHT_LAYERS, build_c3d
from tests.exported_files import write_exported
from tests.scripts import PROJECT, eager_functions, run_script
from utils.base.formats import EXPORTED_SUFFIXES
from utils.data.clips import open_clips
from utils.evaluation.metrics import accuracy
from utils.networks.recognizer import load_recognizer, save_model
from utils.video.extract import extract
from utils.video.synthetic import render_dataset

pytestmark = pytest.mark.draws

PAGES = (PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md")))
COMMAND = re.compile(r"(\$ )?(\w+=\S+ )*(python3?|pip|dask|make|source|bash|git|\./?\S+)( |$)")
SIDE, WIDTH = 32, 0.05

# Scripts that run, with the arguments that make them small; the last of equal arguments counts.
NETWORK = f"--input_size {SIDE} --width {WIDTH} --batch_size 2 --epochs 1 --devices 1".split()
RUN = {
    "video_to_frames.py": f"--frame_height {SIDE} --frame_width {SIDE} --overwrite".split(),
    "Teacher_training.py": [*NETWORK, "--overwrite"],
    "KD_training.py": [*NETWORK, "--views", "1", "--overwrite"],
    "eval.py": [],
    "predict.py": [],
    "export.py": ["--format", "saved_model", "--no_int8", "--no_measure", "--overwrite"],
    "utils/cards.py": [],
    "utils/leaks.py": [],
    "benchmarks/overview_picture.py": [],
    "benchmarks/contact_sheet.py": [],
}

# Of the commands of reproduce.py, only that of `make demo` runs; the others list their trainings with --dry_run.
DEMO = ["reproduce.py", "--output_path", "demo"]
SMALL_DEMO = f"--classes 2 --subjects 5 --clips 4 --frame_size {SIDE} --input_size {SIDE} --labels_per_class 1".split()
SMALL_DEMO += (
    f"--teacher_width {WIDTH} --student_width {WIDTH} --teacher_epochs 1 --student_epochs 1 --batch_size 2".split()
)

# Scripts that only parse their arguments, with the reason.
PARSED = {
    "benchmarks/extraction.py": "times the reading of videos; `make bench` runs it",
    "benchmarks/kills.py": "kills scripts for minutes; tests/test_kills.py runs its parts",
    "benchmarks/latency.py": "times full-width models for minutes",
    "benchmarks/leaks.py": "encodes copies of real videos for minutes",
    "benchmarks/students.py": "times full-width models for minutes",
    "benchmarks/timeline.py": "needs the videos of Weizmann; tests/benchmarks runs its parts",
    "examples/image_teacher.py": "needs PyTorch; tests/examples runs its parts",
    "examples/torchvision_scores.py": "needs torchvision; tests/examples runs it with a stand-in",
    "examples/videomae_scores.py": "needs transformers; tests/examples runs it with a stand-in",
}
# Not run; tests/utils/export/test_example.py runs the programs next to exported files.
SHELL = (
    *("source .venv/bin/activate", "python -m venv .venv", "python example.py student.onnx holiday.mp4"),
    *(f"python predict.pyz --recognizer student.onnx --input {name}" for name in ("holiday.mp4", "0")),
)


def code_blocks(page: Path) -> list[tuple[str, list[str]]]:
    """Return the fenced and indented code blocks of a page as (language, lines); indented blocks have no language."""
    blocks, language, lines = [], None, []
    for line in [*page.read_text().splitlines(), ""]:
        fence = re.match(r"\s*```(\w*)", line)
        if not fence and language is not None:
            lines.append(line)
        elif not fence and re.match(r" {4}\S", line):
            lines.append(line.strip())
        else:  # a block begins or ends
            blocks.append((language or "", lines))
            language, lines = fence[1] if fence and language is None else None, []
    return [block for block in blocks if block[1]]


def documented_commands() -> list[tuple[Path, str]]:
    """Return the page and text of each command in code blocks and of those in backticks within the text."""
    found = []
    for page in PAGES:
        for language, lines in code_blocks(page):
            joined = "\n".join(lines).replace("\\\n", " ").splitlines()
            if language == "bash":
                found += [(page, line) for line in joined if line.strip()]
            elif language != "python":
                found += [(page, line) for line in joined if COMMAND.match(line)]
        inline = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
        found += [(page, text) for text in re.findall(r"`((?:python|pip|make) [^`]+)`", inline)]
    return list(dict.fromkeys(found))


COMMANDS = documented_commands()
EXAMPLE = [command for _, command in COMMANDS if "my_teacher" in command or "my_student" in command]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with stand-ins for the videos, arrays, scores and weights that the documented commands read."""
    folder = tmp_path_factory.mktemp("workplace")
    size = {"frame_height": SIDE, "frame_width": SIDE}
    render_dataset(folder / "Datasets/UCF11", classes=2, subjects=5, clips=2, workers=1, **size)
    arrays = folder / "Frames_datasets/UCF11"
    extract(folder / "Datasets/UCF11", arrays, sequence_length=16, workers=1, **size)
    for name in ("UCF11", "weizmann", "DIR"):
        (folder / name).symlink_to("Datasets/UCF11")
    for name in ("frames.npy", "labels.npy", "video_file_paths.npy"):
        (folder / "arrays").mkdir(exist_ok=True)
        shutil.copy(arrays / name, folder / name)
        shutil.copy(arrays / name, folder / "arrays" / name)
    shutil.copy(arrays / "extraction.json", folder / "arrays")
    for name in ("six", "weizmann"):
        (folder / "Frames_datasets" / name).symlink_to("UCF11")
    (folder / "recipes").symlink_to(PROJECT / "recipes")
    for name in ("results/synthetic", "docs", "few_labels", "video", "views_224"):
        (folder / name).mkdir(parents=True)
    scores = np.eye(2, dtype=np.float32)[np.load(arrays / "labels.npy")]
    folds = [f"{name}_{fold}-3" for name in ("image", "image5") for fold in (1, 2, 3)]
    for name in ("scores", "scores_cross_fitted", "image", "image_cross_fitted", "video/scores", "features", *folds):
        np.save(folder / f"{name}.npy", scores)
    for name in ("labelled", "unlabelled"):
        (folder / "Datasets" / name).symlink_to("UCF11")
        shutil.copytree(arrays, folder / "Frames_datasets" / name)
    np.save(folder / "few_labels/scores.npy", np.concatenate([scores, scores]))
    write_sports1m_file(folder / "sports1m.h5")
    videos = sorted((folder / "Datasets/UCF11").rglob("*.avi"))
    (folder / "folder").mkdir()
    (folder / "shared").symlink_to("Frames_datasets")
    (folder / "Frames_datasets/UCF101").symlink_to("UCF11")
    for name in ("holiday.mp4", "long.mp4", "video.mp4", "folder/1.mp4", "folder/2.mp4"):
        (folder / name).symlink_to(videos[0])
    return folder


def write_sports1m_file(path: Path) -> None:
    """Write a file with the layout of the Sports-1M weights, random numbers and few filters."""
    model = build_c3d(487, input_shape=(16, SIDE, SIDE, 3), width=WIDTH)
    with h5py.File(path, "w") as file:
        for name in WEIGHT_LAYERS:
            for part, variable in zip(("kernel", "bias"), model.get_layer(name).weights):
                file[f"{name}/{name}/{part}:0"] = np.asarray(variable)


@pytest.fixture(scope="module")
def demo(workplace):
    """The output folder of `make demo`, from an experiment with tiny networks."""
    run_script(*DEMO, *SMALL_DEMO, cwd=workplace)
    return workplace / "demo"


def provide_models(arguments: list[str], folder: Path, *, needs_record: bool = False) -> None:
    """Write a network in place of each missing model that a command reads, with a record if it needs one."""
    inputs = re.findall(r"--(?:source|teacher|recognizer|initial_weights)((?: (?!--)\S+)+)", " ".join(arguments))
    needs_record |= "--calibrate" in arguments or "--initial_weights" in arguments
    paths = [folder / name for names in inputs for name in names.split()]
    has_exported = any(path.suffix in EXPORTED_SUFFIXES for path in paths)
    for path in paths:
        if has_exported:  # the exported stand-in has no class names, so that others must not have any
            path.with_suffix(".json").unlink(missing_ok=True)
        if path.exists() and (path.with_suffix(".json").exists() or not needs_record):
            continue
        if path.suffix in EXPORTED_SUFFIXES:
            write_exported(path, classes=2)
        elif needs_record:
            arrays = ["--data", "frames.npy", "--annotations", "labels.npy"]
            arrays = (
                arguments[arguments.index("--data") :][: 4 if "--annotations" in arguments else 2]
                if "--data" in arguments
                else arrays
            )
            run_script(
                "KD_training.py", *arrays, "--alpha", "1", *RUN["KD_training.py"], "--output_path", path, cwd=folder
            )
        else:
            save_model(build_c3d(2, input_shape=(16, SIDE, SIDE, 3), width=WIDTH), path)


class ArgumentsParsed(SystemExit):
    """Ends a script once its arguments are parsed."""


def parse_only(script: str, arguments: list[str], folder: Path, monkeypatch) -> None:
    """Run a script up to the end of its argument parser."""
    parse, parsed = argparse.ArgumentParser.parse_args, []

    def parse_and_end(self, *args, **kwargs):
        parsed.append(parse(self, *args, **kwargs))
        raise ArgumentsParsed(0)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)
        run_script(script, *arguments, cwd=folder)
    assert parsed


def check_python(script: str, arguments: list[str], request) -> None:
    """Run a script at small size, or parse its arguments, as the tables say."""
    folder, monkeypatch = request.getfixturevalue("workplace"), request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    if [script, *arguments] == DEMO:
        assert (request.getfixturevalue("demo") / "results.md").is_file()
    elif script == "reproduce.py":
        if any(text.startswith("demo/") for text in arguments):
            request.getfixturevalue("demo")
        assert " training run" in run_script(script, *arguments, "--dry_run", cwd=folder)
    elif script in PARSED:
        parse_only(script, arguments, folder, monkeypatch)
    elif script in RUN:
        if "--experiment" in arguments:
            request.getfixturevalue("demo")
        words = " ".join(arguments)
        weights = ["--weights", "sports1m.h5"] if "C3D" in words else []  # instead of a download
        is_pretrained = "--student_weights" in words or "image_probe" in words  # such models have one width
        weights += ["--width", "1"] if is_pretrained else []
        without = [["--input", "0"], ["--scheduler", "tcp://host:8786"]]  # a camera, a cluster
        if arguments[-2:] in without:
            provide_models(arguments, folder)
            parse_only(script, arguments, folder, monkeypatch)
            return
        with eager_functions():  # other tests run these stages with graphs
            provide_models(arguments, folder, needs_record=script == "utils/cards.py")
            run_script(script, *arguments, *RUN[script], *weights, cwd=folder)
        if "--output" in arguments:
            assert (folder / arguments[arguments.index("--output") + 1]).exists()
        if "--output_path" in arguments and "--write_views" not in arguments:
            assert (folder / arguments[arguments.index("--output_path") + 1]).exists()
    else:
        pytest.fail(f"unknown script {script}: add it to RUN, or to PARSED with a reason")


def check_make(targets: list[str], request) -> None:
    """Check that make knows the targets, and check the scripts in their recipes."""
    printed = subprocess.run(["make", "-n", *targets], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert printed.returncode == 0, printed.stderr
    for script, arguments in re.findall(r"^\S*bin/python (\S+\.py)(.*)$", printed.stdout, re.M):
        check_python(script, shlex.split(arguments), request)


def check_pip(words: list[str]) -> None:
    """Check that requirement files exist and that a version given for TensorFlow is the pinned one."""
    if words == ["install", "."]:  # tests/test_package.py
        return
    assert words[:2] == ["install", "-r"]
    assert (PROJECT / words[2]).is_file()
    for package in words[3:]:
        assert package.replace("[and-cuda]", "") in (PROJECT / "requirements.txt").read_text().split()


def check_dask(command: str, arguments: list[str]) -> None:
    """Check that a command of Dask accepts the arguments; tests/dask_cluster.py runs similar ones."""
    cli = pytest.importorskip(f"distributed.cli.dask_{command}", reason="distributed is not installed")
    context = cli.main.make_context(command, arguments)
    assert context.args == []


def documented(page: Path, text: str):
    """Return a command as a parameter; those of the README run with the other tests, the rest are slow."""
    marks = [] if page.name == "README.md" else [pytest.mark.slow]
    return pytest.param(text, id=f"{page.name}: {text[:60]}", marks=marks)


@pytest.mark.parametrize(
    "command", [documented(page, text) for page, text in COMMANDS if text not in (*SHELL, *EXAMPLE)]
)
def test_documented_command(command, request):
    """A command copied from a page would fail."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        check_make(words[1:], request)
    elif words[0] == "pip":
        check_pip(words[1:])
    elif words[0] == "dask":
        check_dask(words[1], words[2:])
    elif words[:2] == ["python", "-m"]:
        check_python(f"{words[2].replace('.', '/')}.py", words[3:], request)
    elif words[0] == "python":
        check_python(words[1], words[2:], request)
    else:
        pytest.fail(f"unknown command: {command}")


def test_custom_teacher_and_student(make_arrays, tmp_path):
    """The example would fail, or its teacher (BGR, 0..1, 24x32, softmax) would get inputs it was not trained on.

    The classes differ in colour, so a teacher that is shown RGB confuses red and blue.
    """
    (tmp_path / "Frames_datasets").mkdir()
    arrays = make_arrays("Frames_datasets/UCF11")
    blocks = code_blocks(PROJECT / "docs/distilling.md")
    for name, (_, lines) in zip(
        ("my_teacher.py", "my_student.py"), [b for b in blocks if b[0] == "python"], strict=True
    ):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    train, distil, evaluate = (shlex.split(command)[1:] for command in EXAMPLE)

    keras.utils.set_random_seed(0)
    try:
        run_script(tmp_path / train[0], cwd=tmp_path)
        small = ("--epochs", "1", "--views", "1", "--input_size", "32", "--width", "0.25")
        printed = run_script(*distil, *small, cwd=tmp_path)
        assert float(re.search(r"teacher.*: accuracy ([\d.]+) % on training clips", printed)[1]) >= 90
        assert "its weights stay as drawn" in printed
        assert evaluate[-1] in run_script(*evaluate, cwd=tmp_path)
    finally:
        sys.modules.pop("my_student", None)
    record = json.loads((tmp_path / "my_student.json").read_text())
    assert (record["input"]["shape"], record["arguments"]["student"]) == ([16, 32, 32, 3], "my_student:build")
    dataset = open_clips(arrays / "frames.npy", arrays / "labels.npy")
    as_rgb = load_recognizer(tmp_path / "my_teacher.keras", argument="", input_scale="0..1")
    assert accuracy(dataset.labels, as_rgb.logits(dataset, np.arange(len(dataset)))) <= 0.5


def test_predicting_in_python(workplace, monkeypatch):
    """The example would fail."""
    monkeypatch.chdir(workplace)
    provide_models(["--recognizer", "student.keras"], workplace)
    ((_, lines),) = [block for block in code_blocks(PROJECT / "docs/predicting.md") if block[0] == "python"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec("\n".join(lines), {})
    first, *classes, last = printed.getvalue().splitlines()
    name = r"([01]|StandUp|SitDown|no action)"  # with or without a record
    assert re.fullmatch(rf"{name} [01]\.\d+", first)
    assert sum(float(line.split()[1]) for line in classes[:2]) == pytest.approx(100, abs=0.2)
    assert re.fullmatch(rf"[\d.]+ [\d.]+ {name} [01]\.\d+", last)


def test_figures_in_python(workplace, monkeypatch):
    """The example would fail."""
    monkeypatch.chdir(workplace)
    (command,) = [shlex.split(text) for page, text in COMMANDS if page.name == "report.md" and "eval.py" in text]
    provide_models(command[2:], workplace)
    run_script(*command[1:], cwd=workplace)
    ((_, lines),) = [block for block in code_blocks(PROJECT / "docs/report.md") if block[0] == "python"]
    exec("\n".join(lines), {})
    assert (workplace / "accuracy.svg").is_file()
    assert (workplace / "both.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_list_documented_scripts_only():
    """A script that is no longer documented would keep its exception."""
    text = "\n".join(page.read_text() for page in PAGES) + (PROJECT / "Makefile").read_text()
    known = [script for script in (*RUN, *PARSED) if not script.startswith("utils/")]
    assert [script for script in known if script not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_a_page_exist(page):
    """A reader would look for a file or a section that does not exist."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    missing = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        target, _, section = link.partition("#")
        path = page.parent / target if target else page
        if not path.exists() or (section and section not in sections(path)):
            missing.append(link)
    for path in re.findall(r"`((?:utils|models|tests|benchmarks|recipes|examples|docs)/[\w./-]*)`", text):
        if not (PROJECT / path).exists() and "NAME" not in path:
            missing.append(path)
    assert missing == []


def sections(page: Path) -> list[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
