"""What predict.py does after its arguments are parsed: answers for video files."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from utils.base.errors import UserError
from utils.base.prediction_options import PredictionOptions, TimelineOptions
from utils.prediction import tables
from utils.prediction.annotate import annotate
from utils.prediction.answers import Answer, Timeline, Unreadable
from utils.prediction.clips import predict_videos
from utils.prediction.frames import Frames
from utils.prediction.live import Stream, open_live
from utils.prediction.predictor import Predictor, load_predictor
from utils.prediction.timelines import WINDOW_SECONDS, predict_timelines, timeline_of_frames
from utils.prediction.watch import watch
from utils.video.video import VideoError


def predict_files(
    recognizers: Sequence[Path],
    videos: Sequence[Path],
    options: PredictionOptions,
    timeline: TimelineOptions | None = None,
    *,
    output: Path | None = None,
    form: str = "table",
    top: int = 3,
) -> int:
    """Print the answers for whole videos, or with `timeline` the segments of each; return the number of failed videos.

    `output` is the annotated copy of a single video. `form` is "table", "json" or "csv"; `top` classes are shown per
    whole video. Raises UserError if the only video has no answer.
    """
    predictor = load(recognizers, options)
    printer = Printer(form, top, videos, predictor.class_names)
    if timeline is None:
        return print_answers(predict_videos(predictor, videos), videos, printer)
    note_default_window(predictor, timeline)
    failed = print_answers(annotated_timelines(predictor, videos, timeline, output), videos, printer)
    if output is not None:
        print(f"wrote {output}", file=sys.stderr)
    return failed


def annotated_timelines(
    predictor: Predictor, videos: Sequence[Path], options: TimelineOptions, output: Path | None
) -> Iterator[Timeline | Unreadable]:
    """Yield the timeline of each video; after that of a single video, write its annotated copy `output`, if given."""
    for video, found in zip(videos, predict_timelines(predictor, videos, options)):
        yield found
        if output is not None:
            try:
                annotate(video, found, output)
            except VideoError as error:
                raise UserError(f"--output: {tables.printable(str(video))}: {error}") from None


def predict_live(
    recognizers: Sequence[Path],
    source: int | str,
    options: PredictionOptions,
    timeline: TimelineOptions,
    *,
    output: Path | None = None,
    form: str = "table",
    top: int = 3,
    max_seconds: float | None = None,
) -> None:
    """Print answers for a camera or a stream as `watch` does; for a URL of a recording, its segments.

    Raises UserError if `source` cannot be opened, or if `output` is given for a recording.
    """
    capture = open_live(source)  # before the models are loaded, because it may fail
    is_recording = isinstance(capture, Stream) and capture.count > 0
    if is_recording and output is not None:
        raise UserError(f"--output: {source} is a recording; download it to annotate it")
    if not is_recording:
        capture.release()  # the frames of the meantime would have to be caught up with
    predictor = load(recognizers, options)
    note_default_window(predictor, timeline)
    if not is_recording:
        watch(source, predictor, timeline, form=form, top=top, output=output, max_seconds=max_seconds)
        return
    printer = Printer(form, top, [Path(source)], predictor.class_names)
    try:
        frames = Frames(capture, capture.count, capture.rate)
        printer.show(timeline_of_frames(predictor, source, frames, timeline, show_progress=True))
    except VideoError as error:
        raise UserError(f"--input: {source}: {error}") from None


def note_default_window(predictor: Predictor, timeline: TimelineOptions) -> None:
    """Print a note to stderr if the length of windows is neither given nor in the records."""
    if timeline.window is None and predictor.clip_seconds is None:
        print(
            f"note: the length of the training clips is unknown; windows of {WINDOW_SECONDS:g} s, see --window",
            file=sys.stderr,
        )


def load(recognizers: Sequence[Path], options: PredictionOptions) -> Predictor:
    """Load recognisers and print what their records do not state to stderr, so that stdout holds answers only."""
    predictor = load_predictor(recognizers, options)
    for note in predictor.notes:
        print(f"note: {note}", file=sys.stderr)
    return predictor


def print_answers(found: Iterable[Answer | Timeline | Unreadable], videos: Sequence[Path], printer: "Printer") -> int:
    """Print answers as they come; return the number of videos without one, whose reasons go to stderr.

    Raises UserError if the only video has no answer.
    """
    failed = 0
    for each in found:
        if isinstance(each, Unreadable):
            reason = f"{tables.printable(each.video)}: {each.reason}"
            if len(videos) == 1:
                raise UserError(f"--input: {reason}")
            failed += 1
            print(f"error: {reason}", file=sys.stderr, flush=True)
        printer.show(each)
    return failed


class Printer:
    """Prints answers as a table, as lines of JSON or as CSV. The header comes with the first answer."""

    def __init__(self, form: str, top: int, videos: Sequence[Path], class_names: Sequence[str]):
        self.form, self.top = form, min(top, len(class_names))
        self.table = tables.AnswerTable([str(path) for path in videos], class_names, self.top)
        self.has_header = False

    def show(self, found: Answer | Timeline | Unreadable) -> None:
        """Print one answer. A video without one has a line in JSON only."""
        if self.form == "json":
            print(tables.as_json(found, top=self.top), flush=True)
        elif not isinstance(found, Unreadable):
            lines = self._csv(found) if self.form == "csv" else self._table(found)
            print("\n".join(lines), flush=True)

    def _csv(self, found: Answer | Timeline) -> list[str]:
        header = [] if self.has_header else [tables.csv_header(found, top=self.top)]
        self.has_header = True
        return [tables.csv_line(row) for row in (*header, *tables.csv_rows(found, top=self.top))]

    def _table(self, found: Answer | Timeline) -> list[str]:
        if isinstance(found, Timeline):
            return tables.segment_lines(found)
        header = [] if self.has_header else [self.table.header()]
        self.has_header = True
        return [*header, self.table.row(found)]
