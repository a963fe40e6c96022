"""What test clips share with the clips that a recogniser has seen: clips, groups, source films, near-duplicates.

python -m utils.leaks --data frames.npy --annotations labels.npy --split random
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils import cli
from utils.arguments import add_data_arguments, add_split_arguments, options_of
from utils.clip_hashes import ClipHashes, hashes_of
from utils.clips import ClipDataset, open_clips
from utils.errors import UserError
from utils.files import write_json
from utils.groups import Groups, read_groups
from utils.leak_report import FILM, FILM_ELSEWHERE, GROUP, NEAR, SAME, LeakReport, short_form
from utils.near_duplicates import find_near_duplicates
from utils.options import DataOptions


class LeakFinder:
    """Finds leaks in splits of one data set; hashes are read or computed once, and equal questions answered once."""

    def __init__(self, dataset: ClipDataset):
        self.dataset = dataset
        self._hashes: ClipHashes | None = None
        self._known: dict[tuple, LeakReport] = {}

    def find(
        self, test: np.ndarray, train: np.ndarray, validation: np.ndarray, *, group_pattern: str | None = None
    ) -> LeakReport:
        """What `test` rows share with `train` and `validation` rows."""
        question = (test.tobytes(), train.tobytes(), validation.tobytes(), group_pattern)
        if question not in self._known:
            if self._hashes is None:
                self._hashes = hashes_of(self.dataset)
            self._known[question] = find_leaks(
                self.dataset, self._hashes, test, train, validation, group_pattern=group_pattern
            )
        return self._known[question]


def find_leaks(
    dataset: ClipDataset,
    hashes: ClipHashes,
    test: np.ndarray,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    group_pattern: str | None = None,
) -> LeakReport:
    """What `test` rows share with `train` and `validation` rows, by their names and by their hashes.

    In HMDB51 the group is the source film, told apart by whether the seen clip is of the same class; with
    `group_pattern` both are looked at. Raises UserError if `group_pattern` does not fit the paths.
    """
    seen = np.union1d(train, validation)
    same = np.intersect1d(test, seen)
    pairs, notes, keys = {SAME: np.stack([same, same], axis=1)}, [], None
    by_name, reason = groups_or_reason(dataset, None)
    films = by_name is not None and by_name.pattern.startswith("HMDB51")
    groups, reason = (by_name, reason) if group_pattern is None else groups_or_reason(dataset, group_pattern)
    if groups is not None:
        keys = groups.keys
    else:
        notes.append(f"No groups are known: {reason}.")
    if groups is not None and not (films and group_pattern is None):
        pairs[GROUP] = pairs_with_equal_keys(keys, test, seen)
    if films:
        shared = pairs_with_equal_keys(by_name.keys, test, seen)
        same_class = dataset.labels[shared[:, 0]] == dataset.labels[shared[:, 1]]
        pairs |= {FILM: shared[same_class], FILM_ELSEWHERE: shared[~same_class]}
    near = find_near_duplicates(hashes, test, seen)
    pairs[NEAR] = near.pairs
    return LeakReport(dataset, test, train, validation, pairs, near.distances, len(near.unjudged), keys, tuple(notes))


def groups_or_reason(dataset: ClipDataset, group_pattern: str | None) -> tuple[Groups | None, str]:
    """The Groups of the clips and "", or None and why there are none; a pattern of the user's has to fit."""
    if dataset.paths is None:
        return None, "the paths of the clips are not given (--paths)"
    try:
        return read_groups(dataset.paths, group_pattern), ""
    except UserError as error:
        if group_pattern is not None:
            raise
        return None, str(error)


def pairs_with_equal_keys(keys: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """int64 (n, 2): each test row with each other seen row of the same key, in order."""
    order = np.argsort(keys[seen], kind="stable")
    sorted_keys = keys[seen][order]
    first, last = (np.searchsorted(sorted_keys, keys[test], side=side) for side in ("left", "right"))
    found = [
        np.stack([np.full(end - start, row), np.sort(seen[order[start:end]])], axis=1)
        for row, start, end in zip(test.tolist(), first, last, strict=True)
    ]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *found])
    return pairs[pairs[:, 0] != pairs[:, 1]]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.ArgumentParser("What test clips share with training and validation clips: groups, films, pictures.")
    add_data_arguments(parser)
    add_split_arguments(parser, default="auto")
    output = parser.add_argument_group("report")
    output.add_argument("--fail_on_leak", action="store_true", help="exit code 2 if anything is shared")
    output.add_argument(
        "--output_path", type=output_report, help="FILE.csv for all pairs, or a folder for leaks.csv and leaks.json"
    )
    return parser.parse_args(arguments)


def output_report(text: str) -> Path:
    """A path of a CSV file or of a folder that can be written."""
    return cli.output_stem(text) if Path(text).suffix == ".csv" else cli.output_folder(text)


def main() -> None:
    args = parse_arguments()
    from utils.prepared import split_of  # loads scikit-learn

    data = options_of(DataOptions, args)
    dataset = open_clips(data.data, data.annotations, data.paths)
    split = split_of(data, dataset)
    print(f"split {split.protocol}, seed {split.split_seed}")
    report = LeakFinder(dataset).find(split.test, split.train, split.validation, group_pattern=data.group_pattern)
    print(short_form(report.as_dict()))
    if args.output_path is not None:
        is_file = args.output_path.suffix == ".csv"
        report.write(args.output_path if is_file else args.output_path / "leaks.csv")
        if not is_file:
            write_json(args.output_path / "leaks.json", report.as_dict())
        print(f"wrote {args.output_path}")
    if args.fail_on_leak:
        report.refuse()


if __name__ == "__main__":
    cli.run(main)
