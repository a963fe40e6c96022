"""Teacher logits for every view that a student will see, computed once and cached on disk.

FILE.npy is float32 `(N, views + 1, C)` by row and view; entries that no student trains or validates on are NaN.
FILE.json holds the key of the logits. During the computation FILE.unfinished has the same form, with NaN where nothing
is computed yet, and FILE.unfinished.json its key.
"""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import (
    file_fingerprint,
    naming,
    read_json,
    remove_partial,
    require_free_space,
    write_at,
    write_json,
    written_beside,
)
from utils.base.locks import exclusive_lock
from utils.base.machine import installed_versions
from utils.base.progress import progress
from utils.base.run_log import begin_log
from utils.base.schemas import Count, Schema, Sha256, read_checked
from utils.data.clips import open_array
from utils.data.views import evenly_spaced
from utils.networks.precision import faster_if_equal
from utils.networks.recognizer import Recognizer
from utils.runs.identity import differences, key_digest
from utils.runs.paths import scores_folder
from utils.training.cluster import logits_on_cluster
from utils.training.question import Question
from utils.training.teacher import Teacher

PART = 256  # clips per part; a kill loses at most one part
COMPARED_CLIPS = 8
ROWS = 1024  # that are read or written at once
UNFINISHED = (".unfinished", ".unfinished.json")  # suffixes


def cached_logits(
    teacher: Teacher, question: Question, *, cache: Path | None = None, scheduler: str | None = None
) -> np.ndarray:
    """Return the logits of a network, `(N, views + 1, C)`, memory-mapped; compute what the cache does not hold.

    `cache` is the .npy that the user named; None chooses a file in NAME.scores next to the teacher. Logits for fewer
    views are extended. Logits with another key are never used: a file that the user named is rejected, other files are
    recomputed, and the difference is printed. `scheduler` is the address of a Dask scheduler whose workers compute the
    logits, or "local"; None uses this machine.
    """
    key, last_view = question.key(), question.views.views
    path = cache or scores_folder(teacher.path) / f"{key_digest(key)}.npy"
    key |= {"teacher": teacher.fingerprint, "channels": teacher.channels, "input_scale": teacher.input_scale}
    stored = read_logits(path, key, named=cache is not None)
    lock = exclusive_lock(path.with_suffix(".lock"), what=f"--source: {path}")
    if stored is None or stored.shape[1] <= last_view:
        with lock:
            for made in (path.with_suffix(suffix) for suffix in (".json", *UNFINISHED)):
                remove_partial(made)  # left by a killed run
            first = 0 if stored is None else stored.shape[1]
            print(
                f"computing the logits of {teacher.path} for {len(question.rows(0))} clips, views {first} to "
                f"{last_view}; cached in {path}"
            )
            compute(path, key, stored, teacher, question, scheduler)
        stored = read_logits(path, key, named=True)
    else:
        print(f"teacher logits read from {path}")
        # a run was killed right after it had written the logits, or is extending them now
        if path.with_suffix(UNFINISHED[1]).exists():
            with contextlib.suppress(UserError), lock:
                discard_unfinished(path)
    return stored[:, : last_view + 1]


def read_logits(path: Path, key: dict, *, named: bool) -> np.ndarray | None:
    """Return the stored logits for `key`, or None; print why logits with another key are not used.

    Raises UserError if the file that the user `named` has another key.
    """
    if path.is_file():
        about = about_logits(path)
        problem = differences(about, key) if about else f"{path.with_suffix('.json')} is damaged or of another file"
        if not problem:
            return open_array(path, "--cache")
        was_killed = about is None and not differences(unfinished_key(path), key)
        if named and not was_killed:  # killed between FILE.json and the logits
            raise UserError(
                f"--cache: {path} must hold this teacher's logits for these clips and views, but {problem}; name "
                "another file, or delete it to compute them again"
            )
        print(f"note: the logits in {path} are recomputed: {problem}")
    elif not named:
        for other in sorted(path.parent.glob("*.npy"), key=lambda other: other.stat().st_mtime)[-1:]:
            if about := about_logits(other):
                print(f"note: the logits in {other} are not used: {differences(about, key)}")
    return None


class AboutLogits(Schema):
    """The content of FILE.json."""

    fingerprint: Sha256
    key: dict
    views: Count
    versions: dict[str, str]


def about_logits(path: Path) -> dict | None:
    """Return the key of stored logits, or None if FILE.json is missing, damaged or belongs to another file."""
    try:
        about = read_checked(path.with_suffix(".json"), AboutLogits)
    except UserError:
        return None
    return about.key if about.fingerprint == file_fingerprint(path) else None


def unfinished_key(path: Path) -> dict:
    """Return the key of the unfinished logits for `path`, empty if it is missing or damaged."""
    try:
        key = read_json(path.with_suffix(UNFINISHED[1]))
    except UserError:
        return {}
    return key if isinstance(key, dict) else {}


def discard_unfinished(path: Path) -> None:
    for suffix in UNFINISHED[::-1]:  # without a key, the logits are not used
        path.with_suffix(suffix).unlink(missing_ok=True)


def unfinished_logits(path: Path, key: dict, shape: tuple[int, int, int], stored: np.ndarray | None) -> np.ndarray:
    """Return unfinished logits for `path`, memory-mapped: those of a killed run, or else new ones.

    The values of the killed run for another number of views, or those that are `stored`, are copied, the others are
    NaN. This reserves the space, so that a full disk is noticed before anything is computed.
    """
    unfinished, about = (path.with_suffix(suffix) for suffix in UNFINISHED)
    if differences(unfinished_key(path), key):
        discard_unfinished(path)
    else:
        with contextlib.suppress(UserError):
            found = open_array(unfinished, "--cache")
            if found.dtype == np.float32 and (found.shape[0], *found.shape[2:]) == (shape[0], *shape[2:]):
                stored = found
                if found.shape == shape:
                    return found
    require_free_space(path.parent, 4 * math.prod(shape), what=f"the logits in {path}")
    with written_beside(unfinished) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for start in range(0, shape[0], ROWS):
            rows = np.full((min(ROWS, shape[0] - start), *shape[1:]), np.nan, np.float32)
            if stored is not None:
                known = stored[start : start + ROWS, : shape[1]]
                rows[:, : known.shape[1]] = known
            file.write(rows)
    write_json(about, key)
    return open_array(unfinished, "--cache")


def compute(
    path: Path,
    key: dict,
    stored: np.ndarray | None,
    teacher: Teacher,
    question: Question,
    scheduler: str | None = None,
) -> None:
    """Compute the views missing from `stored`, part by part, and write all views to `path`."""
    shape = (question.dataset.row_count, question.views.views + 1, len(question.dataset.class_names))
    logits = unfinished_logits(path, key, shape, stored)
    finished = np.concatenate(
        [np.isfinite(logits[start : start + ROWS]).all(axis=2) for start in range(0, len(logits), ROWS)]
    )
    parts = [
        (view, question.rows(view)[start : start + PART])
        for view in range(shape[1])
        for start in range(0, len(question.rows(view)), PART)
    ]
    missing = [(view, rows) for view, rows in parts if not finished[rows, view].all()]
    if missing:
        try:
            network = teacher.load(question.dataset)
        except UserError:
            if not finished.any():
                discard_unfinished(path)
            raise
        begin_log()
        done = len(parts) - len(missing)
        with (
            progress(len(parts), done=done, unit=f"parts of up to {PART} clips") as advance,
            contextlib.closing(computed(logits, network, teacher, question, missing, scheduler)) as results,
        ):
            try:
                for _ in results:
                    done += 1
                    advance()
            except KeyboardInterrupt:
                print(f"{done} parts of the logits are cached; rerun the same command to resume", file=sys.stderr)
                raise

    unfinished = path.with_suffix(UNFINISHED[0])
    about = {"fingerprint": file_fingerprint(unfinished), "key": key, "views": shape[1] - 1}
    write_json(path.with_suffix(".json"), about | {"versions": installed_versions()})
    os.replace(unfinished, path)
    discard_unfinished(path)


def faster(network: Recognizer, question: Question) -> Recognizer:
    """Return the teacher in bfloat16 if that is faster and agrees on some training clips; see precision.py."""
    train = question.split.train
    rows = train[evenly_spaced(COMPARED_CLIPS, len(train))]
    return replace(network, model=faster_if_equal(network.model, question.dataset.view_zero(rows, network.input_shape)))


def computed(
    logits: np.memmap,
    network: Recognizer,
    teacher: Teacher,
    question: Question,
    missing: Sequence[tuple[int, np.ndarray]],
    scheduler: str | None,
) -> Iterator[None]:
    """Compute the `missing` parts, (view, rows), and write them to the file of `logits`; yield after each.

    Raises UserError for logits that are not finite.
    """
    quick = faster(network, question)

    def write(index: int, values: np.ndarray) -> None:
        view, rows = missing[index]
        if not np.isfinite(values).all():
            row = rows[~np.isfinite(values).all(axis=1)][0]
            raise UserError(f"--source: {network.path} must output finite logits, but those for clip {row} are not")
        for row, value in zip(rows.tolist(), values.astype("<f4")):  # not by the memory map, see `write_at`
            write_at(file.fileno(), value, logits.offset + row * logits.strides[0] + view * logits.strides[1])

    with naming(Path(logits.filename)), open(logits.filename, "rb+", buffering=0) as file:
        if scheduler:
            bfloat16 = quick.model is not network.model
            yield from logits_on_cluster(scheduler, teacher, question, missing, bfloat16=bfloat16, receive=write)
        else:
            for index, (view, rows) in enumerate(missing):
                write(index, quick.logits(question.dataset, rows, view=view, options=question.views))
                yield
        os.fsync(file.fileno())
