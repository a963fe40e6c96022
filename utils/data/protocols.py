"""Split clips into training, validation and test sets: a pure function of labels, paths, protocol and seed.

Protocols:
  random      tests a fifth of each class, regardless of the sources of the clips
  group       tests whole groups with about a fifth of each class, see utils/data/groups.py
  logo:K      leaves one group out: tests the groups with number K, see `Groups.numbers`
  fold:K/N    tests part K of the N parts into which the seed divides the groups; N runs test each clip once
  official:K  uses the lists of UCF101 or HMDB51 in `split_dir`, which may leave clips unused
  list:FILE   uses a CSV file of paths and sets; clips that are not listed are unused
  like:MODEL  keeps each clip in its set of the split of MODEL, found by its path, and divides new clips as auto does
  folders     uses the folders train, val and test of the input folder of stage 1
  auto        is folders if there are such, group if the clip names define groups, otherwise random with a warning

The validation set is a fifth of the clips that are not tested, unless FILE lists it. It consists of whole groups if
groups are known and the protocol is not random, otherwise of single clips.
"""

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.base.options import PROTOCOLS
from utils.base.text import counted
from utils.data.groups import Groups, groups_or_reason
from utils.data.split_lists import SETS, are_in_set_folders, sets_by_folders, sets_by_list, sets_by_official_lists
from utils.data.stratify import group_folds, part_of_clips, part_of_groups

RANDOM_WARNING = (
    "The split is random: training and test clips may come from the same group (source video or person), "
    "so the accuracy on unseen groups is likely to be lower."
)


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of clips.

    protocol: the resolved protocol, "random", "group", "folders", "logo:3", "fold:1/3", "official:1", "list:FILE" or
    "like:MODEL"; never "auto".
    train, validation, test: int64 row numbers, ascending; no set is empty.
    notes: sentences for the user on how to interpret results on this split.
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
    known: Mapping[str, str] | None = None,
) -> Split:
    """Split clips into training, validation and test sets. Equal arguments give equal sets in every process.

    labels: int (N,), indices into `class_names`. paths: unicode (N,), "class/.../name.avi", or None if unknown.
    protocol: one of the protocols above. group_pattern: a regular expression that captures the group of a clip in its
    path. split_dir: the folder of the official lists. known: for like:MODEL, the set of each clip of MODEL by its path.

    Raises UserError if arguments contradict each other or the clip names, or if a class has too few clips or groups.
    """
    kind, argument = parse_protocol(protocol)
    labels = _checked_labels(labels, class_names)
    paths = _checked_paths(paths, len(labels), kind, group_pattern)
    if (split_dir is not None) != (kind == "official"):
        given = "no --split_dir" if split_dir is None else f"--split_dir {split_dir}"
        raise UserError(f"--split official:K and --split_dir DIR go together, got --split {protocol} and {given}")
    groups, reason = groups_or_reason(paths, group_pattern)
    if kind == "auto" and are_in_set_folders(paths):
        kind = "folders"
    elif kind == "auto":
        kind = "random" if groups is None else "group"
    elif kind in ("group", "logo", "fold") and groups is None:
        raise UserError(f"--split {protocol} needs groups, but {reason}")
    keys = None if kind == "random" or groups is None else groups.keys
    carve = functools.partial(
        _carve, labels=labels, keys=keys, class_names=class_names, split_seed=split_seed, kind=kind
    )

    if kind == "official":
        sets, notes = sets_by_official_lists(paths, split_dir, int(argument))
    elif kind == "list":
        sets, notes = sets_by_list(paths, argument)
    elif kind == "folders":
        sets, notes = sets_by_folders(paths)
    elif kind == "like":
        sets, notes = _sets_like_model(paths, argument, known, keys)
        if (new := sets == "").any():
            divided = carve(carve(np.where(new, "train", ""), "test"), "validation")
            sets[new] = divided[new]
    elif kind in ("logo", "fold"):
        sets, notes = _sets_by_groups(labels, groups, kind, argument, split_seed, class_names)
    else:
        sets, notes = carve(np.full(len(labels), "train"), "test"), []
    for name in ("train", "test"):
        if name not in sets:
            raise UserError(f"--split {protocol} must leave clips for {name}, got none among {len(labels)} clips")
    if "validation" not in sets:
        sets = carve(sets, "validation")

    warnings = [RANDOM_WARNING] if kind == "random" else []
    notes = [*warnings, *_notes_on_groups(sets, groups, reason), *notes, *_notes_on_sizes(sets, labels, class_names)]
    rows = {name: np.flatnonzero(sets == name).astype(np.int64) for name in SETS}
    return Split(f"{kind}:{argument}" if argument else kind, split_seed, **rows, notes=tuple(notes))


def parse_protocol(text: str) -> tuple[str, str]:
    """Parse `--split` into its kind and the normalised part after the colon: "logo:03" gives ("logo", "3").

    Raises UserError if the text is not a protocol.
    """
    kind, _, argument = text.partition(":")
    if text in ("auto", "random", "group", "folders"):
        return text, ""
    if kind in ("logo", "official") and re.fullmatch(r"\d{1,9}", argument, re.ASCII):
        return kind, str(int(argument))
    if kind == "fold" and (match := re.fullmatch(r"(\d{1,3})/(\d{1,3})", argument, re.ASCII)):
        number, count = int(match[1]), int(match[2])
        if not 1 <= number <= count or count < 2:
            raise UserError(f"--split fold:K/N must have N of at least 2 and K from 1 to N, got {text}")
        return kind, f"{number}/{count}"
    if kind in ("list", "like") and argument:
        return kind, argument
    raise UserError(f"--split must be {PROTOCOLS}, got {text}")


def _carve(
    sets: np.ndarray, name: str, *, labels: np.ndarray, keys: np.ndarray | None, class_names, split_seed: int, kind: str
) -> np.ndarray:
    """Move about a fifth of the training clips to the set `name`, in whole groups unless `keys` is None.

    The test set leaves at least two groups or clips of each class, the validation set at least one.
    """
    stage, keep = {"test": (0, 2), "validation": (1, 1)}[name]
    pool = np.flatnonzero(sets == "train")
    units, what = (pool, "clips") if keys is None else (keys[pool], "groups")
    labels = labels[pool]
    for label in np.unique(labels):
        count = len(np.unique(units[labels == label]))
        if count <= keep:
            purpose = "" if name == "test" else " for training and validation"
            way_out = "" if keys is None else "; --split random splits single clips"
            raise UserError(
                f"--split {kind} needs at least {keep + 1} {what} in each class{purpose}, "
                f"but class {class_names[label]} has {count}{way_out}"
            )
    seed = [split_seed, stage]
    part = part_of_clips(labels, seed=seed) if keys is None else part_of_groups(labels, units, keep=keep, seed=seed)
    sets = sets.astype("U10")  # long enough for "validation"
    sets[pool[part]] = name
    return sets


def _sets_by_groups(
    labels: np.ndarray, groups: Groups, kind: str, argument: str, split_seed: int, class_names
) -> tuple[np.ndarray, list[str]]:
    """Assign the groups of logo:K or fold:K/N to the test set. Return "train" or "test" per clip, and notes."""
    if kind == "logo":
        test = groups.numbers == int(argument)
        if not test.any():
            found = np.unique(groups.numbers)
            listed = (
                ", ".join(map(str, found))
                if len(found) == 1 or len(found) < found[-1] <= 100
                else f"{found[0]} to {found[-1]}"
            )
            raise UserError(f"--split logo:K must be one of the groups {listed} ({groups.pattern}), got {argument}")
        keys = np.unique(groups.keys[test])
        notes = [f"Test groups: number {argument}, {', '.join(keys[:5])}{', ...' * (len(keys) > 5)}."]
    else:
        number, count = map(int, argument.split("/"))
        group_count = len(np.unique(groups.keys))
        if group_count < count:
            raise UserError(
                f"--split fold:{argument} needs at least {count} groups, but the names define {group_count}"
            )
        largest = np.bincount(labels).max()
        if largest < count:
            raise UserError(
                f"--split fold:{argument} needs a class of at least {count} clips, but the largest class has {largest}"
            )
        test = group_folds(labels, groups.keys, count=count, seed=split_seed) == number - 1
        notes = []
    for label in np.unique(labels[test]):
        left = len(np.unique(groups.keys[~test & (labels == label)]))
        if left < 2:
            raise UserError(
                f"--split {kind}:{argument} must leave at least 2 groups of each class for training and validation, "
                f"but leaves {left} of class {class_names[label]}; --split random splits single clips"
            )
    return np.where(test, "test", "train"), notes


def _sets_like_model(
    paths: np.ndarray, model: str, known: Mapping[str, str], keys: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """Assign clips to the sets that they have in the split of a trained model.

    keys: the group of each clip (N,), or None. A new clip follows the known clips of its group: into the test set if
    they are all test clips, into validation or training if none is. A group on both sides, as after a split that was
    not by groups, decides nothing. Returns "train", "validation", "test" or "" (to be divided) for each clip, and
    notes. Raises UserError if none of the clips is known.
    """
    sets = np.array([known.get(path, "") for path in paths.tolist()], "U10")
    new = sets == ""
    if new.all():
        raise UserError(f"--split like:{model} must know clips of --paths, but knows none; the first is {paths[0]}")
    if keys is not None:
        test, train, validation = (np.isin(keys, keys[sets == name]) for name in ("test", "train", "validation"))
        sets[new & test & ~train & ~validation] = "test"
        sets[new & ~test & validation & ~train] = "validation"
        sets[new & ~test & train] = "train"
    return sets, [f"{len(paths) - new.sum()} of {len(paths)} clips are in the sets of {model}, {new.sum()} are new."]


def _notes_on_groups(sets: np.ndarray, groups: Groups | None, reason: str) -> list[str]:
    if groups is None:
        return [f"No groups are known: {reason}."]
    count = len(np.unique(groups.keys))
    notes = [f"Found {counted(count, 'group')} in {len(sets)} clip names (pattern: {groups.pattern})."]
    test = sets == "test"
    shared = np.isin(groups.keys[test], groups.keys[(sets == "train") | (sets == "validation")])
    if shared.any():
        notes.append(
            f"{shared.sum()} of {test.sum()} test clips share a group with training or validation clips, "
            "so the accuracy on new groups is likely to be lower."
        )
    else:
        notes.append("No test clip shares a group with a training or validation clip.")
    return notes


def _notes_on_sizes(sets: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]) -> list[str]:
    sizes = {name: np.count_nonzero(sets == name) for name in SETS}
    used = sum(sizes.values())
    shares = ", ".join(f"{name} {size} ({100 * size / used:.1f} %)" for name, size in sizes.items())
    notes = [f"{used} clips: {shares}."]
    for name in SETS:
        absent = np.setdiff1d(labels, labels[sets == name])
        if len(absent):
            notes.append(f"Classes without {name} clips: {', '.join(class_names[label] for label in absent)}.")
    return notes


def _checked_labels(labels: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"labels must be integers (N,), got {labels.dtype} {labels.shape}")
    if labels.min() < 0 or labels.max() >= len(class_names):
        raise UserError(
            f"labels must be 0 to {len(class_names) - 1} for {len(class_names)} classes, "
            f"got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def _checked_paths(paths, clip_count: int, kind: str, group_pattern: str | None) -> np.ndarray | None:
    if paths is None:
        if kind not in ("auto", "random") or group_pattern is not None:
            argument = f"--split {kind}" if group_pattern is None else "--group_pattern"
            raise UserError(f"{argument} needs the clip names in --paths, which is not given")
        return None
    paths = np.asarray(paths)
    if paths.shape != (clip_count,) or paths.dtype.kind != "U":
        raise UserError(f"--paths must hold {clip_count} strings, one per clip, got {paths.dtype} {paths.shape}")
    return paths
