"""Each setting is stated once: the arguments of every script agree with the dataclasses of options.py."""

import argparse
import dataclasses
import typing

import pytest

from tests.scripts import PROJECT, run_script
from utils.base import argument_types, export_options, options, prediction_options
from utils.base.parser import ArgumentParser, Switch
from utils.video.actions import Look

TRAINING = (
    *(options.DataOptions, options.TrainingOptions, options.ViewOptions),
    *(options.NetworkOptions, options.OutputOptions),
)
KINDS = {
    "video_to_frames.py": (),
    "Teacher_training.py": (*TRAINING, options.TeacherOptions),
    "KD_training.py": (*TRAINING, options.DistillationOptions),
    "eval.py": (options.DataOptions,),
    "predict.py": (prediction_options.PredictionOptions, prediction_options.TimelineOptions),
    "export.py": (export_options.ExportOptions,),
    "reproduce.py": (
        *(options.DataOptions, options.TrainingOptions, options.ViewOptions, options.NetworkOptions),
        *(options.TeacherOptions, options.DistillationOptions),
    ),
}
EVERYWHERE = {"help", "version", "config"}
ONLY_IN_SCRIPT = {  # arguments that are no field of a dataclass in options.py
    "video_to_frames.py": "input_path output_path sequence_length frame_height frame_width workers video_timeout "
    "scheduler overwrite dataset_report follow_links short_videos",  # parameters of `extract`
    "KD_training.py": "write_views teacher",  # trains nothing
    "eval.py": "recognizer channels input_scale precision batch_size views flip calibrate force fail_on_leak "
    "output_path overwrite json",  # parameters of `evaluate`
    "predict.py": "recognizer input top json csv timeline output overwrite max_seconds",  # what is read and shown
    "export.py": "recognizer class_names channels input_scale data annotations paths",  # parameters of `export`
    "reproduce.py": "output_path overwrite dry_run videos follow_links "
    "sequence_length frame_size classes subjects clips video_seed clutter noise jitter phase_spread "  # arrays
    "folds seeds teachers sources temperatures alphas teacher_width student_width teacher_epochs student_epochs "
    "teacher_learning_rate student_frames test_views",  # the grid
}
NO_ARGUMENT = {  # fields that the grid of reproduce.py sets itself
    "Teacher_training.py": "backbone_rate",  # of students
    "reproduce.py": "width input_frames epochs initial_weights seed max_minutes tensorboard task backbone teacher_mode "
    "source cache scheduler temperature alpha source_channels source_input_scale",
}
OTHER_DEFAULT = {  # the script's default differs from that of the field
    ("eval.py", "split"): None,  # of the record
    ("eval.py", "split_seed"): None,  # given only with --split
    ("Teacher_training.py", "output_path"): "trained_models/teacher.keras",
    ("KD_training.py", "output_path"): "KD_trained_models/student.keras",
    ("KD_training.py", "mixing"): None,  # by the image network, see settle_frame_student
    ("KD_training.py", "backbone_rate"): None,
    ("reproduce.py", "mixing"): None,
    ("reproduce.py", "backbone_rate"): None,
    ("reproduce.py", "data"): None,  # synthetic videos
    ("reproduce.py", "annotations"): None,
}

SAMPLES = {  # text of another value than the default, by type of argument
    None: "text",
    float: "0.25",
    argument_types.clip_norm: "0.25",
    argument_types.device_count: "all",
    argument_types.existing_file: "file.npy",
    argument_types.existing_folder: "folder",
    argument_types.existing_model: "model.h5",
    argument_types.existing_recognizer: "model.onnx",
    argument_types.existing_teacher: "model.h5",
    argument_types.teacher_or_outputs: "model.h5",
    argument_types.frames_file: "file.npy",
    argument_types.input_size: "32x48",
    argument_types.output_folder: "out",
    argument_types.output_model: "out/model.keras",
    argument_types.output_scores: "out/scores.npy",
    argument_types.output_stem: "out/history",
    argument_types.output_video: "out/video.mp4",
    argument_types.scheduler: "tcp://127.0.0.1:8786",
    argument_types.student: "compact3d_gap",
    argument_types.student_weights: "file.h5",
    argument_types.view_count: "3",
    argument_types.width: "0.25",
}


@pytest.fixture
def parser_of(tmp_path, monkeypatch):
    """A function that returns the parser of a script."""

    def parser_of(script):
        found = []

        def keep(self, *args, **kwargs):
            found.append(self)
            raise SystemExit(0)

        with monkeypatch.context() as patch:
            patch.setattr(ArgumentParser, "parse_args", keep)
            run_script(script, cwd=tmp_path)
        return found[0]

    return parser_of


def types_in(hint) -> set:
    """Return an annotation and the types that it consists of: those of a union, and the elements of tuple[X, ...]."""
    return {hint}.union(*(types_in(part) for part in typing.get_args(hint) if part is not type(None)))


def converted_type(action) -> type:
    """Return the type of the values of an argument."""
    if isinstance(action, Switch):
        return bool
    if hasattr(action.type, "kind"):  # numbers and files
        return action.type.kind
    return typing.get_type_hints(action.type)["return"] if action.type else str


@pytest.mark.parametrize("script", KINDS)
def test_arguments_and_options_correspond(parser_of, script):
    """A default of the command line would differ from that of the library, or an option have no argument."""
    actions = {action.dest: action for action in parser_of(script)._actions}
    parts = {part.name: part for kind in KINDS[script] for part in dataclasses.fields(kind)}
    types = {name: hint for kind in KINDS[script] for name, hint in typing.get_type_hints(kind).items()}
    alone = set(ONLY_IN_SCRIPT.get(script, "").split()) | EVERYWHERE
    assert set(actions) - set(parts) == alone - set(parts)
    assert set(parts) - set(actions) == set(NO_ARGUMENT.get(script, "").split())
    for name in set(parts) & set(actions):
        part, action = parts[name], actions[name]
        required = part.default is dataclasses.MISSING
        default = OTHER_DEFAULT.get((script, name), None if required else part.default)
        assert action.default == default, name
        assert type(action.default) is type(default), name
        assert action.required == (required and (script, name) not in OTHER_DEFAULT), name
        assert converted_type(action) in types_in(types[name]), name


@pytest.mark.parametrize(
    ("script", "renamed"),
    [
        ("Teacher_training.py", {"epochs": "teacher_epochs", "width": "teacher_width"}),
        ("KD_training.py", {"epochs": "student_epochs", "width": "student_width", "input_frames": "student_frames"}),
    ],
)
def test_stages_and_reproduce_share_their_defaults(parser_of, script, renamed):
    """A stage would train a much worse network than reproduce.py does with the same data, and nothing would say so."""
    grid = parser_of("reproduce.py")
    run = {action.dest: action.default for action in grid._actions}
    run |= grid._values_of_recipe(PROJECT / "recipes/default.yaml")
    stage = {action.dest: action.default for action in parser_of(script)._actions}
    names = {name: renamed.get(name, name) for name in stage}
    shared = {name for name in stage if names[name] in run} - {"help", "version", "config", "output_path"}
    assert len(shared) > 25
    assert {name: stage[name] for name in shared} == {name: run[names[name]] for name in shared}


@pytest.mark.parametrize("script", KINDS)
def test_every_boolean_can_be_set_both_ways(parser_of, script):
    """A recipe's `overwrite: true` could not be undone on the command line."""
    parser = parser_of(script)
    switches = [action for action in parser._actions if action.nargs == 0 and action.dest not in ("help", "version")]
    assert len(switches) >= 2
    for action in switches:
        assert action.option_strings == [f"--{action.dest}", f"--no_{action.dest}"]
        for flag, value in zip(action.option_strings, (True, False)):
            namespace = argparse.Namespace()
            action(parser, namespace, [], flag)
            assert getattr(namespace, action.dest) is value


@pytest.mark.parametrize("script", KINDS)
def test_every_setting_of_a_recipe_is_known_by_its_argument(parser_of, script, tmp_path):
    """A recipe would need other names than the command line."""
    parser = parser_of(script)
    flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help", "--version"}
    assert {f"--{name}" for name in parser.settings()} == flags
    nearest = "output" if script == "predict.py" else "output_path"
    error = run_script(script, "--outputt_path", "x", cwd=tmp_path, expect=2)
    assert error == f"error: unknown argument --outputt_path; did you mean --{nearest}?\n"
    (tmp_path / "r.yaml").write_text("outputt_path: x")
    error = run_script(script, "--config", "r.yaml", cwd=tmp_path, expect=2)
    assert error == f"error: --config: r.yaml: unknown setting outputt_path; did you mean {nearest}?\n"


def sample(action) -> str:
    """Return the text of a valid value of an argument, other than its default."""
    if action.choices:
        return next(str(choice) for choice in action.choices if choice != action.default)
    kind = action.type.kind if isinstance(action.type, argument_types.Number) else action.type
    return "1" if kind is int else SAMPLES[kind if kind is float else action.type]


@pytest.mark.parametrize("script", KINDS)
def test_a_recipe_and_the_command_line_set_the_same_values(parser_of, script, tmp_path, monkeypatch):
    """A setting of the command line could not be written in a recipe."""
    monkeypatch.chdir(tmp_path)
    for name in ("file.npy", "file.h5", "model.h5", "model.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    parser = parser_of(script)
    required = [f"--{action.dest}={sample(action)}" for action in parser._actions if action.required]

    def parse(*typed, recipe):
        (tmp_path / "r.yaml").write_text(recipe)
        return vars(parser.parse_args([*required, *typed, "--config", "r.yaml"]))

    switches = ("overwrite", "fail_on_leak", "csv")
    neutral = next(f"{name}: false" for name in switches if name in parser.settings())
    for name, action in parser.settings().items():
        if action.nargs == 0:
            pairs = [([f"--{name}"], "true"), ([f"--{opposite(name)}"], "false")]
        else:
            text = sample(action)
            pairs = [([f"--{name}={text}"], text), ([f"--{name}={text}"], f"{text!r}")]
            if action.nargs == "+":
                pairs.append(([f"--{name}", text, text], f"[{text}, {text}]"))
            if action.default in (None, []) and "none" not in (action.choices or ()) and not action.required:
                pairs += [([f"--{name}=none"], "none"), ([f"--{name}=none"], "null")]
        for typed, value in pairs if name != "config" else ():
            if f"--{name}=" not in " ".join(required):
                assert parse(recipe=f"{name}: {value}") == parse(*typed, recipe=neutral), (name, value)


@pytest.mark.parametrize("script", [*KINDS, "utils/cards.py", "utils/leaks.py"])
def test_help_ends_with_examples_and_a_page(parser_of, script, capsys):
    """A user would have to find among 60 arguments the few that a first run needs."""
    parser = parser_of(script)
    assert (PROJECT / parser.docs).is_file()
    assert len(parser.examples) == 2
    for example in parser.examples:
        python, *name, rest = example.split(" ", 3 if "-m" in example else 2)
        assert "/".join(name[-1].split(".")) in (script.removesuffix(".py"), script.replace(".", "/"))
        known = [text for text in rest.split() if text.startswith("--")]
        assert python == "python"
        assert {flag.removeprefix("--") for flag in known} <= set(parser.settings()), example
        required = {action.option_strings[0] for action in parser._actions if action.required}
        assert required <= set(known), example
    parser.print_help()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4:] == [
        "examples:",
        *(f"  {example}" for example in parser.examples),
        f"documentation: {parser.docs}",
    ]


def opposite(name: str) -> str:
    """Return the name of a switch that sets the opposite value."""
    return name.removeprefix("no_") if name.startswith("no_") else f"no_{name}"


def test_defaults_of_synthetic_videos_are_those_of_the_renderer(parser_of):
    """The videos of reproduce.py would differ from those of `render_dataset`."""
    actions = {action.dest: action for action in parser_of("reproduce.py")._actions}
    for name in ("clutter", "noise", "jitter", "phase_spread"):
        assert actions[name].default == getattr(Look, name)
    assert actions["video_seed"].default == Look.seed
