"""Views of the clips as files, for a teacher of any framework to answer; its scores come back as a .npy `--source`."""

from pathlib import Path

import numpy as np

from utils.answer_key import Question
from utils.errors import UserError
from utils.files import require_free_space, write_json, write_text, written_beside
from utils.progress import progress
from utils.records import split_record

README = """\
Views of clips, for a teacher to answer
=======================================

view_0.npy ... view_{views}.npy   uint8 (rows, {frames}, {height}, {width}, 3): frames, height, width, RGB, 0..255
rows_0.npy ... rows_{views}.npy   int64 (rows,): which row of frames.npy each clip of the view is
classes.txt                  the classes, one a line, in the order of the scores
views.json                   what these views are; copy it beside the scores

View 0 is the whole clip, of training and validation clips; the others are of training clips alone. Test clips are not
here. The scores are floats ({clips}, {answers}, {classes}) by row of frames.npy, view and class: logits, or
probabilities that sum to 1. Rows that are not here stay NaN:

    import shutil
    import numpy as np

    scores = np.full(({clips}, {answers}, {classes}), np.nan, np.float32)
    for view in range({answers}):
        rows = np.load(f"rows_{{view}}.npy")
        clips = np.load(f"view_{{view}}.npy", mmap_mode="r")
        for start in range(0, len(rows), 16):
            scores[rows[start : start + 16], view] = answer(clips[start : start + 16])
    np.save("scores.npy", scores)
    shutil.copy("views.json", "scores.json")

Then: KD_training.py --source scores.npy, with the same --data, --split, --views, --view_seed and --no_flip. A teacher
that answers whole clips alone needs view_0 only, and leaves scores ({clips}, {classes}), used for all views.
"""


def write_views(folder: Path, question: Question, input_shape: tuple[int, int, int, int]) -> None:
    """Writes every view that a student would be taught, one file a view, at `input_shape` `(T, H, W, 3)`.

    One clip is in memory at a time. views.json comes last: with it the folder is complete. Raises UserError if the
    folder holds anything, or if the disk has no room.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"--write_views: {folder} must be a new or an empty folder")
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
        "clips": len(dataset),
        "classes": len(dataset.class_names),
        "frames": frames,
        "height": height,
        "width": width,
    }
    write_text(folder / "README.txt", README.format(**layout))
    write_text(folder / "classes.txt", "\n".join(dataset.class_names) + "\n")
    about = {"key": question.key(), **layout, "split": split_record(question.split)}
    write_json(folder / "views.json", about)
    print(f"wrote {sum(counts)} clips in {options.views + 1} views to {folder}; README.txt says how to answer them")
