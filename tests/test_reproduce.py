"""reproduce.py: the whole chain in one command, on synthetic videos and on a user's arrays."""

import json

import pytest

from tests.test_stages import run

TINY = ["--teacher_epochs", 1, "--student_epochs", 1, "--input_size", 32, "--frame_size", 32]
TINY_WIDTHS = ["--teacher_width", 0.1, "--student_width", 0.1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A tiny run on synthetic videos: 2 classes, 4 people, 2 clips each, 2 seeds."""
    folder = tmp_path_factory.mktemp("demo")
    size = ["--classes", 2, "--subjects", 4, "--clips", 2, "--labels_per_class", 4, "--batch_size", 4]
    printed = run("reproduce.py", *TINY, *TINY_WIDTHS, *size, "--seeds", 0, 1, "--output_path", "out", cwd=folder)
    return folder / "out", printed


def test_the_table_is_that_of_the_records(demo):
    """Who has just cloned the project believes this table; it must be what the evaluation found."""
    folder, printed = demo
    results = json.loads((folder / "results.json").read_text())
    assert [row["role"] for row in results["rows"]] == ["teacher (C3D)", "student alone", "student distilled"]
    for position, row in enumerate(results["rows"]):
        found = [
            json.loads((folder / f"seed_{seed}/test/results.json").read_text())["recognizers"][position]["top1"]
            for seed in (0, 1)
        ]
        assert list(row["by_seed"].values()) == found
        assert row["interval"]["estimate"] == pytest.approx(sum(found) / 2)
        assert row["interval"]["method"] == "t over 2 seeds"
    teacher, alone, _ = ([*row["by_seed"].values()] for row in results["rows"])
    points = 50 * (teacher[0] - alone[0] + teacher[1] - alone[1])
    assert f"teacher (C3D) minus student alone: {points:+.1f} points" in printed
    assert (folder / "results.md").read_text().strip() in printed
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")


def test_all_networks_share_one_split_and_students_few_labels(demo):
    """A comparison on different test clips, or with more labels for one student, is none."""
    folder, printed = demo
    records = [
        json.loads((folder / f"seed_{seed}/{role}.json").read_text())
        for seed in (0, 1)
        for role in ("teacher", "student_alone", "student_distilled")
    ]
    assert len({record["split"]["test"] for record in records}) == 1
    assert [record["arguments"].get("labels_per_class") for record in records] == [None, 4, 4] * 2
    assert [record["arguments"].get("alpha") for record in records] == [None, 1.0, 0.1] * 2
    assert "labels: 8 of 8 training clips, 4 a class" in printed


def test_merged_settings_are_saved(demo):
    """Which settings made a table: the recipe's, with those of the command line over them."""
    folder, _ = demo
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["config"].endswith("demo.yaml")
    assert settings["classes"] == 2
    assert settings["temperature"] == 4.0  # of the recipe


def test_own_arrays(make_arrays, tmp_path):
    """The same comparison on what a user has extracted, without a recipe of the demonstration."""
    folder = make_arrays(groups=4, clips=2, height=32, width=32)
    arrays = ["--data", folder / "frames.npy", "--annotations", folder / "labels.npy"]
    run("reproduce.py", *TINY, *TINY_WIDTHS, *arrays, "--batch_size", 4, "--output_path", "out", cwd=tmp_path)
    settings = json.loads((tmp_path / "out/settings.json").read_text())
    assert settings["config"].endswith("default.yaml")
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["rows"][0]["split"] == "group, seed 0"
    assert not (tmp_path / "out/videos").exists()


def test_contradictions_are_refused_at_once(make_arrays, tmp_path):
    folder = make_arrays()
    for arguments, message in [
        (["--videos", folder, "--data", folder / "frames.npy"], "error: --videos and --data"),
        (["--data", folder / "frames.npy"], "error: --data and --annotations go together"),
        (["--teacher_width", "0"], "error: --teacher_width: must be a number above 0, got 0"),
        (["--config", folder / "labels.npy"], "error: --config:"),
    ]:
        printed = run("reproduce.py", *arguments, cwd=tmp_path, expect=2)
        assert printed.startswith(message)
        assert printed.count("\n") == 1
