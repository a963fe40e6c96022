"""Recipes: settings from a YAML file."""

import contextlib
from pathlib import Path

import pytest

from utils.base import argument_types, cli


@pytest.fixture
def parse(tmp_path, monkeypatch, capsys):
    """A function that returns the values parsed from a recipe and a command line, or the error as a text."""
    monkeypatch.chdir(tmp_path)

    def parse(recipe, *typed):
        content = recipe if isinstance(recipe, bytes) else recipe.encode()
        Path("r.yaml").write_bytes(content)
        parser = cli.ArgumentParser("a script")
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
        ("pattern: --", "pattern", "--"),
        ("pattern: no", "pattern", "no"),
        ("pattern: On", "pattern", "On"),
        ("pattern: 2020-01-01", "pattern", "2020-01-01"),
        ("pattern: 1_000", "pattern", "1_000"),
        ("pattern: 12:30:45", "pattern", "12:30:45"),
        ("pattern: 'true'", "pattern", "true"),
        ("pattern: 'null'", "pattern", "null"),
        ("pattern: ''", "pattern", ""),
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
        ("epocs: 3", "line 1: unknown setting epocs; did you mean epochs?"),
        ("no_flp: true", "line 1: unknown setting no_flp; did you mean no_flip?"),
        ("--epochs: 3", "line 1: unknown setting --epochs; did you mean epochs?"),
        ("qqq: 3", "line 1: unknown setting qqq; expected one of those that --help lists"),
        ("help: true", "line 1: unknown setting help; expected one of those that --help lists"),
        ("3: 3", "line 1: unknown setting 3; expected one of those that --help lists"),
        ("<<: {epochs: 3}", "line 1: unknown setting <<; expected one of those that --help lists"),
        ("config: r.yaml", "line 1: a recipe cannot set config"),
        ("epochs: true", "line 1: epochs must be a whole number of at least 1, got true"),
        ("rate: 1\nepochs: 5.0", "line 2: epochs must be a whole number of at least 1, got 5.0"),
        ("epochs: 0o17", "line 1: epochs must be a whole number of at least 1, got 0o17"),
        ("epochs: 2020-01-01", "line 1: epochs must be a whole number of at least 1, got 2020-01-01"),
        ("epochs: null", "line 1: epochs must be a whole number of at least 1, got null"),
        ("epochs: [3]", "line 1: epochs must be one value, got a list of 1"),
        ("epochs: {a: 3}", "line 1: epochs must be text or numbers, got a mapping"),
        ("rate: no", "line 1: rate must be a number above 0, got no"),
        ("rate: .inf", "line 1: rate must be a number above 0, got .inf"),
        ("offset: many", "line 1: offset invalid float value: 'many'"),
        ("data: null", "line 1: data must be an existing file, got null"),
        ("data: [f.npy]", "line 1: data must be one value, got a list of 1"),
        ("data: nowhere.npy", "line 1: data must be an existing file, got nowhere.npy"),
        ("keep: first", "line 1: keep must be one of last, best, got first"),
        ("keep: null", "line 1: keep must be one of last, best, got null"),
        ("split: null", "line 1: split must have a value, got null"),
        ("split: true", "line 1: split must be text, got true (quote it to use it as text)"),
        ("sources: [a=b, false]", "line 1: sources must be text, got false (quote it to use it as text)"),
        ("size: [1, 2, 3]", "line 1: size must be one value, got a list of 3"),
        ("size: []", "line 1: size must be one value, got a list of 0"),
        ("seeds: []", "line 1: seeds must be one or several values, got an empty list"),
        ("sources: []", "line 1: sources must be one or several values, got an empty list"),
        ("seeds: [0, null]", "line 1: seeds must be text or numbers, got null"),
        ("seeds: [0, [1]]", "line 1: seeds must be text or numbers, got a list"),
        ("seeds: [0, -1]", "line 1: seeds must be a whole number from 0 to 4294967295, got -1"),
        ("flip: 0", "line 1: flip must be true or false, got 0"),
        ("flip: 'false'", "line 1: flip must be true or false, got 'false'"),
        ("flip: null", "line 1: flip must be true or false, got null"),
        ("flip: [true]", "line 1: flip must be true or false, got a list"),
        ("flip: true\nno_flip: true", "line 2: no_flip contradicts flip"),
        ("overwrite: false\nno_overwrite: false", "line 2: no_overwrite contradicts overwrite"),
        ("epochs: 3\nepochs: 3", "line 2: epochs is set twice"),
        ("[a]: 3", "line 1: the name of a setting must be text, got a list"),
        ("? {a: 1}\n: 3", "line 1: the name of a setting must be text, got a mapping"),
        ("pattern: !!python/object/apply:os.system [touch ran]", "got the tag !!python/object/apply:os.system"),
        ("pattern: !!binary aGVsbG8=", "line 1: pattern must be text or numbers, got the tag !!binary"),
        ("seeds: !!set {0, 1}", "line 1: seeds must be text or numbers, got the tag !!set"),
        ("pattern: !mine x", "line 1: pattern must be text or numbers, got the tag !mine"),
        ("- epochs", "r.yaml must map names of settings to values, got a list"),
        ("epochs", "r.yaml must map names of settings to values, got epochs"),
        ("!!omap [epochs: 3]", "r.yaml must map names of settings to values, got the tag !!omap"),
        ("", "r.yaml must map names of settings to values, but is empty"),
        ("# epochs: 3", "r.yaml must map names of settings to values, but is empty"),
        ("a: [", "r.yaml must be a YAML file (while parsing a flow node"),
        ("a: *b", "r.yaml must be a YAML file (found undefined alias 'b'"),
        ("epochs: 3\n---\nepochs: 4", "r.yaml must be a YAML file (expected a single document"),
        (b"epochs: \xff", "r.yaml must be a YAML file ('utf-8' codec can't decode"),
        (b"\x93NUMPY\x01\x00", "r.yaml must be a YAML file ("),
        (b"\x00" * 50, "r.yaml must be a YAML file ("),
        ("epochs: 3\0", "r.yaml must be a YAML file ("),
        ("epochs: !!int x\x07", "r.yaml must be a YAML file ("),
        ("seeds: " + "[" * 90000, "r.yaml must be a YAML file (nested more than 10 levels deep)"),
        ("{epochs: " * 40 + "3" + "}" * 40, "r.yaml must be a YAML file (nested more than 10 levels deep)"),
        ("#" * 10_000_000, "r.yaml must have at most 100,000 bytes, got 10,000,000"),
        ("epochs: " + "9" * 5000, "line 1: epochs must be a whole number of at least 1, got 9999"),
        ("epochs: |\n  3\n  x\n", "line 1: epochs must be a whole number of at least 1, got '3\\nx\\n'"),
        ("x" * 1000 + ": 3", "unknown setting xxx"),
        ("seeds: &a [*a]", "line 1: seeds must be text or numbers, got a list"),
        (  # the start of a file that expands to gigabytes
            "extra: &a [x, x]\n" + "seeds: [" + ", ".join(["*a"] * 9) + "]",
            "line 2: seeds must be text or numbers, got a list",
        ),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_an_invalid_recipe_is_rejected(parse, text, message):
    """A misspelt setting would be ignored, or a value be taken for another, for a training of hours."""
    error = parse(text)
    assert message in error
    assert error.startswith("--config: r.yaml")
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
    assert parse("data: f.npy") == "--config: r.yaml, line 1: data must be an existing file, got f.npy"
