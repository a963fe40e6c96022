"""Contact sheets: frames of the test clips on which recognisers err or differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from utils.data.clips import ClipDataset
from utils.data.leak_report import clip_name
from utils.evaluation.pictures import strip_of_frames
from utils.evaluation.testing import Predictions

MISTAKES, DIFFERENCES = 9, 6  # clips per sheet


@dataclass(frozen=True)
class SheetClip:
    """A clip of a sheet: its frames as a data URI with their size, its true class and what recognisers answer."""

    path: str
    truth: str
    answers: list[dict]
    source: str
    width: int
    height: int

    @property
    def alt(self) -> str:
        return f"Frames of {self.path}"


@dataclass(frozen=True)
class Sheet:
    title: str
    about: str
    clips: list[SheetClip]


def contact_sheets(
    first: Predictions, other: Predictions | None, names: Sequence[str], dataset: ClipDataset
) -> list[Sheet]:
    """Return the sheets that have clips: the most confident mistakes of `first`, and where it differs from `other`.

    names: those of the recognisers. The clips are sorted by falling confidence, where the recognisers differ that of
    the correct one.
    """
    shown = [first] if other is None else [first, other]
    labels = first.clips.labels
    answers = [each.logits.argmax(axis=1) for each in shown]
    confidences = [np.nan_to_num(_confidences(each.logits)) for each in shown]
    correct = [predicted == labels for predicted in answers]
    mistakes = f"Most confident mistakes of {names[0]}"
    wanted = [(mistakes, "The highest probability belongs to a wrong class.", ~correct[0], confidences[0], MISTAKES)]
    if other is not None:
        about = f"{names[0]} and {names[1]} give different classes, and one of them is correct."
        for number in (0, 1):
            only = correct[number] & ~correct[1 - number]
            wanted.append((f"Only {names[number]} is correct", about, only, confidences[number], DIFFERENCES))
    sheets = []
    for title, about, is_wanted, confidence, limit in wanted:
        places = np.flatnonzero(is_wanted)
        places = places[np.argsort(-confidence[places], kind="stable")]
        if not len(places):
            continue
        counted = f"{about} {min(limit, len(places))} of {len(places)} clips, by falling confidence."
        clips = [_clip(place, first, names, answers, confidences, dataset) for place in places[:limit].tolist()]
        sheets.append(Sheet(title, counted, clips))
    return sheets


def _confidences(logits: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # infinite logits
        return softmax(np.asarray(logits, np.float64), axis=1).max(axis=1)


def _clip(place: int, first: Predictions, names, answers, confidences, dataset: ClipDataset) -> SheetClip:
    row, classes = int(first.clips.rows[place]), first.clips.class_names
    found = [
        {"name": name, "predicted": classes[predicted[place]], "confidence": f"{100 * confidence[place]:.0f} %"}
        for name, predicted, confidence in zip(names, answers, confidences)
    ]
    source, width, height = strip_of_frames(dataset.frames.read(row))
    truth = classes[first.clips.labels[place]]
    return SheetClip(clip_name(dataset, row), truth, found, source, width, height)
