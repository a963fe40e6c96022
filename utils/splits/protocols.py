"""Which clips train, validate and test: a pure function of labels, paths, protocol and seed."""

import os
import re
from dataclasses import dataclass

import numpy as np

from utils.runtime.errors import UserError
from utils.settings.options import PROTOCOLS
from utils.splits.groups import Groups, groups_or_reason
from utils.splits.lists import sets_by_list, sets_by_official_lists
from utils.splits.stratify import group_folds, part_of_clips, part_of_groups

GROUP_PROTOCOLS = ("group", "logo", "fold")
RANDOM_WARNING = (
    "The split is random: clips of one source video or person may stand on both sides, "
    "so the accuracy on sources that were never seen is likely to be lower."
)


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of clips.

    protocol: the resolved protocol, "random", "group", "logo:3", "fold:1/3", "official:1" or "list:FILE"; never "auto".
    train, validation, test: int64 row numbers, ascending; none is empty.
    notes: whole sentences that tell the user what the numbers of this split can and cannot say.
    """

    protocol: str
    split_seed: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    notes: tuple[str, ...]


def make_split(
    labels: np.ndarray,
    paths: np.ndarray | None,
    *,
    class_names: tuple[str, ...],
    protocol: str = "auto",
    split_seed: int = 0,
    group_pattern: str | None = None,
    split_dir: str | os.PathLike | None = None,
) -> Split:
    """Divides clips into training, validation and test; equal input gives equal sets in every process.

    labels: int (N,), index into class_names. paths: unicode (N,), "class/.../name.avi", or None if they are unknown.
    protocol:
      random      a fifth of each class, whatever the sources of the clips;
      group       about a fifth of each class in whole groups (see utils.splits.groups), so that no group is on two
      sides;
      logo:K      the groups number K for test (see Groups.numbers);
      fold:K/N    part K of N into which the seed divides whole groups, so that N runs test each clip once;
      official:K  the lists of UCF101 or HMDB51 in split_dir, which may leave clips unused;
      list:FILE   a CSV file of path and train, validation or test; other clips are unused;
      auto        group where the names show groups, else random with a warning.
    Validation is a fifth of what is not test, unless FILE names it: in whole groups where groups are known, of single
    clips if not or if the protocol is random. group_pattern: a regular expression that says what the groups are.

    By random, group and logo each class keeps training clips; UserError names a class that has too few clips or groups
    for that. UserError also where arguments do not go with each other or with the names.
    """
    kind, argument = parse_protocol(protocol)
    labels = _checked_labels(labels, class_names)
    paths = _checked_paths(paths, len(labels), kind, group_pattern)
    if (split_dir is not None) != (kind == "official"):
        given = "no --split_dir" if split_dir is None else f"--split_dir {split_dir}"
        raise UserError(f"--split official:K and --split_dir DIR go together, got --split {protocol} and {given}")

    groups, reason = groups_or_reason(paths, group_pattern)
    if kind == "auto":
        kind = "random" if groups is None else "group"
    elif kind in GROUP_PROTOCOLS and groups is None:
        raise UserError(f"--split {protocol} needs groups, but {reason}")
    carve = _Carver(labels, None if kind == "random" else groups, class_names, split_seed, kind)

    if kind == "official":
        sets, notes = sets_by_official_lists(paths, split_dir, int(argument))
    elif kind == "list":
        sets, notes = sets_by_list(paths, argument)
    elif kind == "logo":
        sets, notes = _sets_by_number(labels, groups, int(argument), class_names)
    elif kind == "fold":
        sets, notes = _sets_by_fold(labels, groups, argument, split_seed, class_names)
    else:
        sets, notes = carve(np.full(len(labels), "train", "U10"), "test"), []
    for name in ("train", "test"):
        if name not in sets:
            raise UserError(f"--split {protocol} must leave clips for {name}, got none among {len(labels)} clips")
    if "validation" not in sets:
        sets = carve(sets, "validation")

    opening = [RANDOM_WARNING] if kind == "random" else []
    if groups is None and reason:
        opening.append(f"No groups are known: {reason}.")
    notes = [*opening, *_notes_on_groups(sets, groups), *notes, *_notes_on_sizes(sets, labels, class_names)]
    rows = {name: np.flatnonzero(sets == name).astype(np.int64) for name in ("train", "validation", "test")}
    resolved = f"{kind}:{argument}" if argument else kind
    return Split(resolved, split_seed, **rows, notes=tuple(notes))


def parse_protocol(text: str) -> tuple[str, str]:
    """`--split` as its kind and what follows the colon ("" for none); "logo:03" gives ("logo", "3"), "fold:1/3" "1/3".

    Raises UserError if it is none of the protocols.
    """
    kind, _, argument = text.partition(":")
    if text in ("auto", "random", "group"):
        return text, ""
    if kind in ("logo", "official") and re.fullmatch(r"\d{1,9}", argument, re.ASCII):
        return kind, str(int(argument))
    if kind == "fold" and (match := re.fullmatch(r"(\d{1,3})/(\d{1,3})", argument, re.ASCII)):
        number, count = int(match[1]), int(match[2])
        if not 1 <= number <= count or count < 2:
            raise UserError(f"--split fold:K/N must name a part K of N parts, 2 or more of them, got {text}")
        return kind, f"{number}/{count}"
    if kind == "list" and argument:
        return kind, argument
    raise UserError(f"--split must be {PROTOCOLS}, got {text}")


@dataclass(frozen=True)
class _Carver:
    """Moves about a fifth of the training clips to another set, in whole groups where there are groups."""

    labels: np.ndarray
    groups: Groups | None
    class_names: tuple[str, ...]
    split_seed: int
    kind: str

    def __call__(self, sets: np.ndarray, name: str) -> np.ndarray:
        """Sets (N,) with `name` carved from "train"; test leaves two groups or clips of each class, validation one."""
        stage, keep = {"test": (0, 2), "validation": (1, 1)}[name]
        pool = np.flatnonzero(sets == "train")
        units, what = (pool, "clips") if self.groups is None else (self.groups.keys[pool], "groups")
        labels = self.labels[pool]
        for label in np.unique(labels):
            count = len(np.unique(units[labels == label]))
            if count <= keep:
                where = "in each class" if name == "test" else "in each class for training and validation"
                way_out = "; --split random divides single clips" if self.groups is not None else ""
                raise UserError(
                    f"--split {self.kind} needs at least {keep + 1} {what} {where}, "
                    f"class {self.class_names[label]} has {count}{way_out}"
                )
        seed = [self.split_seed, stage]
        if self.groups is None:
            part = part_of_clips(labels, seed=seed)
        else:
            part = part_of_groups(labels, units, keep=keep, seed=seed)
        sets = sets.astype("U10")  # "validation" has 10 letters
        sets[pool[part]] = name
        return sets


def _sets_by_number(labels: np.ndarray, groups: Groups, number: int, class_names) -> tuple[np.ndarray, list[str]]:
    test = groups.numbers == number
    if not test.any():
        found = np.unique(groups.numbers)
        listed = ", ".join(map(str, found)) if len(found) < found[-1] <= 100 else f"{found[0]} to {found[-1]}"
        raise UserError(f"--split logo:K must name one of the groups {listed} ({groups.pattern}), got {number}")
    _require_groups_left(labels, groups, test, class_names, f"logo:{number}")
    keys = np.unique(groups.keys[test])
    notes = [f"Left out for test: group number {number}, that is {', '.join(keys[:5])}{', ...' * (len(keys) > 5)}."]
    return np.where(test, "test", "train"), notes


def _sets_by_fold(
    labels: np.ndarray, groups: Groups, argument: str, split_seed: int, class_names
) -> tuple[np.ndarray, list[str]]:
    number, count = map(int, argument.split("/"))
    group_count = len(np.unique(groups.keys))
    if group_count < count:
        raise UserError(f"--split fold:{argument} needs at least {count} groups, the names show {group_count}")
    test = group_folds(labels, groups.keys, count=count, seed=split_seed) == number - 1
    _require_groups_left(labels, groups, test, class_names, f"fold:{argument}")
    return np.where(test, "test", "train"), []


def _require_groups_left(labels: np.ndarray, groups: Groups, test: np.ndarray, class_names, protocol: str) -> None:
    """Raises UserError if a class of the test clips keeps fewer than two groups for training and validation."""
    for label in np.unique(labels[test]):
        left = len(np.unique(groups.keys[~test & (labels == label)]))
        if left < 2:
            raise UserError(
                f"--split {protocol} needs 2 more groups in each class for training and validation, "
                f"class {class_names[label]} has {left}; --split random divides single clips"
            )


def _notes_on_groups(sets: np.ndarray, groups: Groups | None) -> list[str]:
    if groups is None:
        return []
    count = len(np.unique(groups.keys))
    notes = [f"The names of the {len(sets)} clips show {count} groups by the pattern {groups.pattern}."]
    test = sets == "test"
    shared = np.isin(groups.keys[test], groups.keys[(sets == "train") | (sets == "validation")])
    if shared.any():
        notes.append(
            f"{shared.sum()} of {test.sum()} test clips share a group with training or validation clips, "
            "so the accuracy on groups that were never seen is likely to be lower."
        )
    else:
        notes.append("No test clip shares a group with a training or validation clip.")
    return notes


def _notes_on_sizes(sets: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> list[str]:
    used = np.isin(sets, ("train", "validation", "test"))
    sizes = {name: np.count_nonzero(sets == name) for name in ("train", "validation", "test")}
    shares = ", ".join(f"{name} {size} ({100 * size / used.sum():.1f} %)" for name, size in sizes.items())
    notes = [f"Of {used.sum()} clips: {shares}."]
    for name in sizes:
        absent = np.setdiff1d(labels, labels[sets == name])
        if len(absent):
            notes.append(f"Classes without {name} clips: {', '.join(class_names[label] for label in absent)}.")
    return notes


def _checked_labels(labels: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"the labels must be whole numbers, one a clip, got {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise UserError(
            f"the labels must be 0 to {len(class_names) - 1} for {len(class_names)} classes, "
            f"got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def _checked_paths(paths, clip_count: int, kind: str, group_pattern: str | None) -> np.ndarray | None:
    if paths is None:
        if kind not in ("auto", "random") or group_pattern is not None:
            argument = f"--split {kind}" if group_pattern is None else "--group_pattern"
            raise UserError(f"{argument} reads the names of the clips and needs --paths, which is not given")
        return None
    paths = np.asarray(paths)
    if paths.shape != (clip_count,) or paths.dtype.kind != "U":
        raise UserError(f"--paths must hold {clip_count} texts, one a clip, got {paths.dtype} {paths.shape}")
    return paths
