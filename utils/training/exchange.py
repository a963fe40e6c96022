"""Exchange with teachers of any framework: write views as files, read class scores from a .npy."""

from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import require_free_space, write_json, write_text, written_beside
from utils.base.progress import progress
from utils.data.class_scores import ScoreKind
from utils.data.split_checks import refuse_seen_test_clips
from utils.runs.clips import RecordedSplit
from utils.runs.identity import differences
from utils.runs.paths import record_path
from utils.runs.scores import read_scores_file
from utils.training.question import Question
from utils.training.score_files import finite_float32, open_scores, scores_kind


def read_scores(path: Path, question: Question, kind: ScoreKind | None = None) -> np.ndarray:
    """Read the class scores of a teacher as logits float32 `(N, views + 1, C)`; see `read_per_view`.

    `kind` says whether they are logits or probabilities; None decides it. Prints the kind. Raises UserError also if the
    scores are no better than chance on the training clips.
    """
    kind = kind or scores_kind(path, "--source")
    classes = len(question.dataset.class_names)
    logits = read_per_view(path, question, argument="--source", columns=classes, kind=kind)
    print(f"{path}: {kind}")
    check_better_than_chance(path, logits[:, 0], question)
    return logits


def read_features(path: Path, question: Question, *, argument: str) -> np.ndarray:
    """Read the features of a network as float32 `(N, views + 1, D)`; see `read_per_view`."""
    return read_per_view(path, question, argument=argument)


def read_per_view(
    path: Path, question: Question, *, argument: str, columns: int | None = None, kind: ScoreKind | None = None
) -> np.ndarray:
    """Read values per clip `(N, C)` or per view `(N, K + 1, C)` as float32 `(N, views + 1, C)`.

    N counts the clips of --data and then those of --unlabelled. C is `columns`, or any number if it is None. Scores of
    a `kind` become logits; without it, values are not converted. Entries that `question` does not ask for become NaN. A
    .json next to the file, a copy of the views.json of these views, is compared with `question`. Raises UserError that
    names `argument` if the values have another shape, are not finite where they are needed, or belong to other views or
    clips.
    """
    clips, views = question.dataset.row_count, question.views.views
    note = f", a row for each clip of --data and of --unlabelled ({clips})" if question.dataset.unlabelled else ""
    values = open_scores(path, argument, clips=clips, views=views, classes=columns, note=note)
    per_view = values.ndim == 3
    if per_view and values.shape[1] <= views:
        raise UserError(
            f"{argument}: {path} must hold scores for {views + 1} views (--views {views}), found {values.shape[1]}"
        )
    check_origin(path, question, argument=argument, per_view=per_view)

    found = np.full((clips, views + 1 if per_view else 1, values.shape[-1]), np.nan, np.float32)
    for view in range(found.shape[1]):
        rows, where = question.rows(view), f" in view {view}" if per_view else ""
        of_view = np.asarray(values[rows, view] if per_view else values[rows])
        found[rows, view] = finite_float32(of_view, kind, rows, what=f"{argument}: {path}", where=where)
    return np.broadcast_to(found, (clips, views + 1, values.shape[-1]))


def check_origin(path: Path, question: Question, *, argument: str, per_view: bool) -> None:
    """Raise UserError if the .json next to the scores shows other clips or views, or that test clips were seen."""
    about = read_scores_file(path, argument=argument)
    if about is None:
        missing = record_path(path)
        print(f"note: {missing} is missing, so it is unknown to which views the scores of {argument} {path} belong.")
        return
    wanted = question.key()
    of_clips = ("labels", "paths") + (("shape", "content", "view_version", "view_seed", "flip") if per_view else ())
    of_clips += ("unlabelled",) if "unlabelled" in wanted else ()
    found = differences(about.key.model_dump(exclude_none=True), {name: wanted[name] for name in of_clips})
    if found:
        raise UserError(f"{argument}: {path} must hold scores for these clips and views, but {found}")
    if about.split is not None:
        refuse_seen_test_clips(question.split, about.split.as_split(), what=f"{argument} {path}")


def check_better_than_chance(path: Path, logits: np.ndarray, question: Question) -> None:
    """Raise UserError unless the mean class accuracy on training clips is two standard errors above chance.

    Scores in another order of clips or classes are at chance. In contrast to accuracy, the mean over the classes does
    not rise if one class is predicted for all clips, however frequent that class is.
    """
    rows = question.split.train
    labels = question.dataset.labels[rows]
    counts = np.bincount(labels)
    present = counts > 0
    correct = np.bincount(labels, weights=logits[rows].argmax(axis=1) == labels)
    mean = (correct[present] / counts[present]).mean()
    chance = 1 / logits.shape[1]
    error = np.sqrt((chance * (1 - chance) / counts[present]).sum()) / present.sum()
    if mean <= chance + 2 * error:
        raise UserError(
            f"--source: {path} must be better than chance on training clips, but the mean class accuracy is "
            f"{100 * mean:.1f} % (chance {100 * chance:.1f} %); check the order of its clips and of its classes"
        )


README = """\
Views of clips for a teacher
============================

view_0.npy ... view_{views}.npy   uint8 (rows, {frames}, {height}, {width}, 3): frames, height, width, RGB, 0..255
rows_0.npy ... rows_{views}.npy   int64 (rows,): the row of each clip in the scores
classes.txt                  class names in the order of the scores, one per line
views.json                   description of these views; copy it next to the scores

View 0 shows whole clips, for training, validation and unlabelled clips. The other views are augmented, without
validation clips. Test clips are not included. Save the scores as floats ({clips}, {answers}, {classes}), by row, view
and class. Rows are those of frames.npy, followed by those of each --unlabelled file. Scores are logits, or
probabilities that sum to 1 or to 100 in each row. All other rows stay NaN:

    import shutil
    import numpy as np

    scores = np.full(({clips}, {answers}, {classes}), np.nan, np.float32)
    for view in range({answers}):
        rows = np.load(f"rows_{{view}}.npy")
        clips = np.load(f"view_{{view}}.npy", mmap_mode="r")
        for start in range(0, len(rows), 16):
            scores[rows[start : start + 16], view] = predict(clips[start : start + 16])  # your teacher
    np.save("scores.npy", scores)
    shutil.copy("views.json", "scores.json")

Then run KD_training.py --source scores.npy with the same --data, --unlabelled, --split, --views, --view_seed and
--no_flip. Scores ({clips}, {classes}) for view_0 only are accepted as well, and are used for all views.
"""


def write_views(folder: Path, question: Question, input_shape: tuple[int, int, int, int]) -> None:
    """Write all views that a student trains and validates on, one file per view, at `input_shape` `(T, H, W, 3)`.

    One clip is in memory at a time. views.json is written last, when the folder is complete. Raises UserError if the
    folder is not empty, or if the disk has too little free space.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"--write_views: {folder} must be a new or empty folder")
    dataset, options = question.dataset, question.views
    counts = [len(question.rows(view)) for view in range(options.views + 1)]
    require_free_space(folder, sum(counts) * int(np.prod(input_shape)), what=f"--write_views: {folder}")
    with progress(sum(counts), unit="clips") as advance:
        for view in range(options.views + 1):
            rows = question.rows(view)
            with written_beside(folder / f"rows_{view}.npy") as temporary:
                np.save(temporary, rows)
            with written_beside(folder / f"view_{view}.npy") as temporary, open(temporary, "wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *input_shape)}
                np.lib.format.write_array_header_1_0(file, header)
                for row in rows:
                    dataset.view([row], [view], input_shape, options).tofile(file)
                    advance()
    frames, height, width, _ = input_shape
    layout = {
        "views": options.views,
        "answers": options.views + 1,
        "clips": dataset.row_count,
        "classes": len(dataset.class_names),
        "frames": frames,
        "height": height,
        "width": width,
    }
    write_text(folder / "README.txt", README.format(**layout))
    write_text(folder / "classes.txt", "\n".join(dataset.class_names) + "\n")
    split = RecordedSplit.of(question.split).model_dump()
    write_json(folder / "views.json", {"key": question.key(), **layout, "split": split})
    print(f"wrote {sum(counts)} clips in {options.views + 1} views to {folder}; its README.txt describes the scores")
