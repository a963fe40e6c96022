"""Teacher logits for every view that a student will see, computed once and cached on disk.

FILE.npy is float32 `(N, views + 1, C)` by row and view; entries that no student trains or validates on are NaN.
FILE.json holds the key of the logits. During the computation FILE.parts holds the finished parts.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import file_fingerprint, read_json, remove_partial, require_free_space, write_json, written_beside
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
    stored, parts = read_logits(path, key, named=cache is not None), path.with_suffix(".parts")
    lock = exclusive_lock(path.with_suffix(".lock"), what=f"--source: {path}")
    if stored is None or stored.shape[1] <= last_view:
        with lock:
            for made in (path, path.with_suffix(".json")):
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
        if parts.is_dir():
            with contextlib.suppress(UserError), lock:
                shutil.rmtree(parts)
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
        was_killed = about is None and not differences(key_of_parts(path.with_suffix(".parts")), key)
        if named and not was_killed:  # killed between the logits and their .json
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


def key_of_parts(parts: Path) -> dict:
    """Return the key of unfinished parts, empty if it is missing or damaged."""
    try:
        key = read_json(parts / "key.json")
    except UserError:
        return {}
    return key if isinstance(key, dict) else {}


def is_complete(path: Path, shape: tuple[int, int]) -> bool:
    """Return whether the file of a part holds logits of this shape."""
    try:
        part = open_array(path, "--cache")
    except UserError:
        return False
    return part.shape == shape and part.dtype == np.float32


def compute(
    path: Path,
    key: dict,
    stored: np.ndarray | None,
    teacher: Teacher,
    question: Question,
    scheduler: str | None = None,
) -> None:
    """Compute the views missing from `stored`, part by part, and write all views to `path`."""
    first = 0 if stored is None else stored.shape[1]
    shape = (question.dataset.row_count, question.views.views + 1, len(question.dataset.class_names))
    require_free_space(path.parent, 2 * 4 * int(np.prod(shape)), what=f"the logits in {path}")  # parts and final file

    parts = path.with_suffix(".parts")
    if parts.is_dir() and differences(key_of_parts(parts), key):
        shutil.rmtree(parts)  # left by a killed run with another key
    work = [(view, start) for view in range(first, shape[1]) for start in range(0, len(question.rows(view)), PART)]
    sizes = {(view, start): len(question.rows(view)[start : start + PART]) for view, start in work}
    missing = [part for part in work if not is_complete(part_path(parts, *part), (sizes[part], shape[-1]))]
    if missing:
        network = teacher.load(question.dataset)
        begin_log()
        write_json(parts / "key.json", key)
        done = len(work) - len(missing)
        with (
            progress(len(work), done=done, unit=f"parts of up to {PART} clips") as advance,
            contextlib.closing(computed(parts, network, teacher, question, missing, scheduler)) as results,
        ):
            try:
                for _ in results:
                    done += 1
                    advance()
            except KeyboardInterrupt:
                print(f"{done} parts of the logits are cached; rerun the same command to resume", file=sys.stderr)
                raise

    logits = np.full(shape, np.nan, np.float32)
    if stored is not None:
        logits[:, :first] = stored
    for view, start in work:
        logits[question.rows(view)[start : start + PART], view] = open_array(part_path(parts, view, start), "--cache")
    with written_beside(path) as temporary:
        np.save(temporary, logits, allow_pickle=False)
    write_json(
        path.with_suffix(".json"),
        {"fingerprint": file_fingerprint(path), "key": key, "views": shape[1] - 1, "versions": installed_versions()},
    )
    shutil.rmtree(parts)


def faster(network: Recognizer, question: Question) -> Recognizer:
    """Return the teacher in bfloat16 if that is faster and agrees on some training clips; see precision.py."""
    train = question.split.train
    rows = train[evenly_spaced(COMPARED_CLIPS, len(train))]
    return replace(network, model=faster_if_equal(network.model, question.dataset.view_zero(rows, network.input_shape)))


def part_path(parts: Path, view: int, start: int) -> Path:
    """Return the file of one part: the logits for view `view` of the clips from position `start`."""
    return parts / f"view_{view}_from_{start}.npy"


def computed(
    parts: Path,
    network: Recognizer,
    teacher: Teacher,
    question: Question,
    missing: Sequence[tuple[int, int]],
    scheduler: str | None,
) -> Iterator[None]:
    """Compute and write the `missing` parts, (view, start); yield after each. Raises UserError for infinite logits."""
    rows = [question.rows(view)[start : start + PART] for view, start in missing]
    quick = faster(network, question)

    def write(index: int, logits: np.ndarray) -> None:
        if not np.isfinite(logits).all():
            row = rows[index][~np.isfinite(logits).all(axis=1)][0]
            raise UserError(f"--source: {network.path} must output finite logits, but those for clip {row} are not")
        with written_beside(part_path(parts, *missing[index])) as temporary:
            np.save(temporary, logits, allow_pickle=False)

    if scheduler:
        bfloat16 = quick.model is not network.model
        views = [(view, part) for (view, _), part in zip(missing, rows)]
        yield from logits_on_cluster(scheduler, teacher, question, views, bfloat16=bfloat16, receive=write)
        return
    for index, (view, _) in enumerate(missing):
        write(index, quick.logits(question.dataset, rows[index], view=view, options=question.views))
        yield
