"""The commands that train and test a model, from its record, for cards and pages."""

import dataclasses

from utils.base import argument_types
from utils.base.argument_types import input_size_text
from utils.base.files import plain
from utils.base.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    TeacherOptions,
    TrainingOptions,
    ViewOptions,
)
from utils.runs.card_names import file_name, protocol_without_folders, quoted
from utils.runs.record import Record

OUTPUTS = (argument_types.output_folder, argument_types.output_scores)  # without effect on the model
ALWAYS_STATED = ("epochs",)  # its default depends on the script
STATED_FOR_FRAMES = ("mixing", "backbone_rate")  # their defaults depend on the student


def training_command(record: Record, model: str, *, private: bool = False) -> str:
    """Return the command that trains the model of a record, one argument per line.

    It states the settings that differ from their defaults. With `private`, paths are shortened to file names.
    """
    is_teacher = record.is_of_teacher
    arguments, words = record.arguments.model_dump(exclude_unset=True), []
    always = ALWAYS_STATED
    if str(arguments.get("student", "")).startswith("frames:"):
        always += STATED_FOR_FRAMES
    kinds = (DataOptions, TeacherOptions if is_teacher else DistillationOptions)
    for part in (part for kind in (*kinds, NetworkOptions, TrainingOptions, ViewOptions) for part in fields(kind)):
        if part.name not in arguments or part.metadata["argument"].get("type") in OUTPUTS:
            continue
        value = arguments[part.name]
        default = None if part.default is dataclasses.MISSING else plain(part.default)
        if value != default or part.name in always:
            words.append(argument_words(part, value, private=private))
    script = "Teacher_training.py" if is_teacher else "KD_training.py"
    return " \\\n  ".join([f"python {script}", *words, f"--output_path {quoted(model)}"])


def fields(kind: type) -> list[dataclasses.Field]:
    return [part for part in dataclasses.fields(kind) if "argument" in part.metadata]


def argument_words(part: dataclasses.Field, value, *, private: bool) -> str:
    """Return the argument that sets a field of options.py to a value of a record."""
    argument = part.metadata["argument"]
    flag = argument["flag"] or f"--{part.name}"
    if isinstance(value, bool):
        return flag if value else f"--no_{flag.removeprefix('--')}"
    if argument.get("type") is argument_types.input_size:
        return f"{flag} {input_size_text(tuple(value))}"
    values = value if isinstance(value, list) else [value]
    if private and "Path" in str(part.type):
        values = [None if item is None else file_name(str(item)) for item in values]
    if private and part.name == "split":
        values = [item and protocol_without_folders(str(item)) for item in values]
    texts = ["none" if item is None else quoted(str(item)) for item in values]
    if len(texts) == 1 and str(values[0]).startswith("-"):  # would be taken for a flag
        return f"{flag}={texts[0]}"
    return " ".join([flag, *texts])


def evaluation_command(record: Record, model_name: str) -> str:
    """Return the command that tests the model of a record on its test clips."""
    names = ("data", "annotations", "paths")
    parts = [part for part in fields(DataOptions) if part.name in names and record.arguments.get(part.name)]
    words = [argument_words(part, record.arguments.get(part.name), private=True) for part in parts]
    return " \\\n  ".join(["python eval.py", *words, f"--recognizer {quoted(model_name)}"])
