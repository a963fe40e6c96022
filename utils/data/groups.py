"""Groups of clips that share a source video, a film or a person, read from the clip names."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from utils.base.errors import UserError


@dataclass(frozen=True)
class Groups:
    """The group of each clip. A test clip must not share its group with a training clip.

    pattern: description of the name pattern for the user, for example "UCF v_<class>_gNN_cNN".
    keys: unicode (N,); clips with equal keys form a group. UCF keys include the class ("Basketball/3"), because UCF
        numbers its groups per class. Subjects, films and the keys of --group_pattern span all classes.
    numbers: int64 (N,), the K with which `logo:K` selects the clip for testing: the number in a UCF name, otherwise
        the 1-based rank of the key among the sorted keys.
    """

    pattern: str
    keys: np.ndarray
    numbers: np.ndarray


def ucf_key(action: str, stem: str) -> str | None:
    """UCF50, UCF101: v_Basketball_g03_c01 -> Basketball/3. The class is that of the folder; spellings may differ."""
    match = re.fullmatch(r"v_.+_g([0-9]{1,9})_c[0-9]+", stem)
    return match and f"{action}/{int(match[1])}"


def ucf11_key(action: str, stem: str) -> str | None:
    """UCF11: v_shooting_03_01 in the folder basketball -> basketball/3."""
    match = re.fullmatch(r"v_.+_([0-9]{1,9})_[0-9]+", stem)
    return match and f"{action}/{int(match[1])}"


def kth_key(action: str, stem: str) -> str | None:
    """KTH: person07_boxing_d2_uncomp -> person7, for all classes."""
    match = re.fullmatch(r"person([0-9]{1,9})_.+_d[0-9]+(_uncomp)?", stem)
    return match and f"person{int(match[1])}"


def hmdb51_key(action: str, stem: str) -> str | None:
    """HMDB51: The_Matrix_5_kick_f_cm_np1_fr_bad_16 in the folder kick -> the_matrix, for all classes.

    Case, punctuation and trailing numbers are dropped, since these usually number parts of one film (The_Matrix_1,
    Goal_Part_2). Films that differ only in the number (Oceans11, Oceans12) become one group, which cannot cause a leak.
    """
    attributes = r"_[a-z]_[cn]m_np\d+_(ba|fr|le|ri)_(bad|goo|med)_\d+"
    match = re.fullmatch(rf"(.+)_{re.escape(action)}{attributes}", stem, re.IGNORECASE)
    if match is None:
        return None
    words = re.findall(r"[^\W_]+", match[1].casefold())
    kept = len(words)
    while kept and re.fullmatch(r"(part)?\d*|of", words[kept - 1]):
        kept -= 1
    if not kept:  # the film 21
        return "_".join(words) or match[1]
    return "_".join(words[:kept]).rstrip("0123456789")


def weizmann_key(action: str, stem: str) -> str | None:
    """Weizmann: lena_walk1 in the folder walk -> lena, for all classes. Names of subjects contain letters only."""
    match = re.fullmatch(rf"([^\W\d_]+)_{re.escape(action)}\d*", stem, re.IGNORECASE)
    return match and match[1].casefold()


@dataclass(frozen=True)
class NamePattern:
    """The naming scheme of a data set; `key` maps a class folder and a file stem to a group key, or None."""

    name: str
    key: Callable[[str, str], str | None]
    is_numbered_per_class: bool


NAME_PATTERNS = (
    NamePattern("UCF v_<class>_gNN_cNN", ucf_key, True),
    NamePattern("UCF11 v_<class>_NN_NN", ucf11_key, True),
    NamePattern("KTH personNN_<class>_dN", kth_key, False),
    NamePattern("HMDB51 <film>_<class>_...", hmdb51_key, False),
    NamePattern("Weizmann <subject>_<class>", weizmann_key, False),
)


def read_groups(paths: np.ndarray, group_pattern: str | None = None) -> Groups:
    """Read the groups from clip names, with `group_pattern` or with the naming scheme of a known data set.

    paths: unicode (N,), "class/.../name.avi". group_pattern: a regular expression that is searched in the whole path;
    the key is its captured groups joined by "/", or the whole match if it captures nothing.

    To avoid accidental matches, a known scheme is used only if every clip follows it and if it gives more than one
    group and fewer groups than clips. Raises UserError with the reason if there are no groups.
    """
    if group_pattern is not None:
        keys = _keys_by_expression(paths, group_pattern)
        if len(set(keys)) < 2:
            raise UserError(f"--group_pattern must give more than one group, got {keys[0]!r} for all {len(keys)} clips")
        return Groups(f"--group_pattern {group_pattern}", np.array(keys), _ranks(keys))

    most_read, reason = 0, f"no known pattern matches, for example, {paths[0]}"
    for pattern in NAME_PATTERNS:
        keys = [_key_of_path(pattern, path) for path in paths.tolist()]
        read_count = sum(key is not None for key in keys)
        group_count = len(set(keys))
        if read_count == len(keys) and 1 < group_count < len(keys):
            numbers = [int(key.rpartition("/")[2]) for key in keys] if pattern.is_numbered_per_class else _ranks(keys)
            return Groups(pattern.name, np.array(keys), np.array(numbers, np.int64))
        if read_count > most_read:
            most_read = read_count
            if read_count < len(keys):
                other = paths[keys.index(None)]
                reason = f"{read_count} of {len(keys)} match the pattern {pattern.name}, but {other} does not"
            else:
                found = "one group" if group_count == 1 else "as many groups as clips"
                reason = f"the pattern {pattern.name} gives {found}"
    raise UserError(f"the names in --paths define no groups ({reason}); use --group_pattern REGEX to specify them")


def keys_of_more(groups: Groups, paths: np.ndarray, group_pattern: str | None = None) -> np.ndarray:
    """Return the keys of further clips by the pattern of `groups`: unicode (n,), unique for a path that it cannot read.

    Unlike `read_groups`, this accepts paths of any form, as those of unlabelled clips may be.
    """
    pattern = next((known for known in NAME_PATTERNS if known.name == groups.pattern), None)
    keys = []
    for number, path in enumerate(paths.tolist()):
        try:
            key = _key_of_path(pattern, path) if pattern else _keys_by_expression(np.array([path]), group_pattern)[0]
        except UserError:  # --group_pattern does not match this path
            key = None
        keys.append(f"no group/{number}/{path}" if key is None else key)
    return np.array(keys)


def groups_or_reason(paths: np.ndarray | None, group_pattern: str | None = None) -> tuple[Groups | None, str]:
    """Return the groups of the clips and "", or None and the reason why there are none.

    paths: as in `read_groups`, or None if unknown. Raises UserError if `group_pattern` does not match them.
    """
    if paths is None:
        return None, "the paths of the clips are not given (--paths)"
    try:
        return read_groups(paths, group_pattern), ""
    except UserError as error:
        if group_pattern is not None:
            raise
        return None, str(error)


def _key_of_path(pattern: NamePattern, path: str) -> str | None:
    action, slash, rest = path.partition("/")
    return pattern.key(action, PurePosixPath(rest).stem) if slash else None


def _keys_by_expression(paths: np.ndarray, group_pattern: str) -> list[str]:
    try:
        expression = re.compile(group_pattern)
    except re.error as error:
        raise UserError(f"--group_pattern must be a regular expression, got {group_pattern} ({error})") from None
    keys = []
    for path in paths.tolist():
        match = expression.search(path)
        if match is None:
            raise UserError(f"--group_pattern must match every path, but {group_pattern} does not match {path}")
        keys.append("/".join(part or "" for part in match.groups()) if expression.groups else match[0])
    return keys


def _ranks(keys: list[str]) -> np.ndarray:
    """Return the 1-based rank of each key, int64 (N,), in natural order: g2 comes before g10."""

    def order(key: str) -> list:
        parts = re.split(r"(\d+)", key)
        return [int(part) if position % 2 else part for position, part in enumerate(parts)]

    # sorted twice: g2 and g02 are equal in natural order, and the order of a set varies between processes
    ranks = {key: rank for rank, key in enumerate(sorted(sorted(set(keys)), key=order), start=1)}
    return np.array([ranks[key] for key in keys], np.int64)
