"""The results of an experiment: a table with caption, CSV, JSON and the page with its figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from utils.base.argument_types import SCORES_SUFFIX
from utils.base.devices import hardware
from utils.base.files import plain, write_csv, write_json, write_text
from utils.base.frame_students import backbone_name
from utils.base.machine import installed_versions
from utils.base.options import TRAINED_TEACHERS
from utils.base.run_log import command_line
from utils.evaluation.experiment_page import FIGURES, ExperimentReport, figure_names, write_experiment_page
from utils.evaluation.protocol import Conditions
from utils.evaluation.tables import markdown_table, number_text, percent_with_interval, points, screen_table, unique
from utils.experiments.cells import Cell
from utils.experiments.lines import Line, lines_of, summarise
from utils.experiments.pages import link_to
from utils.experiments.provenance import CellSeen
from utils.networks.cost import milliseconds_per_clip
from utils.networks.recognizer import load_recognizer
from utils.runs.seen import seen_cell, warnings

SEEN_NOTE = "Seen: test clips that are training or validation clips of the model; no differences are given then."
HEADER = ["model", "test accuracy (95 % interval)", "minus student alone", "gap closed", "validation", "seen", "GMAC"]
HEADER += ["ms per clip", "parameters", "MB", "training (s)"]
FOR_ALL = "GMAC and ms per clip are for all of them."


def kept_epoch_text(arguments: Mapping) -> str:
    """Return which epoch's weights the models have, see `kept_epoch`."""
    if arguments["keep"] == "best":
        return "The best epoch is chosen on validation clips."
    early = "" if arguments["patience"] is None else ", or after an early stop the best on validation clips"
    return f"The last epoch is kept{early}."


def report(
    cells: Sequence[Cell],
    groups: np.ndarray | None,
    leaks: dict[str, dict],
    seen: dict[Cell, CellSeen],
    arguments: dict,
    folder: Path,
) -> dict:
    """Print the table of the tested cells and write results.csv, .json and .md, report.html and figures to `folder`.

    groups: the group of each row of the arrays (N,), or None. leaks: LeakReport.as_dict by fold. seen: what each cell
    has seen. Returns the content of results.json, in which only "times" differs between two equal experiments.
    """
    lines, chosen = lines_of(cells, seen)
    alone = next(line for line in lines if line.role == "alone")
    teachers = {line.teacher: line for line in lines if line.role == "teacher"}
    rows = [summarise(line, alone, teachers.get(line.teacher), groups) for line in lines]
    times = {
        "training_seconds": {line.name: float(np.mean([t["seconds"] for t in line.trainings])) for line in lines},
        "milliseconds_per_clip": milliseconds(lines),
        "all_trainings_seconds": sum(cell.read("trained")["seconds"] for cell in cells),
        "hardware": hardware(),
    }
    results = {"rows": rows, "chosen": chosen, "arguments": plain(arguments), "versions": installed_versions()}
    results |= {"leaks": leaks, "times": times}
    cells, notes = table_rows(rows, times), caption(lines, rows, results)
    print(f"{notes}\n\n{screen_table(HEADER, cells)}")
    links = "\n".join(f"![{FIGURES[name]}]({name}.png)" for name in figure_names(rows))
    write_text(folder / "results.md", f"{markdown_table(HEADER, cells)}\n\n{notes}\n\n{links}\n")
    write_json(folder / "results.json", results)
    run_header, by_run = runs(lines, seen)
    write_csv(folder / "results.csv", run_header, by_run)
    page = ExperimentReport(
        results=results,
        header=HEADER,
        cells=cells,
        notes=notes.splitlines(),
        runs=[dict(zip(run_header, run)) for run in by_run],
        links={cell.folder.name: link_to(cell) for line in lines for cell in line.cells.values()},
        conditions=Conditions(command_line(), times["hardware"]),
        folder=folder,
    )
    write_experiment_page(folder / "report.html", page)
    print(f"\nall results: {folder / 'report.html'}")
    return results


def milliseconds(lines: Sequence[Line]) -> dict[str, float | None]:
    """Measure the ms per clip of each line, for all views of the test, once per size of network.

    None for a given teacher with scores, whose network is unknown.
    """
    measured, by_name = {}, {}
    for line in lines:
        cell, test = next(iter(line.cells.values())), next(iter(line.tests.values()))
        files = cell.teaching_files if cell.parts else (cell.model_path,)
        size = (test["parameters"], test["multiply_accumulates"])
        if any(path.suffix == SCORES_SUFFIX for path in files):
            by_name[line.name] = None
            continue
        if size not in measured:
            models = (load_recognizer(path, argument="--output_path").model for path in files)
            measured[size] = cell.views.count * sum(map(milliseconds_per_clip, models))
        by_name[line.name] = measured[size]
    return by_name


def table_rows(rows: Sequence[dict], times: dict) -> list[list[str]]:
    """Return the cells below HEADER. Of given teachers, the time of training is unknown, and costs may be."""
    cells = []
    for row in rows:
        is_given = row["role"] == "teacher" and row["teacher"] not in TRAINED_TEACHERS
        cells.append(
            [
                row["name"],
                percent_with_interval(row["interval"]),
                "-" if row["minus_alone"] is None else points(row["minus_alone"]),
                number_text(row["gap_closed"], "{:.0f} %", 100),
                f"{100 * row['validation_accuracy']:.1f} %{', seen' * (row['validation_clips_trained_on'] > 0)}",
                seen_cell(row["seen"]),
                number_text(row["multiply_accumulates"], "{:.3f}", 1e-9),
                number_text(times["milliseconds_per_clip"][row["name"]], "{:.1f}"),
                number_text(row["parameters"], "{:,}"),
                number_text(row["megabytes"], "{:.1f}"),
                "-" if is_given else f"{times['training_seconds'][row['name']]:.0f}",
            ]
        )
    return cells


def caption(lines: Sequence[Line], rows: Sequence[dict], results: dict) -> str:
    """Describe the conditions of the results: protocol, intervals, networks, leaks, time, machine and versions."""
    arguments, times = results["arguments"], results["times"]
    seeds, folds = (unique(run[part] for run in lines[0].cells) for part in (0, 1))
    size = "x".join(str(side) for side in arguments["input_size"])
    protocol = (
        f"{rows[0]['clips']} test clips. Folds: {', '.join(folds)} (split seed {arguments['split_seed']}). Training "
        f"seeds: {' '.join(map(str, seeds))}. {kept_epoch_text(arguments)}\n"
        f"Interval: {interval_notes(rows)} Differences are paired.{verdicts(rows)}\n"
        f"{SEEN_NOTE}\n"
        "Gap closed: (student - student alone) / (teacher - student alone), given if the teacher's lead is significant."
    )
    networks = (
        f"Student: {frames_text(arguments)}width {arguments['student_width']:g}, {arguments['student_epochs']} epochs. "
        f"Input {size}, batch size {arguments['batch_size']}."
    )
    if {line.teacher for line in lines} & set(TRAINED_TEACHERS):
        teacher = f"C3D of width {arguments['teacher_width']:g}, {arguments['teacher_epochs']} epochs"
        networks = f"Trained teacher: {teacher}, all labels. {networks}"
    text = [*seen_notes(rows), protocol, networks]
    if arguments["test_views"] > 1:
        text.append(f"Test: mean probabilities over {arguments['test_views']} views per clip, in all rows; {FOR_ALL}")
    if arguments["labels_per_class"] is not None:
        text.append(f"Labels for the students: {arguments['labels_per_class']} per class.")
    if results["chosen"]:
        choices = [
            f"{c['fold']}: T {c['temperature']:g}, alpha {c['alpha']:g} ({c['teacher']})" for c in results["chosen"]
        ]
        text.append(f"Chosen on validation clips: {'; '.join(choices)}.")
    counts = [f"{found['leaking_test_clips']} of {found['test_clips']}" for found in results["leaks"].values()]
    places = "training, validation or unlabelled clips" if arguments["unlabelled"] else "training or validation"
    text.append(f"Test clips that leak (same group or near-duplicate in {places}): {', '.join(counts)}.")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    text.append(f"{times['all_trainings_seconds'] / 60:.0f} minutes of training on {times['hardware']}; {versions}.")
    return "\n".join(text)


def seen_notes(rows: Sequence[dict]) -> list[str]:
    """Describe which recognisers have seen test clips, or were validated on their own training clips."""
    notes = [line for row in rows for line in warnings(row["name"], row["seen"])]
    notes += [
        f"warning: {row['name']} was trained on {row['validation_clips_trained_on']} of its validation clips."
        for row in rows
        if row["validation_clips_trained_on"]
    ]
    return notes


def frames_text(arguments: dict) -> str:
    """Return the settings of a student frames:NAME as the beginning of a list; nothing for other students."""
    if backbone_name(arguments["student"]) is None:
        return ""
    names = ("student", "student_weights", "mixing", "student_frames")
    student, weights, mixing, frames = (arguments[name] for name in names)
    counted = "1 frame" if frames == 1 else f"{frames} frames"
    return f"{student}, weights {weights}, mixing {mixing}, {counted}, "


def interval_notes(rows: Sequence[dict]) -> str:
    """Describe the interval of the first row, and those of other rows where they differ."""
    names = {}
    for row in rows:
        names.setdefault(f"{row['interval']['method']}. {row['interval']['caution']}".strip(), []).append(row["name"])
    first, *others = names
    return " ".join([first, *(f"For {', '.join(names[note])}: {note}" for note in others)])


def verdicts(rows: Sequence[dict]) -> str:
    """Describe which differences from the student alone are significant."""
    names = {}
    for row in rows:
        if row["minus_alone"] is not None:
            names.setdefault(row["minus_alone"]["verdict"], []).append(row["name"])
    return "".join(f"\nMinus student alone, {verdict}: {'; '.join(found)}." for verdict, found in names.items())


def runs(lines: Sequence[Line], seen: dict[Cell, CellSeen]) -> tuple[list[str], list[list]]:
    """Return header and rows of results.csv: one row per line of the table, fold and seed."""
    header = ["recogniser", "role", "teacher", "temperature", "alpha", "fold", "seed"]
    header += ["validation_accuracy", "test_accuracy", "test_clips", "seen_test_clips", "parameters"]
    header += ["multiply_accumulates", "megabytes", "training_seconds", "cell"]
    found = []
    for line in lines:
        for (seed, fold), cell in line.cells.items():
            trained, tested, row = cell.read("trained"), cell.read("tested"), cell.row
            values = [line.name, line.role, row.teacher, row.temperature, row.alpha, fold, seed]
            values += [trained["validation_accuracy"], tested["top1"], len(tested["rows"])]
            values.append(seen_cell(seen[cell].test.as_dict()))
            values += [tested[name] for name in ("parameters", "multiply_accumulates", "megabytes")]
            found.append([*values, f"{trained['seconds']:.1f}", cell.folder.name])
    return header, found
