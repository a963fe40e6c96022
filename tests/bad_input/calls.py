"""Bad values for each argument of each script, generated from the arguments themselves."""

import argparse
import contextlib
import hashlib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts import PROJECT, process_state_kept
from utils.base import argument_types as types

ARRAYS = "--data arrays/frames.npy --annotations arrays/labels.npy"
SMALL = "--input_size 32 --width 0.05 --batch_size 2 --epochs 1"
# A valid call of each script, in the folder that the fixture `workplace` of conftest.py makes.
VALID = {
    "video_to_frames.py": "--input_path videos --output_path new/arrays",
    "Teacher_training.py": f"{ARRAYS} {SMALL} --output_path new/teacher.keras",
    "KD_training.py": f"{ARRAYS} {SMALL} --source models/teacher.keras --output_path new/student.keras",
    "eval.py": f"{ARRAYS} --recognizer models/teacher.keras --output_path new/results",
    "export.py": f"{ARRAYS} --recognizer models/teacher.keras --output_path new/exported --no_measure",
    "predict.py": "--recognizer models/teacher.keras --input videos",
    "reproduce.py": f"{ARRAYS} --sources given=models/teacher.keras --output_path new/experiment --dry_run",
    "utils/cards.py": "--recognizer models/teacher.keras",
    "utils/leaks.py": f"{ARRAYS} --output_path new/leaks",
    "examples/image_teacher.py": f"{ARRAYS} --output_path new/scores.npy",
    "examples/torchvision_scores.py": "--views_path views --output_path new/scores.npy",
    "examples/videomae_scores.py": "--views_path views --output_path new/scores.npy",
}
LONG = "n" * 300
HUGE = "9" * 400
WHOLE = ["x", "", "1.5", "-1", "0x10", "1e3", "nan", "1_0", HUGE, "None"]
REAL = ["x", "", "-1", "nan", "inf", "-inf", "1e999", HUGE, "1,5", "None"]
FILES = ["", "missing", "folder", LONG, "notes.txt/below"]
FOLDERS = ["", "missing", "notes.txt", LONG, "notes.txt/below"]
OUTPUT_FILES = ["", "folder", f"new/{LONG}", "notes.txt/below{}", "foreign{}"]
BAD_VALUES = {
    types.positive_int: [*WHOLE, "0"],
    types.non_negative_int: WHOLE,
    types.seed: [*WHOLE, "4294967296"],
    types.positive_float: [*REAL, "0"],
    types.non_negative_float: REAL,
    types.share: [*REAL, "1.01"],
    types.width: [*REAL, "0", "1e9"],
    types.view_count: [*WHOLE, "1e9", "999999999999"],
    types.device_count: [*WHOLE, "0", "ALL"],
    types.scheduler: ["", "x", "LOCAL", "host:8786", "tcp://host", "tcp://:1", "http://host:80", f"tcp://host:{HUGE}"],
    types.student_weights: [*FILES, "notes.txt", "resnet"],
    types.clip_norm: [value for value in REAL if value != "None"],
    types.input_size: ["x", "", "0", "-5", "1x2x3", "112x", "1.5", HUGE],
    types.existing_file: FILES,
    types.existing_folder: FOLDERS,
    types.existing_model: [*FILES, "notes.txt", "broken.keras", "arrays/frames.npy"],
    types.existing_recognizer: [
        *(*FILES, "notes.txt", "arrays/frames.npy"),
        *(f"broken{suffix}" for suffix in (*types.MODEL_SUFFIXES[:1], *types.EXPORTED_SUFFIXES)),
    ],
    types.existing_teacher: [*FILES, "notes.txt", "broken.keras", "arrays/frames.npy"],
    types.teacher_or_outputs: [*FILES, "notes.txt", "broken.keras", "arrays/frames.npy"],
    types.frames_file: FILES,
    types.existing_scores: [*FILES, "notes.txt"],
    types.output_folder: ["", "notes.txt", f"new/{LONG}", "notes.txt/below"],
    types.output_model: [value.format(".keras") for value in OUTPUT_FILES] + ["new/model", "new/model.onnx"],
    types.output_video: [*(value.format(".mp4") for value in OUTPUT_FILES), "new/video", "new/video.avi"],
    types.output_scores: [value.format(".npy") for value in OUTPUT_FILES] + ["new/scores", "new/scores.csv"],
    types.output_stem: [value.format("") for value in OUTPUT_FILES if value != "folder"],
    types.student: ["", "nosuch", "no_such_module:build", "json:no_such_function", "json:dumps", "os.path", "a:b:c"],
}
# Arguments without a type.
BAD_TEXTS = {
    "--split": ["", "unknown", "logo:0", "logo:x", "fold:9/3", "fold:1", "official:9", "list:missing", "list:"],
    "--group_pattern": ["(", "nothing", "*"],
    "--unfreeze": [],  # needs weights; tests/stages covers it
    "--sources": ["", "noname", "=file", "x=", "x=missing.npy", "x=notes.txt", "scratch=models/teacher.keras"],
    "--input": ["", "missing", "missing/*", LONG, "folder", "99999", "x://y"],
    "--model": [],  # a name of an optional package
}


class _ParserFoundError(Exception):
    """Carries the parser of a script."""


def parser_of(script: str) -> argparse.ArgumentParser:
    """Return the parser of a script, which is not run."""

    def stop(parser, *arguments, **named):
        raise _ParserFoundError(parser)

    with process_state_kept(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        sys.argv = [script]
        with pytest.raises(_ParserFoundError) as found:
            runpy.run_path(str(PROJECT / script), run_name="__main__")
    return found.value.args[0]


def bad_calls(script: str) -> Iterator[tuple[str, list[str]]]:
    """Yield bad calls of a script: the argument that the error must name, and the command line."""
    valid = VALID[script].split()
    for action in parser_of(script)._actions:
        name = (action.option_strings or [action.dest])[0]
        if isinstance(action, argparse._HelpAction):
            continue
        others = without(valid, name)
        if action.required:
            yield name, others
        if action.nargs == 0:
            for flag in action.option_strings:
                yield flag, [*others, f"{flag}=yes"]
            yield name, [*others, f"{name}x"]
            continue
        yield name, [*others, name]
        for value in bad_values(action, name):
            yield name, [*others, f"{name}={value}"]


def bad_values(action: argparse.Action, name: str) -> list[str]:
    """Return bad values for an argument. Raises KeyError for a type that has no entry in the tables above."""
    if name == "--config":
        return [*FILES, "notes.txt", "arrays/frames.npy"]
    if action.choices is not None:
        return ["", "unknown", " ".join(map(str, list(action.choices)[:1])) + "x"]
    if name in BAD_TEXTS:
        return BAD_TEXTS[name]
    if getattr(action.type, "__name__", "") == "output_report":  # of utils/leaks, which is run as a script
        return ["", "notes.txt", f"new/{LONG}", "notes.txt/below", "notes.txt/below.csv", f"new/{LONG}.csv"]
    return BAD_VALUES[action.type]


def without(arguments: list[str], name: str) -> list[str]:
    """Return a command line without an argument and its values."""
    if name not in arguments:
        return arguments
    start = arguments.index(name)
    end = next((k for k in range(start + 1, len(arguments)) if arguments[k].startswith("--")), len(arguments))
    return arguments[:start] + arguments[end:]


def tree(folder: Path) -> dict[str, str]:
    """Return what is in a folder: the digest of each file, by path, except for hashes of what was read."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name.endswith((".hash.json", "_hashes.npz")):
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[str(path.relative_to(folder))] = content
    return found


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Assert that the block changes no file below `folder`, except for caches of what it reads."""
    before = tree(folder)
    yield
    assert tree(folder) == before
