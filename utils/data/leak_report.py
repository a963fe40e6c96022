"""Report of the leaks of a split: as text, as plain values for JSON, and all pairs as CSV."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import write_csv
from utils.data.clips import ClipDataset

SAME, GROUP, NEAR = "same clip", "group", "near-duplicate"
FILM, FILM_ELSEWHERE = "source film, same class", "source film, another class"
EXAMPLES = 5  # pairs of each kind in `as_dict`
COLUMNS = ("test", "seen", "set", "kind", "distance", "same_group")


@dataclass(frozen=True)
class LeakReport:
    """What test clips share with seen clips: training clips, unlabelled clips, and validation clips.

    test, train, validation: int64 row numbers of `dataset`. pairs: by kind, int64 `(n, 2)`, a test row and a seen row;
    kinds that do not apply are absent. distances: of the near-duplicates, float32 `(n,)`, 0 (equal) to 0.45, ascending.
    unjudged: number of test clips with too little texture to be compared. group_keys: unicode `(N + M,)`, or None if
    unknown. notes: sentences on what is unknown.
    """

    dataset: ClipDataset
    test: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    pairs: dict[str, np.ndarray]
    distances: np.ndarray
    unjudged: int
    group_keys: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def leaking(self) -> np.ndarray:
        """Test rows that share anything with a seen clip, ascending."""
        return np.unique(np.concatenate([pairs[:, 0] for pairs in self.pairs.values()]))

    def of_unlabelled(self) -> "LeakReport":
        """Return the report without what test clips share with training and validation clips."""
        kept = {kind: pairs[:, 1] >= len(self.dataset) for kind, pairs in self.pairs.items()}
        pairs = {kind: found[kept[kind]] for kind, found in self.pairs.items()}
        none = np.zeros(0, np.int64)
        return replace(self, train=none, validation=none, pairs=pairs, distances=self.distances[kept[NEAR]])

    def rows(self, kind: str, limit: int | None = None) -> list[dict]:
        """Return the first pairs of a kind as plain values, named by COLUMNS; `set` is that of the seen clip."""
        pairs, keys = self.pairs[kind][:limit], self.group_keys
        sets = np.where(np.isin(pairs[:, 1], self.train), "train", "validation").astype("U10")
        sets[pairs[:, 1] >= len(self.dataset)] = "unlabelled"
        same = [None] * len(pairs) if keys is None else (keys[pairs[:, 0]] == keys[pairs[:, 1]]).tolist()
        distances = [None] * len(pairs)
        if kind == NEAR:
            distances = [round(float(distance), 4) for distance in self.distances[:limit]]
        names = [[clip_name(self.dataset, row) for row in pair] for pair in pairs.tolist()]
        return [
            dict(zip(COLUMNS, (*pair, part, kind, distance, group), strict=True))
            for pair, part, distance, group in zip(names, sets.tolist(), distances, same, strict=True)
        ]

    def as_dict(self) -> dict:
        """Return counts and up to five examples by kind, as plain values for JSON."""
        kinds = {}
        for kind, pairs in self.pairs.items():
            in_train, is_unlabelled = np.isin(pairs[:, 1], self.train), pairs[:, 1] >= len(self.dataset)
            kinds[kind] = {
                "test_clips": count_of_clips(pairs),
                "with_training_clips": count_of_clips(pairs[in_train]),
                "with_validation_clips": count_of_clips(pairs[~in_train & ~is_unlabelled]),
                "with_unlabelled_clips": count_of_clips(pairs[is_unlabelled]),
                "pairs": len(pairs),
                "examples": self.rows(kind, EXAMPLES),
            }
            if kind == NEAR and self.group_keys is not None:
                other = self.group_keys[pairs[:, 0]] != self.group_keys[pairs[:, 1]]
                kinds[kind]["test_clips_of_another_group"] = count_of_clips(pairs[other])
        return {
            "test_clips": len(self.test),
            "training_clips": len(self.train),
            "validation_clips": len(self.validation),
            "unlabelled_clips": len(self.dataset.unlabelled_rows),
            "leaking_test_clips": len(self.leaking),
            "kinds": kinds,
            "not_judged_test_clips": self.unjudged,
            "notes": list(self.notes),
        }

    def refuse(self) -> None:
        """Raise UserError, for --fail_on_leak, if any test clip shares anything with a seen clip."""
        for kind, pairs in self.pairs.items():
            if len(pairs):
                example = self.rows(kind, 1)[0]
                raise UserError(
                    f"--fail_on_leak: {len(self.leaking)} of {len(self.test)} test clips must share nothing with "
                    f"training, validation or unlabelled clips, found for example {example['test']} and "
                    f"{example['seen']} ({kind})"
                )

    def write(self, path: Path) -> None:
        """Write all pairs to the CSV file `path`."""
        rows = [list(row.values()) for kind in self.pairs for row in self.rows(kind)]
        write_csv(path, COLUMNS, [["" if value is None else value for value in row] for row in rows])


def clip_name(dataset: ClipDataset, row: int) -> str:
    """Return a clip's path, or its row number if paths are unknown; for an unlabelled clip after the file's name."""
    frames, stored_row = dataset.locate(row)
    part = next(part for part in (dataset, *dataset.unlabelled) if part.frames is frames)
    name = f"row {stored_row}" if part.paths is None else str(part.paths[stored_row])
    return name if part is dataset else f"{frames.path}: {name}"


def count_of_clips(pairs: np.ndarray) -> int:
    """Return the number of test clips in pairs `(n, 2)`."""
    return len(np.unique(pairs[:, 0]))


def short_form(leaks: dict) -> str:
    """Return the result of `LeakReport.as_dict` as a few lines of text."""
    sets = [name for name in ("training", "validation", "unlabelled") if leaks[f"{name}_clips"]]
    *counts, last = [f"{leaks[f'{name}_clips']} {name}" for name in sets] or ["0 seen"]
    seen = " and ".join([", ".join(counts), last] if counts else [last])
    head = f"leaks: {leaks['leaking_test_clips']} of {leaks['test_clips']} test clips share something with {seen} clips"
    lines = []
    for kind, found in leaks["kinds"].items():
        if not found["pairs"]:
            continue
        parts = ", ".join(f"{found[f'with_{name}_clips']} with {name}" for name in sets)
        line = f"  {kind}: {found['test_clips']} ({parts}"
        if found.get("test_clips_of_another_group"):
            line += f"; {found['test_clips_of_another_group']} with clips of another group"
        example = found["examples"][0]
        distance = "" if example["distance"] is None else f", distance {example['distance']:.2f}"
        lines.append(f"{line}), for example {example['test']} and {example['seen']}{distance}")
    if clean := ", ".join(kind for kind, found in leaks["kinds"].items() if not found["pairs"]):
        lines.append(f"  no leaks by: {clean}")
    if leaks["not_judged_test_clips"]:
        lines.append(f"  too little texture to find near-duplicates: {leaks['not_judged_test_clips']} test clips")
    return "\n".join([head, *lines, *(f"  {note}" for note in leaks["notes"])])
