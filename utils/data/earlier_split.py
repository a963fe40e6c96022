"""The split of an earlier training, found again by the paths of its clips."""

from pathlib import Path

import numpy as np

from utils.base.array_files import open_array
from utils.base.errors import UserError
from utils.base.files import digest, escaped, read_json
from utils.base.options import PATHS_FILE
from utils.data.split_lists import SETS


def sets_of_model(model: str | Path, *, argument: str) -> dict[str, str]:
    """Return the set of each clip in the split of a trained model, by the clip's path.

    The rows of the sets are in the model's record, the paths in the arrays that it was trained on. Raises UserError
    that starts with `argument` if there is no record, or if the paths have moved or changed.
    """
    record_file = Path(model).with_suffix(".json")
    if not record_file.is_file():
        raise UserError(f"{argument}: {model} must have a record, but {record_file} does not exist")
    record = read_json(record_file)
    try:
        arguments, rows, known = record["arguments"], record["split"]["rows"], record["arrays"]["paths"]
        file = Path(arguments["paths"] or Path(arguments["data"]).with_name(PATHS_FILE))
        sets = {name: np.array(rows[name], np.int64) for name in SETS}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{argument}: {record_file} must be the record of a training") from None
    try:
        paths = [escaped(path) for path in open_array(file, argument)]
        is_same = digest("\n".join(paths).encode()) == known
    except (UserError, AttributeError):  # AttributeError: not an array of text
        is_same = False
    if not is_same:
        raise UserError(f"{argument}: {model} was trained on clips whose paths must still be in {file}")
    return {paths[row]: name for name, members in sets.items() for row in members}


def sets_like_model(paths: np.ndarray, model: str, keys: np.ndarray | None) -> tuple[np.ndarray, list[str]]:
    """Assign clips to the sets that they have in the split of a trained model.

    paths: unicode (N,). keys: the group of each clip (N,), or None; a new clip joins the set of the known clips of its
    group, training if they are in several. Returns "train", "validation", "test" or "" (new) for each clip, and notes.
    Raises UserError if none of the clips is known, see also `sets_of_model`.
    """
    known = sets_of_model(model, argument=f"--split like:{model}")
    sets = np.array([known.get(path, "") for path in paths.tolist()], "U10")
    if not (sets != "").any():
        raise UserError(f"--split like:{model} must know clips of --paths, but knows none; the first is {paths[0]}")
    if keys is not None:
        for name in reversed(SETS):
            sets[(sets == "") & np.isin(keys, keys[sets == name])] = name
    new = np.count_nonzero(sets == "")
    return sets, [f"{len(paths) - new} of {len(paths)} clips are in the sets of {model}, {new} are new."]
