"""Export a recogniser: convert, quantise, verify, measure, and only then put the files in place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.base.devices import hardware
from utils.base.drawing import save_figure
from utils.base.export_options import ExportOptions, exported_names
from utils.base.files import require_free_space, write_json, write_text
from utils.base.machine import cores
from utils.base.options import DataOptions
from utils.base.prediction_options import PredictionOptions
from utils.base.run_log import begin_log, run_log
from utils.data.clips import open_clips
from utils.export.clips import ComparisonClips, calibration_clips, clips_of_data, synthetic_clips
from utils.export.deployment import requirements, write_program
from utils.export.described import described, kept_files, metadata_for
from utils.export.folder import publish, staging_folder
from utils.export.results import AccuracyByLatency, notes_of, row_of, table
from utils.export.verification import compared, expected_probabilities, verify
from utils.export.writing import write_files
from utils.networks.export_record import ExportMetadata, ExportRecord
from utils.networks.formats.folding import in_float32
from utils.networks.recognizer import Recognizer, load_recognizer

EXAMPLE = Path(__file__).with_name("example.py")
GIVEN_BY_RECORD = PredictionOptions()


@dataclass(frozen=True)
class Task:
    """What is exported, with the clips for its verification and its quantisation.

    calibration: returns the clips of --int8, None without it. expected: probabilities of Keras for `clips`.
    """

    recognizer: Recognizer
    metadata: ExportMetadata
    options: ExportOptions
    clips: ComparisonClips
    calibration: Callable[[], Iterator[np.ndarray]] | None
    expected: np.ndarray

    @property
    def stem(self) -> str:
        return self.recognizer.path.stem

    @property
    def threads(self) -> int:
        return self.options.threads or cores()


def export(
    path: Path,
    options: ExportOptions,
    data: DataOptions | None = None,
    given: PredictionOptions = GIVEN_BY_RECORD,
) -> ExportRecord:
    """Export the Keras model `path` to `options.output_path` and print a table of the files.

    Each file is run on clips of `data`, or on synthetic clips without, and compared with Keras; see verification.py.
    `given` states class names, channels and input scale of a model without a record. Returns the content of NAME.json.
    Raises UserError, and writes no file, if one cannot be written or differs too much.
    """
    log = options.output_path / f"{path.stem}.log"
    with run_log(log, [options, given, *([] if data is None else [data])]):
        task = task_of(path, options, data, given)
        names = exported_names(task.stem, options)
        needed = 4 * task.recognizer.model.count_params() * (len(names) + 3)
        require_free_space(options.output_path, needed, what="--output_path: the export")
        with staging_folder(options.output_path, task.stem) as staging:
            begin_log()
            files = staging / "files"
            files.mkdir()
            record, rows = staged_export(task, files)
            publish(files, options.output_path, last=f"{task.stem}.json")
        report(task, rows)
        return record


def task_of(path: Path, options: ExportOptions, data: DataOptions | None, given: PredictionOptions) -> Task:
    """Load the model, open the data and compute the outputs of Keras. Raises UserError."""
    recognizer = load_recognizer(path, argument="--recognizer", channels=given.channels, input_scale=given.input_scale)
    metadata = metadata_for(recognizer, options, given)
    recognizer = replace(recognizer, model=in_float32(recognizer.model))
    calibration = None
    if data is None:
        clips = synthetic_clips(recognizer.input_shape)
    else:
        dataset = open_clips(data.data, data.annotations, data.paths)
        clips = clips_of_data(recognizer, data, dataset, options.compared_clips)
        if options.int8:
            calibration = calibration_clips(recognizer, data, dataset, options.calibration_clips)
    expected = expected_probabilities(recognizer.model, clips, metadata.temperature)
    return Task(recognizer, metadata, options, clips, calibration, expected)


def staged_export(task: Task, folder: Path) -> tuple[ExportRecord, list[dict]]:
    """Write, verify and measure all files in `folder`; return the content of NAME.json and the rows of the table."""
    names = exported_names(task.stem, task.options)
    metadata, clips, output_path = task.metadata, task.clips, task.options.output_path
    write_files(task.recognizer.model, names, folder, metadata=metadata, calibration=task.calibration)
    verified = {name: verify(folder / name, *names[name], clips, task.expected, metadata) for name in names}
    files = {name: described(folder / name, *names[name], found) for name, found in verified.items()}
    threads = task.threads if task.options.measure else None
    rows = [row_of(task.recognizer.path, "keras", "float32", compared(task.expected, task.expected, clips), threads)]
    for name, (kind, precision) in names.items():
        for compute, found in ((precision, verified[name].verification), ("bfloat16", verified[name].bfloat16)):
            if found is not None:
                rows.append(row_of(folder / name, kind, compute, found, threads))
    files |= kept_files(output_path, task.stem, metadata, files)
    record = ExportRecord(**dict(metadata), record=task.recognizer.record, files=files)
    write_json(folder / f"{task.stem}.json", record.model_dump())
    about = {"source": clips.source, "count": clips.count}
    content = {"rows": rows, "clips": about, "notes": notes_of(rows), "hardware": hardware()}
    write_json(folder / f"{task.stem}_table.json", content)
    write_text(folder / "example.py", EXAMPLE.read_text())
    write_program(folder / "predict.pyz")
    existing = output_path / "requirements.txt"
    kinds = {file.type for file in files.values()}
    write_text(folder / existing.name, requirements(kinds, existing.read_text() if existing.is_file() else ""))
    return record, rows


def report(task: Task, rows: list[dict]) -> None:
    """Print the table and its notes, and draw the figure."""
    output_path = task.options.output_path
    print(f"\n{table(rows, task.threads)}\n")
    print(f"compared on {task.clips.count} {task.clips.source}")
    for note in notes_of(rows):
        print(note)
    if task.metadata.class_names is None:
        print("note: the class names are unknown, because the model has no record; --class_names can name them")
    timed = [row for row in rows if row["milliseconds"] is not None]
    if timed:
        save_figure(AccuracyByLatency(timed, task.threads), output_path / f"{task.stem}_latency.png")
    print(f"wrote {output_path}")
