"""If the lists are matched wrongly, results on an official split are not comparable with published ones."""

import os
from pathlib import Path

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.groups import read_groups
from utils.data.protocols import make_split
from utils.data.split_lists import are_in_set_folders, sets_by_folders

SETS = ("train", "validation", "test")


def split_of(paths, **arguments):
    paths = np.array(sorted(paths))
    class_names, labels = np.unique([path.partition("/")[0] for path in paths.tolist()], return_inverse=True)
    return paths, make_split(labels, paths, class_names=tuple(class_names.tolist()), **arguments)


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\r\n" for line in lines), encoding="utf-8")
    return path


def clips(action: str, groups=range(1, 6), count=2) -> list[str]:
    return [f"{action}/v_{action}_g{group:02d}_c{clip:02d}.avi" for group in groups for clip in range(1, count + 1)]


@pytest.mark.parametrize(("number", "train", "test"), [(1, 9537, 3783), (2, 9586, 3734), (3, 9624, 3696)])
def test_ucf101_as_distributed(shared_data, number, train, test):
    """Otherwise results on the three official splits of UCF101 would be measured on other clips than published ones."""
    folder = shared_data / "splits" / "ucf101"
    lines = [line for name in ("trainlist01.txt", "testlist01.txt") for line in (folder / name).open()]
    paths, split = split_of([line.split()[0] for line in lines], protocol=f"official:{number}", split_dir=folder)
    assert split.protocol == f"official:{number}"
    assert len(split.train) + len(split.validation) == train
    assert len(split.test) == test
    named = {line.strip() for line in (folder / f"testlist{number:02d}.txt").open()}
    assert set(paths[split.test].tolist()) == named
    keys = read_groups(paths).keys
    assert not set(keys[split.train].tolist()) & set(keys[split.validation].tolist())
    assert len(split.validation) / train == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_hmdb51_as_distributed(shared_data, number):
    """Otherwise unused clips would be trained on, or the wrong thirty clips per class would be tested."""
    folder = shared_data / "splits" / "hmdb51"
    flags = {}
    for file in folder.glob(f"*_test_split{number}.txt"):
        action = file.name.removesuffix(f"_test_split{number}.txt")
        flags |= {f"{action}/{name}": flag for name, flag in (line.split() for line in file.open())}
    paths, split = split_of(flags, protocol=f"official:{number}", split_dir=folder)
    assert len(split.train) + len(split.validation) == 3570
    assert len(split.test) == 1530
    assert {flags[path] for path in paths[split.test].tolist()} == {"2"}
    assert {flags[path] for path in paths[split.train].tolist()} == {"1"}
    assert any(note.startswith("1666 of 6766 clips are marked as unused in the official lists") for note in split.notes)
    # the official lists split films between the sets; the user must be told
    assert any("of 1530 test clips share a group with training" in note for note in split.notes)


def test_other_extensions_and_missing_clips_are_counted(tmp_path):
    """Otherwise missing or additional clips would silently change a result on an official split."""
    write(tmp_path / "trainlist01.txt", *[f"{clip} 1" for clip in clips("Run", range(2, 6))], "Run/v_Run_g09_c01.avi 1")
    write(tmp_path / "testlist01.txt", *clips("Run", [1]))
    mine = [clip.replace(".avi", ".mp4") for clip in [*clips("Run"), "Run/v_Run_g07_c01.avi"]]
    paths, split = split_of(mine, protocol="official:01", split_dir=tmp_path)
    assert split.protocol == "official:1"
    assert paths[split.test].tolist() == ["Run/v_Run_g01_c01.mp4", "Run/v_Run_g01_c02.mp4"]
    assert len(split.train) + len(split.validation) == 8
    text = " ".join(split.notes)
    assert (
        f"1 of 11 clips in the official lists in {tmp_path} are not in the arrays, for example v_Run_g09_c01 "
        f"({tmp_path / 'trainlist01.txt'} line 9)." in text
    )
    assert f"1 of 11 clips are unused (not in the official lists in {tmp_path}), for example Run/v_Run_g07_c01" in text


def test_class_without_training_clips_is_reported(tmp_path):
    """Otherwise an incomplete data set could be tested on a class that was never trained."""
    write(tmp_path / "trainlist01.txt", *clips("Run"))
    write(tmp_path / "testlist01.txt", *clips("Run", [6]), *clips("Walk"))
    _, split = split_of([*clips("Run", range(1, 7)), *clips("Walk")], protocol="official:1", split_dir=tmp_path)
    assert "Classes without train clips: Walk." in split.notes


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "needs trainlist01.txt and testlist01.txt, or CLASS_test_split1.txt files, in --split_dir"),
        ({"trainlist01.txt": "Run/v_Run_g01_c01.avi 1"}, "--split official:1 needs trainlist01.txt and testlist01.txt"),
        (
            {"Run_test_split1.txt": "v_Run_g01_c01.avi 3"},
            "Run_test_split1.txt line 1 must be a clip name and 0, 1 or 2, found 'v_Run_g01_c01.avi 3'",
        ),
        (
            {"Run_test_split1.txt": "other.avi 1"},
            "must list clips of --paths, but lists none of them; the first is Run/",
        ),
        (
            {"Run_test_split1.txt": "v_Run_g01_c01.avi 1"},
            "--split official:1 must leave clips for test, got none among 10",
        ),
        (
            {"trainlist01.txt": "Run/v_Run_g01_c01.avi 1", "testlist01.txt": "Run/v_Run_g01_c01.avi"},
            "testlist01.txt line 1 assigns v_Run_g01_c01 to test, but ",
        ),
        (
            {"trainlist01.txt": "Run/v_Run_g01_c01.avi 1", "testlist01.txt": "Run/v_Run_g02_c01.avi"},
            "needs at least 2 groups in each class for training and validation, but class Run has 1",
        ),
    ],
)
def test_errors_of_official_lists(tmp_path, files, message):
    """Otherwise a result on wrong or broken lists would pass for one on an official split."""
    for name, line in files.items():
        write(tmp_path / name, line)
    with pytest.raises(UserError) as error:
        split_of(clips("Run"), protocol="official:1", split_dir=tmp_path)
    assert message in str(error.value)


def test_list_file(tmp_path):
    """Otherwise a user could not reproduce the split of a paper."""
    lines = ["Path,set", *[f"{clip},train" for clip in clips("Run", [1, 2])], f"./{clips('Run', [3])[0]}, validation"]
    file = write(tmp_path / "mine.csv", *lines, f"{clips('Run', [4])[0]},test", "Run/lost.avi,test")
    paths, split = split_of(clips("Run"), protocol=f"list:{file}")
    assert split.protocol == f"list:{file}"
    assert paths[split.train].tolist() == clips("Run", [1, 2])
    assert paths[split.validation].tolist() == clips("Run", [3])[:1]
    assert paths[split.test].tolist() == clips("Run", [4])[:1]
    text = " ".join(split.notes)
    assert f"1 of 7 clips in {file} are not in the arrays, for example Run/lost.avi ({file} line 8)." in text
    assert f"4 of 10 clips are unused (not in {file})" in text


def test_list_file_without_validation(tmp_path):
    """Otherwise the best epoch could only be chosen on the test clips."""
    file = write(tmp_path / "mine.csv", *[f"{clip},{'test' if '_g01_' in clip else 'train'}" for clip in clips("Run")])
    paths, split = split_of(clips("Run"), protocol=f"list:{file}")
    assert paths[split.test].tolist() == clips("Run", [1])
    keys = read_groups(paths).keys
    assert len(set(keys[split.validation].tolist())) == 1
    assert not set(keys[split.train].tolist()) & set(keys[split.validation].tolist())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Run/v_Run_g01_c01.avi,trian"], "line 1 must be a path and train, validation or test, found 'Run/"),
        (["Run/v_Run_g01_c01.avi"], "line 1 must be a path and train, validation or test, found 'Run/"),
        (
            ["Run/v_Run_g01_c01.avi,test", "Run/v_Run_g01_c01.avi,train"],
            "mine.csv line 2 assigns Run/v_Run_g01_c01.avi to train, but ",
        ),
        (["Run/lost.avi,test"], "must list clips of --paths, but lists none of them"),
        (["Run/v_Run_g01_c01.avi,test"], "must leave clips for train, got none among 10 clips"),
        ([], "must list clips of --paths"),
    ],
)
def test_errors_of_a_list_file(tmp_path, lines, message):
    """Otherwise a typing error in the list would silently remove clips from a set."""
    file = write(tmp_path / "mine.csv", *lines)
    with pytest.raises(UserError) as error:
        split_of(clips("Run"), protocol=f"list:{file}")
    assert str(file) in str(error.value)
    assert message in str(error.value)


FIRST, SECOND = clips("Run")[:2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{FIRST},test\n{FIRST},test\n", "line 2 repeats Run/v_Run_g01_c01.avi of FILE line 1"),
        (
            f"{FIRST},test\n\n./{FIRST},train\n",
            "line 3 assigns Run/v_Run_g01_c01.avi to train, but FILE line 1 assigns",
        ),
        (f"{FIRST},test,7\n", "line 1 must be a path and train, validation or test, found 'Run/"),
        (f"{FIRST},test\n{FIRST},Train\n", "line 2 must be a path and train, validation or test, found 'Run/"),
        (f"{FIRST},test\npath,set\n", "line 2 must be a path and train, validation or test, found 'path,set'"),
        (f"{FIRST},test\n7,-1\n", "line 2 must be a path and train, validation or test, found '7,-1'"),
        (f"{FIRST},test\n,train\n", "line 2 must hold a path as in --paths, relative to the class folders, found ''"),
        (
            f"/data/{FIRST},test\n",
            "line 1 must hold a path as in --paths, relative to the class folders, found '/data/",
        ),
        (
            f"C:\\data\\{FIRST},test\n",
            "line 1 must hold a path as in --paths, relative to the class folders, found 'C:/",
        ),
        (f"../{FIRST},test\n", "line 1 must hold a path as in --paths, relative to the class folders, found '../Run"),
        (f"{FIRST},test\r{SECOND},x\r", "line 2 must be a path and train, validation or test, found 'Run/"),
        (f'{FIRST},test\n"{FIRST},train\n{SECOND},train\n', "line 2 must be a line of a CSV file (unexpected end"),
        (f"{FIRST},test\n{'x' * 200_000}\n", "line 2 must have at most 5000 characters, found 200000"),
        (f"{FIRST},test\n\x00\x01\x02\n", "line 2 must be text, found the control character '\\x00'"),
        (f"{FIRST},test\na\x1bb,test\n", "line 2 must be text, found the control character '\\x1b'"),
        (f"{FIRST},test\nRun/\xe9.avi,test\n".encode("latin1"), "line 2 must be UTF-8 text, found the byte 0xe9"),
        (f"{FIRST},test\n".encode("utf-16"), "line 1 must be UTF-8 text, found the byte 0xff"),
        (f"{FIRST},test\n".encode("utf-16-le"), "line 1 must be text, found the control character '\\x00'"),
    ],
)
def test_each_wrong_line_of_a_list_is_named(tmp_path, content, message):
    """The user of a list of 10,000 clips could not find the line to correct."""
    file = tmp_path / "mine.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        split_of(clips("Run"), protocol=f"list:{file}")
    assert str(error.value).startswith(f"--split: {file} {message.replace('FILE', str(file))}")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 2 * len(str(file)) + 200


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Run/v_Run_g02_c01.avi -1", "line 2 must be a path and a class number of at least 1, found 'Run/"),
        ("Run/v_Run_g02_c01.avi 0", "line 2 must be a path and a class number of at least 1, found 'Run/"),
        ("Run/v_Run_g02_c01.avi 1 2", "line 2 must be a path and a class number of at least 1, found 'Run/"),
        ("Run/v_Run_g02_c01.avi 9999999999", "line 2 must be a path and a class number of at least 1, found 'Run/"),
        ("Run/v_Run_g01_c01.mp4 1", "line 2 repeats v_Run_g01_c01 of FILE line 1"),
        ("/Run/v_Run_g02_c01.avi 1", "line 2 must hold a path as in --paths, relative to the class folders, found"),
    ],
)
def test_each_wrong_line_of_the_official_lists_is_named(tmp_path, line, message):
    """A result on edited lists would pass for one on an official split."""
    file = write(tmp_path / "trainlist01.txt", "Run/v_Run_g01_c01.avi 1", line)
    write(tmp_path / "testlist01.txt", "Run/v_Run_g03_c01.avi")
    with pytest.raises(UserError) as error:
        split_of(clips("Run"), protocol="official:1", split_dir=tmp_path)
    assert str(error.value).startswith(f"--split: {file} {message.replace('FILE', str(file))}")


def test_classes_that_are_not_in_the_arrays_are_noted(tmp_path):
    """A typing error in the name of a class would silently remove its clips."""
    lines = [f"{clip},train" for clip in clips("Run")[:8]] + [f"{clip},test" for clip in clips("Run")[8:]]
    file = write(tmp_path / "mine.csv", *lines, "Runn/a.avi,test")
    _, split = split_of(clips("Run"), protocol=f"list:{file}")
    assert f"Classes in {file} that are not in the arrays: Runn." in split.notes


def test_a_list_of_a_terabyte_is_not_read(tmp_path):
    """The run would end for lack of memory."""
    file = tmp_path / "mine.csv"
    file.touch()
    os.truncate(file, 10**12)
    with pytest.raises(UserError, match=r"--split: .*mine\.csv must have at most 67,108,864 bytes, found 1,000,000,"):
        split_of(clips("Run"), protocol=f"list:{file}")


def test_missing_list_file(tmp_path):
    """Otherwise a wrong path would cause a traceback."""
    with pytest.raises(UserError, match=r"^--split list:FILE must name an existing file, got "):
        split_of(clips("Run"), protocol=f"list:{tmp_path / 'none.csv'}")


def test_sets_of_folders():
    """The split that a data set comes with would be lost, or test clips be trained on."""
    paths = np.array(["run/train/1.avi", "run/Val/2.avi", "run/testing/x/3.avi", "walk/training/4.avi"])
    sets, notes = sets_by_folders(paths)
    assert sets.tolist() == ["train", "validation", "test", "train"]
    assert notes == []
    sets, notes = sets_by_folders(paths[[0, 1, 3]])
    assert sets.tolist() == ["train", "test", "train"]
    assert notes == ["There is no test folder, so the validation clips are tested."]
    with pytest.raises(UserError, match="--split folders needs paths whose second part is a folder such as train"):
        sets_by_folders(np.array(["run/train/1.avi", "run/train"]))
    assert are_in_set_folders(paths)
    assert not any(are_in_set_folders(each) for each in (None, paths[:1], ["run/1.avi"], [*paths, "walk/5.avi"]))


def test_auto_keeps_the_sets_of_folders():
    """The same clips would be tested by another split than the authors of the data set meant."""
    paths = np.array([f"{name}/{part}/{k}.avi" for name in "ab" for part in ("train", "val", "test") for k in range(3)])
    labels = np.repeat([0, 1], 9)
    for protocol in ("auto", "folders"):
        split = make_split(labels, paths, class_names=("a", "b"), protocol=protocol)
        assert split.protocol == "folders"
        assert split.train.tolist() == [0, 1, 2, 9, 10, 11]
        assert split.validation.tolist() == [3, 4, 5, 12, 13, 14]
        assert split.test.tolist() == [6, 7, 8, 15, 16, 17]
