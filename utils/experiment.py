"""The whole chain on one set of videos: teacher, student alone, distilled student, compared on clips they never saw."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from utils import intervals, stages
from utils.cost import milliseconds_per_clip
from utils.extraction import extract
from utils.figures import AccuracyBars, save_figure
from utils.files import write_json, write_text
from utils.options import (
    DataOptions,
    DistillationOptions,
    NetworkOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
)
from utils.progress import progress
from utils.recognizer import load_recognizer
from utils.records import plain
from utils.report import markdown_table, percent_with_interval
from utils.synthetic import render_dataset

ROLES = {"teacher": "teacher (C3D)", "student_alone": "student alone", "student_distilled": "student distilled"}


@dataclass(frozen=True)
class Experiment:
    """The settings of one experiment, named as the arguments of reproduce.py."""

    config: Path
    output_path: Path
    seeds: list[int]
    videos: Path | None
    data: Path | None
    annotations: Path | None
    paths: Path | None
    classes: int
    subjects: int
    clips: int
    video_seed: int
    clutter: float
    noise: float
    jitter: float
    phase_spread: float
    sequence_length: int
    frame_size: tuple[int, int]
    split: str
    split_seed: int
    split_dir: Path | None
    group_pattern: str | None
    input_size: tuple[int, int]
    teacher_width: float
    student_width: float
    dropout: float
    teacher_epochs: int
    student_epochs: int
    batch_size: int
    learning_rate: float
    temperature: float
    alpha: float
    labels_per_class: int | None


def run(experiment: Experiment) -> dict:
    """Runs every stage, prints progress and a table, and writes all that it makes to its `output_path`.

    The test clips are read once, at the end. Returns what results.json holds. Raises UserError for a user's mistakes.
    """
    start = time.perf_counter()
    folder = experiment.output_path
    write_json(folder / "settings.json", plain(asdict(experiment)))
    data = arrays(experiment)
    seconds = {}
    for seed in experiment.seeds:
        for role in ROLES:
            heading(f"{ROLES[role]}, seed {seed}")
            trained = train(role, experiment, data, seed)
            seconds[role, seed] = trained.record["seconds"]

    tests = {}
    for seed in experiment.seeds:
        heading(f"evaluation, seed {seed}")
        paths = [model_path(folder, role, seed) for role in ROLES]
        tests[seed] = stages.evaluate(data_for_test(data), paths, output_path=folder / f"seed_{seed}" / "test")
    rows = [summarise(role, experiment, tests, seconds) for role in ROLES]
    heading(f"result ({time.perf_counter() - start:.0f} s in all)")
    table = result_table(rows, experiment)
    print(table)
    write_text(folder / "results.md", table + "\n")
    save_figure(AccuracyBars([row["role"] for row in rows], [row["interval"] for row in rows]), folder / "results.png")
    results = {"rows": rows, "settings": plain(asdict(experiment))}
    write_json(folder / "results.json", results)
    print(f"everything is in {folder}")
    return results


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def arrays(experiment: Experiment) -> DataOptions:
    """The arrays to train on: the user's, or those of the user's or of synthetic videos."""
    data, annotations, paths = experiment.data, experiment.annotations, experiment.paths
    if data is None:
        videos = experiment.videos
        if videos is None:
            heading("synthetic videos")
            videos = experiment.output_path / "videos"
            names = ("classes", "subjects", "clips", "clutter", "noise", "jitter", "phase_spread")
            settings = {name: getattr(experiment, name) for name in names}
            render_dataset(videos, **settings, seed=experiment.video_seed, progress=progress)
        heading("extraction")
        frames = experiment.output_path / "frames"
        height, width = experiment.frame_size
        print(
            extract(videos, frames, sequence_length=experiment.sequence_length, frame_height=height, frame_width=width)
        )
        data, annotations, paths = (frames / name for name in ("frames.npy", "labels.npy", "video_file_paths.npy"))
    return DataOptions(
        data,
        annotations,
        paths,
        split=experiment.split,
        split_seed=experiment.split_seed,
        split_dir=experiment.split_dir,
        group_pattern=experiment.group_pattern,
    )


def data_for_test(data: DataOptions) -> DataOptions:
    """The same arrays, with the choice of test clips left to the records."""
    return DataOptions(data.data, data.annotations, data.paths, split=None)


def model_path(folder: Path, role: str, seed: int) -> Path:
    return folder / f"seed_{seed}" / f"{role}.keras"


def train(role: str, experiment: Experiment, data: DataOptions, seed: int) -> stages.Trained:
    """Trains the network of one row of the table."""
    folder, is_teacher, is_alone = experiment.output_path, role == "teacher", role == "student_alone"
    output_path = model_path(folder, role, seed)
    training = TrainingOptions(
        batch_size=experiment.batch_size,
        epochs=experiment.teacher_epochs if is_teacher else experiment.student_epochs,
        learning_rate=experiment.learning_rate,
        seed=seed,
    )
    network = NetworkOptions(
        width=experiment.teacher_width if is_teacher else experiment.student_width,
        dropout=experiment.dropout,
        input_size=experiment.input_size,
    )
    output = OutputOptions(output_path, output_path.with_name(f"history_{role}"))
    if is_teacher:
        return stages.train_teacher(data, training, network, TeacherOptions(), output)
    distillation = DistillationOptions(
        source=None if is_alone else model_path(folder, "teacher", seed),
        temperature=experiment.temperature,
        alpha=1.0 if is_alone else experiment.alpha,
        labels_per_class=experiment.labels_per_class,
    )
    return stages.train_student(data, training, network, distillation, output)


def summarise(role: str, experiment: Experiment, tests: dict[int, dict], seconds: dict) -> dict:
    """One row of the table: accuracy over the seeds, or over test clips where there is one seed, and what it costs."""
    position = list(ROLES).index(role)
    results = {seed: test["recognizers"][position] for seed, test in tests.items()}
    if len(results) > 1:
        interval = asdict(intervals.over_runs({(seed, 0): result["top1"] for seed, result in results.items()}))
    else:
        interval = next(iter(results.values()))["interval"]
    first = next(iter(results.values()))
    recognizer = load_recognizer(model_path(experiment.output_path, role, experiment.seeds[0]), argument="--recognizer")
    return {
        "role": ROLES[role],
        "interval": interval,
        "by_seed": {str(seed): result["top1"] for seed, result in results.items()},
        "clips": first["clips"],
        "split": first["split"],
        "parameters": first["parameters"],
        "multiply_accumulates": first["multiply_accumulates"],
        "megabytes": first["megabytes"],
        "milliseconds_per_clip": milliseconds_per_clip(recognizer.model),
        "training_seconds": sum(seconds[role, seed] for seed in experiment.seeds) / len(experiment.seeds),
    }


def result_table(rows: Sequence[dict], experiment: Experiment) -> str:
    """The table in Markdown, and what its interval means."""
    header = ["recogniser", "accuracy (95 % interval)", "parameters", "MB", "ms a clip", "training (s)"]
    cells = [
        [
            row["role"],
            percent_with_interval(row["interval"]),
            f"{row['parameters']:,}",
            f"{row['megabytes']:.1f}",
            f"{row['milliseconds_per_clip']:.1f}",
            f"{row['training_seconds']:.0f}",
        ]
        for row in rows
    ]
    labels = experiment.labels_per_class
    interval = rows[0]["interval"]
    lines = [
        markdown_table(header, cells),
        "",
        f"{rows[0]['clips']} test clips (split: {rows[0]['split']}). Training seeds: "
        f"{' '.join(map(str, experiment.seeds))}. "
        f"Interval: {interval['method']}. {interval['caution']}".strip(),
    ]
    if labels is not None:
        lines.append(f"The teacher learns from all labels, the students from {labels} a class.")
    alone = rows[list(ROLES).index("student_alone")]
    for row in rows:
        if row is not alone and len(experiment.seeds) > 1:
            lines.append(f"{row['role']} minus {alone['role']}: {points_by_seed(row, alone)}, paired by seed.")
    return "\n".join(lines)


def points_by_seed(row: dict, other: dict) -> str:
    """The mean difference of two rows' accuracies over the seeds in percentage points, with its t interval."""
    values, others = ({(seed, 0): value for seed, value in part["by_seed"].items()} for part in (row, other))
    difference = intervals.paired_over_runs(values, others)
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.estimate:+.1f} points ({low:+.1f} to {high:+.1f})"
