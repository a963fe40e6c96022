"""Answers as lines of text, JSON objects and rows of CSV."""

import csv
import io
import json
from collections.abc import Sequence

from utils.prediction.answers import NO_ACTION, Answer, Segment, Timeline, Unreadable

LONGEST_NAME = 60  # characters of a video's path in a table


def printable(text: str) -> str:
    """Return a text on one line; bytes of a file name that are not UTF-8 are escaped."""
    return text.encode(errors="backslashreplace").decode().replace("\n", "\\n").replace("\r", "\\r")


def shown_path(path: str) -> str:
    """Return a path for a table, shortened at its start."""
    text = printable(path)
    return text if len(text) <= LONGEST_NAME else f"...{text[3 - LONGEST_NAME :]}"


def clock(seconds: float) -> str:
    """Format a time: "0:07.4" or "1:02:03.0"."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest / 10:04.1f}" if hours else f"{minutes}:{rest / 10:04.1f}"


class AnswerTable:
    """Lines of a table with a row per video: path, answer and the `top` most probable classes.

    Column widths follow from the paths and class names, so that each row can be printed at once.
    """

    def __init__(self, paths: Sequence[str], class_names: Sequence[str], top: int):
        self.top = min(top, len(class_names))
        self.path_width = max(len("video"), *(len(shown_path(path)) for path in paths))
        self.name_width = max(len(name) for name in (*class_names, NO_ACTION, "prediction"))

    def header(self) -> str:
        numbers = [f"{f'{number}.':<{self.name_width + 8}}" for number in range(1, self.top + 1)]
        return "  ".join([f"{'video':<{self.path_width}}", f"{'prediction':<{self.name_width}}", *numbers]).rstrip()

    def row(self, answer: Answer) -> str:
        columns = [f"{shown_path(answer.video):<{self.path_width}}", f"{answer.label:<{self.name_width}}"]
        columns += [f"{name:<{self.name_width}} {100 * share:5.1f} %" for name, share in answer.top(self.top)]
        return "  ".join(columns).rstrip()


def segment_lines(timeline: Timeline) -> list[str]:
    """Return the segments of a video as lines of a table, with a header."""
    width = max(len(segment.label) for segment in timeline.segments)
    lines = [printable(timeline.video), f"{'start':>10}  {'end':>10}  {'class':<{width}}  confidence"]
    for segment in timeline.segments:
        confidence = "" if segment.confidence is None else f"{100 * segment.confidence:8.1f} %"
        lines.append(f"{clock(segment.start):>10}  {clock(segment.end):>10}  {segment.label:<{width}}  {confidence}")
    return [line.rstrip() for line in lines]


def as_json(found: Answer | Timeline | Unreadable, *, top: int) -> str:
    """Return an answer as one line of JSON. `class` is null if the answer is "no action"."""
    content: dict = {"video": printable(found.video)}
    if isinstance(found, Unreadable):
        content["error"] = found.reason
    elif isinstance(found, Timeline):
        content |= {"duration": round(found.duration, 3), "segments": [_segment(each) for each in found.segments]}
    else:
        content |= {"class": None if found.rejected else found.label, "confidence": found.confidence}
        content["top"] = [{"class": name, "probability": share} for name, share in found.top(top)]
    if not isinstance(found, Unreadable) and found.milliseconds is not None:
        content["milliseconds"] = {part: round(value, 2) for part, value in found.milliseconds.items()}
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _segment(segment: Segment) -> dict:
    return {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "class": None if segment.confidence is None else segment.label,
        "confidence": segment.confidence,
    }


def csv_rows(found: Answer | Timeline, *, top: int) -> list[list[str]]:
    """Return the rows of an answer: one for a whole video, one per segment of a timeline."""
    video = printable(found.video)
    if isinstance(found, Timeline):
        shares = ["" if each.confidence is None else f"{each.confidence:.6f}" for each in found.segments]
        return [
            [video, f"{segment.start:.3f}", f"{segment.end:.3f}", segment.label, share]
            for segment, share in zip(found.segments, shares)
        ]
    return [[video, found.label, *(text for name, share in found.top(top) for text in (name, f"{share:.6f}"))]]


def csv_header(found: Answer | Timeline, *, top: int) -> list[str]:
    """Return the column names of `csv_rows`."""
    if isinstance(found, Timeline):
        return ["video", "start", "end", "class", "confidence"]
    numbered = (f"{what}_{number}" for number in range(1, top + 1) for what in ("class", "probability"))
    return ["video", "answer", *numbered]


def csv_line(row: Sequence[str]) -> str:
    """Return a row as a line of CSV, without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()
