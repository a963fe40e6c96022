"""Recipes: settings from a YAML file."""

import contextlib
from pathlib import Path

import pytest

from utils.base import argument_types
from utils.base.parser import ArgumentParser


@pytest.fixture
def parse(tmp_path, monkeypatch, capsys):
    """A function that returns the values parsed from a recipe and a command line, or the error as a text."""
    monkeypatch.chdir(tmp_path)

    def parse(recipe, *typed):
        content = recipe if isinstance(recipe, bytes) else recipe.encode()
        Path("r.yaml").write_bytes(content)
        parser = ArgumentParser("a script")
        parser.add_argument("--config", type=argument_types.existing_file)
        parser.add_argument("--data", type=argument_types.existing_file, required=True)
        parser.add_argument("--epochs", type=argument_types.positive_int, default=50)
        parser.add_argument("--rate", type=argument_types.positive_float, default=3e-4)
        parser.add_argument("--offset", type=float, default=0.0)
        parser.add_argument("--patience", type=argument_types.positive_int)
        parser.add_argument("--clip_norm", type=argument_types.clip_norm, default=1.0)
        parser.add_argument("--size", type=argument_types.input_size, default=(112, 112))
        parser.add_argument("--keep", choices=["last", "best"], default="last")
        parser.add_argument("--pattern")
        parser.add_argument("--split", default="auto")
        parser.add_argument("--seeds", type=argument_types.seed, nargs="+", default=[0])
        parser.add_argument("--extra", nargs="+", default=[])
        parser.add_argument("--sources", nargs="+")
        parser.add_argument("--teachers", choices=["scratch", "none"], nargs="+")
        parser.add_argument("--flip", action="store_true", default=True)
        parser.add_argument("--overwrite", action="store_true")
        with contextlib.suppress(SystemExit):
            return vars(parser.parse_args(["--config", "r.yaml", *typed]))
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert len(error) < 700
        return error.removeprefix("error: ").removesuffix("\n")

    return parse


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("epochs: 3", "epochs", 3),
        ("epochs: '3'", "epochs", 3),
        ("rate: 1e-3", "rate", 0.001),  # a string in YAML 1.1
        ("rate: 1", "rate", 1.0),
        ("offset: -2.5", "offset", -2.5),
        ("offset: -1e-3", "offset", -0.001),
        ("seeds: 0", "seeds", [0]),
        ("seeds: [0, 1]", "seeds", [0, 1]),
        ("seeds:\n- 4\n- 5", "seeds", [4, 5]),
        ("seeds: [010]", "seeds", [10]),  # 8 in YAML 1.1
        ("extra: []", "extra", []),
        ("extra: null", "extra", []),
        ("sources: [a=b.npy, 'c={fold}.npy,d']", "sources", ["a=b.npy", "c={fold}.npy,d"]),
        ("sources: [-a, --b]", "sources", ["-a", "--b"]),
        ("teachers: none", "teachers", ["none"]),
        ("teachers: null", "teachers", None),
        ("size: 56", "size", (56, 56)),
        ("size: 112x160", "size", (112, 160)),
        ("size: [112, 160]", "size", (112, 160)),
        ("pattern: -x", "pattern", "-x"),
        ("pattern: --flip", "pattern", "--flip"),
        ("pattern: no", "pattern", "no"),
        ("pattern: On", "pattern", "On"),
        ("pattern: 2020-01-01", "pattern", "2020-01-01"),
        ("pattern: 1_000", "pattern", "1_000"),
        ("pattern: 12:30:45", "pattern", "12:30:45"),
        ("pattern: 'true'", "pattern", "true"),
        ("pattern: =", "pattern", "="),
        ("pattern: !!str 3", "pattern", "3"),
        ('pattern: "\\ud83d\\ude00"', "pattern", "\U0001f600"),  # as JSON writes it
        ("pattern: none", "pattern", None),
        ("pattern: ~", "pattern", None),
        ("pattern:", "pattern", None),
        ("patience: 3", "patience", 3),
        ("patience: null", "patience", None),
        ("patience: none", "patience", None),
        ("clip_norm: none", "clip_norm", None),
        ("clip_norm: null", "clip_norm", None),
        ("flip: false", "flip", False),
        ("flip: no", "flip", False),
        ("flip: true", "flip", True),
        ("no_flip: true", "flip", False),
        ("no_flip: false", "flip", True),
        ("flip: false\nno_flip: true", "flip", False),
        ("overwrite: true", "overwrite", True),
        ("overwrite: on", "overwrite", True),
        ("overwrite: false", "overwrite", False),
        ("no_overwrite: true", "overwrite", False),
        ("epochs: &e 3\nseeds: [*e, 1]", "seeds", [3, 1]),
        ("\ufeffepochs: 3", "epochs", 3),
    ],
)
def test_a_recipe_can_set_what_the_command_line_can(parse, text, name, value):
    """A setting would be ignored, or have another value than the same text on the command line."""
    Path("f.npy").write_text("")
    found = parse(f"{text}\ndata: f.npy" if text else "data: f.npy")
    assert found[name] == value, found
    assert type(found[name]) is type(value)
    assert found["data"] == Path("f.npy")
    assert found["config"] == Path("r.yaml")


@pytest.mark.parametrize(
    ("text", "typed", "name", "value"),
    [
        ("epochs: 3", "--epochs 4", "epochs", 4),
        ("seeds: [0, 1]", "--seeds 7", "seeds", [7]),
        ("flip: false", "--flip", "flip", True),
        ("no_flip: true", "--flip", "flip", True),
        ("flip: true", "--no_flip", "flip", False),
        ("overwrite: true", "--no_overwrite", "overwrite", False),
        ("patience: 3", "--patience none", "patience", None),
        ("patience: null", "--patience 3", "patience", 3),
        ("clip_norm: 2", "--clip_norm none", "clip_norm", None),
        ("clip_norm: none", "--clip_norm 1", "clip_norm", 1.0),
        ("pattern: a(b)", "--pattern none", "pattern", None),
        ("extra: [a]", "--extra none", "extra", []),
        ("sources: [a=b]", "--sources none", "sources", None),
        ("teachers: scratch", "--teachers none", "teachers", ["none"]),
        ("data: f.npy", "--data g.npy", "data", Path("g.npy")),
    ],
)
def test_the_command_line_overrides_the_recipe(parse, text, typed, name, value):
    """A setting of a recipe could not be changed back."""
    for file in ("f.npy", "g.npy"):
        Path(file).write_text("")
    recipe = text if text.startswith("data") else f"{text}\ndata: f.npy"
    assert parse(recipe, *typed.split())[name] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocs: 3", "unknown setting epocs; did you mean epochs?"),
        ("no_flp: true", "unknown setting no_flp; did you mean no_flip?"),
        ("--epochs: 3", "unknown setting --epochs; did you mean epochs?"),
        ("qqq: 3", "unknown setting qqq; expected one of those that --help lists"),
        ("help: true", "unknown setting help; expected one of those that --help lists"),
        ("3: 3", "unknown setting 3; expected one of those that --help lists"),
        ("<<: {epochs: 3}", "unknown setting <<; expected one of those that --help lists"),
        ("config: r.yaml", "unknown setting config"),
        ("rate: 1\nepochs: 5.0", "epochs must be a whole number of at least 1, got 5.0"),
        ("epochs: 0o17", "epochs must be a whole number of at least 1, got 0o17"),
        ("epochs: null", "epochs must be a whole number of at least 1, got none"),
        ("epochs: [3, 4]", "epochs must be one value, got a list of 2"),
        ("epochs: {a: 3}", "epochs must be text or numbers, got a mapping"),
        ("offset: many", "offset invalid float value: 'many'"),
        ("data: null", "data must be an existing file, got none"),
        ("data: nowhere.npy", "data must be an existing file, got nowhere.npy"),
        ("keep: first", "keep must be one of last, best, got first"),
        ("size: [1, 2, 3]", "size must be one value, got a list of 3"),
        ("seeds: []", "seeds must be a whole number from 0 to 4294967295, got none"),
        ("seeds: [0, [1]]", "seeds must be text or numbers, got a list"),
        ("flip: 0", "flip must be true or false, got 0"),
        ("flip: [true]", "flip must be true or false, got a list"),
        ("epochs: 3\nepochs: 3", "r.yaml must be a YAML file (a name is set twice)"),
        ("[a]: 3", "r.yaml must be a YAML file (while constructing a mapping"),
        ("- epochs", "r.yaml must map names of settings to values"),
        ("", "r.yaml must map names of settings to values"),
        ("a: [", "r.yaml must be a YAML file (while parsing a flow node"),
        ("a: *b", "r.yaml must be a YAML file (found undefined alias 'b'"),
        ("epochs: 3\n---\nepochs: 4", "r.yaml must be a YAML file (expected a single document"),
        (b"epochs: \xff", "r.yaml must be a YAML file ('utf-8' codec can't decode"),
        (b"\x00" * 50, "r.yaml must be a YAML file ("),
        ("seeds: " + "[" * 90000, "r.yaml must be a YAML file (maximum recursion depth"),
        ("#" * 10_000_000, "r.yaml must have at most 100,000 bytes, found 10,000,000"),
        ("epochs: " + "9" * 5000, "epochs must be a whole number of at least 1, got 9999"),
        ("x" * 1000 + ": 3", "unknown setting xxx"),
        ("seeds: &a [*a]", "r.yaml must be a YAML file (found unconstructable recursive node"),
        (  # the start of a file that expands to gigabytes
            "extra: &a [x, x]\n" + "seeds: [" + ", ".join(["*a"] * 9) + "]",
            "seeds must be text or numbers, got a list",
        ),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_an_invalid_recipe_is_rejected(parse, text, message):
    """A misspelt setting would be ignored, or a value be taken for another, for a training of hours."""
    error = parse(text)
    assert message in error
    assert error.startswith("--config: r.yaml")


def test_tags_do_not_run_code(parse):
    """A recipe from the internet could run a program."""
    parse("sources: !!python/object/apply:os.system [touch ran]")
    assert not Path("ran").exists()


def test_required_arguments_may_come_from_the_recipe(parse):
    """A recipe could not name the arrays, or a missing argument would go unnoticed."""
    assert parse("epochs: 3") == "the following arguments are required: --data"
    Path("f.npy").write_text("")
    assert parse("data: f.npy", "--data", "none") == "--data: must have a value, got none"


def test_paths_are_relative_to_the_working_directory(parse, tmp_path, monkeypatch):
    """A recipe in another folder would name other files than the same text on the command line."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "f.npy").write_text("")
    assert parse("data: f.npy")["data"] == Path("f.npy")
    monkeypatch.chdir(tmp_path / "recipes")
    assert parse("data: f.npy") == "--config: r.yaml: data must be an existing file, got f.npy"
