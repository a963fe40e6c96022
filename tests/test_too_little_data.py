"""Data of one class, and classes of one group or clip: one line from every stage, before anything is trained."""

import numpy as np
import pytest

from tests.scripts import run_script as run
from utils.base.errors import UserError
from utils.data.folds import protocols
from utils.data.protocols import make_split
from utils.experiments import arrays as experiment_arrays

ARRAYS = ["--data", "arrays/frames.npy", "--annotations", "arrays/labels.npy"]
COMMANDS = {
    "Teacher_training.py": [*ARRAYS, "--task", "train_local_teacher", "--output_path", "t.h5", "--log_path", "log/t"],
    "KD_training.py": [*ARRAYS, "--alpha", 1, "--output_path", "s.h5", "--log_path", "log/s"],
    "eval.py": [*ARRAYS, "--recognizer", "m.keras", "--split", "group"],
    "reproduce.py": [*ARRAYS, "--output_path", "out"],
    "reproduce.py --dry_run": [*ARRAYS, "--output_path", "out"],
}


def one_line(command, cwd, *arguments):
    script, *flags = command.split()
    printed = run(script, *flags, *arguments, cwd=cwd, expect=2)
    assert printed.count("\n") == 1
    return printed


@pytest.mark.parametrize("command", COMMANDS)
def test_one_class_is_refused_by_every_stage(command, make_arrays, tmp_path):
    """A recogniser of one class would be trained for hours, and be right always."""
    make_arrays(classes=1, height=20, width=20)
    (tmp_path / "m.keras").touch()
    printed = one_line(command, tmp_path, *COMMANDS[command])
    assert printed == "error: --annotations: arrays/labels.npy must hold at least 2 classes, found 1\n"
    assert not [*tmp_path.glob("*.h5"), *tmp_path.glob("out/*.json")]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("groups", "clips", "split", "message"),
    [
        (2, 2, "group", "--split group needs at least 3 groups in each class, but class Class0 has 2"),
        (1, 2, "group", "--split group needs at least 3 groups in each class, but class Class0 has 1"),
        (2, 2, "fold:1/9", "--split fold:1/9 needs at least 9 groups, but the names define 4"),
        (1, 1, "random", "--split random needs at least 3 clips in each class, but class Class0 has 1"),
    ],
)
def test_too_few_groups_or_clips_are_refused_by_every_stage(
    command, groups, clips, split, message, make_arrays, tmp_path
):
    """The split would be empty, or end with an error of scikit-learn."""
    make_arrays(classes=2, groups=groups, clips=clips, height=20, width=20)
    (tmp_path / "m.keras").touch()
    assert one_line(command, tmp_path, *COMMANDS[command], "--split", split).startswith(f"error: {message}")


@pytest.mark.parametrize("flags", ["", " --dry_run"])
@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([], "--videos: videos must contain at least 2 class folders with videos, found none"),
        (
            ["Run/v_Run_g01_c01.avi"],
            "--videos: videos must contain at least 2 class folders with videos, found only Run",
        ),
        (["Run/a.avi", "Walk/a.avi"], "--split random needs at least 3 clips in each class, but class Run has 1"),
    ],
)
def test_videos_are_refused_before_they_are_read(flags, videos, message, tmp_path, monkeypatch):
    """Extraction would run for hours before the error, and --dry_run would print a plan without it."""
    monkeypatch.setattr(experiment_arrays, "extract", lambda *_, **settings: pytest.fail("extraction has started"))
    (tmp_path / "videos").mkdir()
    for name in videos:
        (tmp_path / "videos" / name).parent.mkdir()
        (tmp_path / "videos" / name).touch()
    printed = one_line(f"reproduce.py{flags}", tmp_path, "--videos", "videos", "--output_path", "out")
    assert printed == f"error: {message}\n"
    assert not list(tmp_path.glob("out/*.json"))


PATTERNS = (None, r"_(g\d+)_", r"^(C\d)/", r"c(\d+)\.")
PROTOCOLS = ("auto", "random", "group", "logo:1", "logo:2", "fold:1/2", "fold:2/3", "official:1", "list:FILE")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_every_protocol_splits_or_refuses_in_one_line(tmp_path, protocol, classes):
    """scikit-learn's errors, or a set without clips, would end a run with a traceback."""
    results = []
    for groups in (1, 2, 3, 4):
        for clips in (1, 2, 3):
            for uneven in (False, True):
                counts = [(1, 1) if uneven and label == 0 else (groups, clips) for label in range(classes)]
                paths = [
                    f"C{label}/v_C{label}_g{group:02}_c{clip:02}.avi"
                    for label, (of_class, of_group) in enumerate(counts)
                    for group in range(1, of_class + 1)
                    for clip in range(1, of_group + 1)
                ]
                for pattern in PATTERNS:
                    results.append(split_or_refusal(tmp_path, paths, protocol, pattern))
    refusals = [message for message in results if message is not None]
    assert 0 < len(refusals) < len(results)
    assert not any("\n" in message for message in refusals)


def split_or_refusal(folder, paths, protocol, pattern) -> str | None:
    """Return the message with which the clips are refused, or None after checks of their split."""
    (folder / "list.csv").write_text("".join(f"{path},{'test' if '_g01' in path else 'train'}\n" for path in paths))
    (folder / "trainlist01.txt").write_text("".join(f"{path} 1\n" for path in paths if "_g01" not in path))
    (folder / "testlist01.txt").write_text("".join(f"{path}\n" for path in paths if "_g01" in path))
    names, labels = np.unique([path.partition("/")[0] for path in paths], return_inverse=True)
    try:
        split = make_split(
            labels,
            np.array(paths),
            class_names=tuple(names.tolist()),
            protocol=protocol.replace("FILE", str(folder / "list.csv")),
            group_pattern=pattern,
            split_dir=folder if protocol.startswith("official") else None,
        )
    except UserError as error:
        return str(error)
    rows = [split.train, split.validation, split.test]
    assert all(map(len, rows))
    assert sorted(np.concatenate(rows)) == list(range(len(paths)))
    return None


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("fold:0", "--split fold:N must have N of at least 2, got fold:0"),
        ("fold:1", "--split fold:N must have N of at least 2, got fold:1"),
        ("fold:999999999999", None),
        ("fold:٣", None),
        ("logo", "the names in --paths define no groups"),
    ],
)
def test_folds_that_do_not_exist_are_refused(split, message):
    """A huge number of folds would exhaust the memory, none would give an empty table."""
    paths = np.array(["a/1.avi", "b/2.avi"])
    if message is None:  # refused by parse_protocol
        assert protocols(split, None, paths=paths) == (split,)
        with pytest.raises(UserError, match=r"--split must be auto, .* got fold:"):
            make_split(np.array([0, 1]), paths, class_names=("a", "b"), protocol=split)
        return
    with pytest.raises(UserError, match=message):
        protocols(split, None, paths=paths)
