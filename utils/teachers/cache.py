"""A teacher's answers for every view that its student will see, computed once and kept on disk.

FILE.npy holds them, float32 `(N, K + 1, C)` by row and view; rows and views that nobody trains or validates on are NaN.
FILE.json says what they belong to. While they are computed, finished parts lie in FILE.parts.
"""

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.data.clips import open_array
from utils.networks.precision import faster_if_equal
from utils.networks.recognizer import Recognizer
from utils.runtime.devices import installed_versions
from utils.runtime.errors import UserError
from utils.runtime.files import (
    exclusive_lock,
    file_fingerprint,
    read_json,
    require_free_space,
    write_json,
    written_beside,
)
from utils.runtime.progress import progress
from utils.teachers.question import Question, differences, key_digest

PART = 256  # clips whose answers a kill may lose
COMPARED_CLIPS = 8


def cached_answers(
    source: Path,
    load: Callable[[], Recognizer],
    question: Question,
    *,
    conventions: dict[str, str],
    cache: Path | None = None,
) -> np.ndarray:
    """The answers of the teacher in the file `source`, read from where they are kept, or computed and kept there.

    `load` gives the teacher and is called only if something has to be computed; `conventions` are what else its
    answers depend on. `cache` is the .npy that the user named; None chooses one in NAME.scores beside the teacher.
    Answers for fewer views are extended. Those that belong to something else are never used: it is said what differs,
    and a named file is refused, others are computed anew. Returns `(N, views + 1, C)`, memory-mapped.
    """
    key, last_view = question.key(), question.views.views
    path = cache or source.with_suffix(".scores") / f"{key_digest(key)}.npy"
    key |= {"teacher": file_fingerprint(source), **conventions}
    stored = read_answers(path, key, named=cache is not None)
    if stored is None or stored.shape[1] <= last_view:
        with exclusive_lock(path.with_suffix(".lock"), what=f"--source: {path}"):
            first = 0 if stored is None else stored.shape[1]
            print(
                f"the teacher {source} answers for {len(question.rows(0))} clips, once for each of their views "
                f"{first} to {last_view}; kept in {path}"
            )
            compute(path, key, stored, load, question)
        stored = read_answers(path, key, named=True)
    else:
        print(f"the teacher's answers are those in {path}")
    return stored[:, : last_view + 1]


def read_answers(path: Path, key: dict, *, named: bool) -> np.ndarray | None:
    """The stored answers, or None if there are none for `key`, which is said where others are there.

    Raises UserError if the file that the user `named` belongs to something else.
    """
    if path.is_file():
        about = about_answers(path)
        problem = differences(about["key"], key) if about else f"{path.with_suffix('.json')} does not belong to it"
        if not problem:
            return open_array(path, "--cache", mmap_mode="r")
        if named:
            raise UserError(f"--cache: {path} holds answers for something else: {problem}")
        print(f"note: the answers in {path} are computed anew: {problem}")
    elif not named:
        for other in sorted(path.parent.glob("*.npy"), key=lambda other: other.stat().st_mtime)[-1:]:
            if about := about_answers(other):
                print(f"note: the answers in {other} are for something else: {differences(about['key'], key)}")
    return None


def about_answers(path: Path) -> dict | None:
    """What the .json beside stored answers says, or None if it is not there or not theirs."""
    about_path = path.with_suffix(".json")
    about = read_json(about_path) if about_path.is_file() else None
    belongs = isinstance(about, dict) and about.get("fingerprint") == file_fingerprint(path)
    return about if belongs and isinstance(about.get("key"), dict) else None


def compute(
    path: Path, key: dict, stored: np.ndarray | None, load: Callable[[], Recognizer], question: Question
) -> None:
    """Computes the views that `stored` does not hold, part by part, and writes all under the final name."""
    first = 0 if stored is None else stored.shape[1]
    shape = (len(question.dataset), question.views.views + 1, len(question.dataset.class_names))
    require_free_space(path.parent, 2 * 4 * int(np.prod(shape)), what=f"the answers in {path}")  # parts and whole

    parts = path.with_suffix(".parts")
    known = read_json(parts / "key.json") if (parts / "key.json").is_file() else {}
    if parts.is_dir() and differences(known, key):
        shutil.rmtree(parts)  # of a run that was killed, and is not this one
    write_json(parts / "key.json", key)
    work = [(view, start) for view in range(first, shape[1]) for start in range(0, len(question.rows(view)), PART)]
    missing = [part for part in work if not part_path(parts, *part).is_file()]
    if missing:
        teacher = faster(load(), question)
        done = len(work) - len(missing)
        with progress(len(work), done=done, unit=f"parts of up to {PART} answers") as advance, told_interruption(parts):
            for view, start in missing:
                answer_part(parts, teacher, question, view, start)
                advance()

    answers = np.full(shape, np.nan, np.float32)
    if stored is not None:
        answers[:, :first] = stored
    for view, start in work:
        answers[question.rows(view)[start : start + PART], view] = np.load(part_path(parts, view, start))
    with written_beside(path) as temporary:
        np.save(temporary, answers, allow_pickle=False)
    write_json(
        path.with_suffix(".json"),
        {"fingerprint": file_fingerprint(path), "key": key, "views": shape[1] - 1, "versions": installed_versions()},
    )
    shutil.rmtree(parts)


def faster(teacher: Recognizer, question: Question) -> Recognizer:
    """The teacher in bfloat16 where that is faster and agrees on some training clips; see precision.py."""
    train = question.split.train
    rows = train[np.linspace(0, len(train) - 1, COMPARED_CLIPS).astype(int)]
    return replace(teacher, model=faster_if_equal(teacher.model, question.dataset.view_zero(rows, teacher.input_shape)))


@contextlib.contextmanager
def told_interruption(parts: Path) -> Iterator[None]:
    """Says how many parts an interruption leaves, for the training that they are for has kept nothing yet."""
    try:
        yield
    except KeyboardInterrupt:
        finished = len(list(parts.glob("view_*_from_*.npy")))
        print(f"{finished} parts of the teacher's answers are kept; the same command continues", file=sys.stderr)
        raise


def part_path(parts: Path, view: int, start: int) -> Path:
    """Where the answers for view `view` of the clips from position `start` on lie until all are there."""
    return parts / f"view_{view}_from_{start}.npy"


def answer_part(parts: Path, teacher: Recognizer, question: Question, view: int, start: int) -> None:
    """Computes and keeps one part; raises UserError if an answer is not finite."""
    rows = question.rows(view)[start : start + PART]
    answers = teacher.logits(question.dataset, rows, view=view, options=question.views)
    if not np.isfinite(answers).all():
        row = rows[~np.isfinite(answers).all(axis=1)][0]
        raise UserError(f"--source: {teacher.path} gives scores that are not finite, first for clip {row}")
    with written_beside(part_path(parts, view, start)) as temporary:
        np.save(temporary, answers, allow_pickle=False)
