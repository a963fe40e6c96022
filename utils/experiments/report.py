"""What an experiment found, for people and programs: table with caption, CSV, JSON, figures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.evaluation.figures import AccuracyBars, AccuracyByCost, AccuracyByTemperature
from utils.evaluation.tables import markdown_table, percent_with_interval, unique
from utils.experiments.cells import Cell
from utils.experiments.lines import Line, lines_of, summarise
from utils.networks.cost import milliseconds_per_clip
from utils.networks.recognizer import load_recognizer
from utils.runtime.devices import hardware, installed_versions
from utils.runtime.drawing import save_figure
from utils.runtime.files import plain, write_csv, write_json, write_text


def report(
    cells: Sequence[Cell], groups: np.ndarray | None, leaks: dict[str, dict], arguments: dict, folder: Path
) -> dict:
    """Prints the table of tested cells and writes results.csv, .json, .md and figures to `folder`; returns the JSON.

    groups: the group of each row of the arrays (N,), or None. leaks: LeakReport.as_dict by fold. In the JSON all that
    differs between two equal experiments (seconds, machine) stands under "times".
    """
    lines, chosen = lines_of(cells)
    alone = next(line for line in lines if line.role == "alone")
    teachers = {line.teacher: line for line in lines if line.role == "teacher"}
    speed = milliseconds(lines)
    rows = [
        summarise(line, alone, teachers.get(line.teacher), groups) | {"milliseconds_per_clip": speed[line.name]}
        for line in lines
    ]
    seconds = {line.name: float(np.mean([t["seconds"] for t in line.trainings])) for line in lines}
    times = {
        "training_seconds": seconds,
        "milliseconds_per_clip": {row["name"]: row.pop("milliseconds_per_clip") for row in rows},
        "all_trainings_seconds": sum(cell.read("trained")["seconds"] for cell in cells),
        "hardware": hardware(),
    }
    results = {"rows": rows, "chosen": chosen, "arguments": plain(arguments), "versions": installed_versions()}
    results |= {"leaks": leaks, "times": times}
    text = f"{result_table(rows, times)}\n\n{caption(lines, rows, results)}"
    print(text)
    write_text(folder / "results.md", text + "\n")
    write_json(folder / "results.json", results)
    write_csv(folder / "results.csv", *runs(lines))
    save_figure(AccuracyBars([row["name"] for row in rows], [row["interval"] for row in rows]), folder / "results.png")
    save_figure(AccuracyByCost([row for row in rows if row["parameters"]]), folder / "accuracy_by_cost.png")
    if len({line.row.temperature for line in lines if line.row and line.role == "distilled"}) > 1:
        save_figure(AccuracyByTemperature(rows), folder / "accuracy_by_temperature.png")
    print(f"everything is in {folder}")
    return results


def milliseconds(lines: Sequence[Line]) -> dict[str, float | None]:
    """ms a clip by line; networks of one size are measured once, since they cost the same; None for given teachers."""
    measured, by_name = {}, {}
    for line in lines:
        test = next(iter(line.tests.values()))
        if test["parameters"] is None:
            by_name[line.name] = None
            continue
        size = (test["parameters"], test["multiply_accumulates"])
        if size not in measured:
            model_path = next(iter(line.cells.values())).model_path
            measured[size] = milliseconds_per_clip(load_recognizer(model_path, argument="--output_path").model)
        by_name[line.name] = measured[size]
    return by_name


def points(interval: dict | None) -> str:
    """A difference in percentage points, with its interval."""
    if interval is None:
        return "-"
    text = f"{100 * interval['estimate']:+.1f}"
    if interval["low"] is None:
        return text
    return f"{text} ({100 * interval['low']:+.1f} to {100 * interval['high']:+.1f})"


def result_table(rows: Sequence[dict], times: dict) -> str:
    """The table in Markdown."""
    header = ["recogniser", "validation", "test accuracy (95 % interval)", "minus student alone", "gap closed"]
    header += ["parameters", "GMAC", "MB", "ms a clip", "training (s)"]
    cells = [
        [
            row["name"],
            f"{100 * row['validation_accuracy']:.1f} %",
            percent_with_interval(row["interval"]),
            points(row["minus_alone"]),
            "-" if row["gap_closed"] is None else f"{100 * row['gap_closed']:.0f} %",
            *costs(row, times),
        ]
        for row in rows
    ]
    return markdown_table(header, cells)


def costs(row: dict, times: dict) -> list[str]:
    """What a network costs, in the columns of the table; of a given teacher it is not known."""
    if row["parameters"] is None:
        return ["-"] * 5
    return [
        f"{row['parameters']:,}",
        f"{row['multiply_accumulates'] / 1e9:.3f}",
        f"{row['megabytes']:.1f}",
        f"{times['milliseconds_per_clip'][row['name']]:.1f}",
        f"{times['training_seconds'][row['name']]:.0f}",
    ]


def caption(lines: Sequence[Line], rows: Sequence[dict], results: dict) -> str:
    """How the numbers were made: protocol, networks, time, machine and versions."""
    arguments, times = results["arguments"], results["times"]
    seeds, folds = (unique(run[part] for run in lines[0].cells) for part in (0, 1))
    size = "x".join(str(side) for side in arguments["input_size"])
    protocol = (
        f"{rows[0]['clips']} test clips; folds: {', '.join(folds)} (split seed {arguments['split_seed']}); training "
        f"seeds: {' '.join(map(str, seeds))}; the kept epoch is chosen on validation clips. "
        f"Interval: {interval_notes(rows)} Differences are paired. Gap closed: (student - student alone) / (teacher - "
        "student alone), where the interval of the teacher's lead is above 0."
    )
    networks = (
        f"C3D of width {arguments['teacher_width']:g} for {arguments['teacher_epochs']} epochs, student of width "
        f"{arguments['student_width']:g} for {arguments['student_epochs']}, input {size}, batch "
        f"{arguments['batch_size']}."
    )
    text = [protocol, networks]
    if arguments["labels_per_class"] is not None:
        text.append(f"The teacher learns from all labels, the students from {arguments['labels_per_class']} a class.")
    if results["chosen"]:
        choices = [
            f"{c['fold']}: T {c['temperature']:g}, alpha {c['alpha']:g} ({c['teacher']})" for c in results["chosen"]
        ]
        text.append(f"Chosen by validation: {'; '.join(choices)}. Test clips take no part in the choice.")
    counts = [f"{found['leaking_test_clips']} of {found['test_clips']}" for found in results["leaks"].values()]
    text.append(f"Test clips that share a group or look alike with a training or validation clip: {', '.join(counts)}.")
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    text.append(f"{times['all_trainings_seconds'] / 60:.0f} minutes of training on {times['hardware']}; {versions}.")
    return "\n".join(text)


def interval_notes(rows: Sequence[dict]) -> str:
    """How the intervals were made, and of which rows where not all were made in the way of the first."""
    names = {}
    for row in rows:
        names.setdefault(f"{row['interval']['method']}. {row['interval']['caution']}".strip(), []).append(row["name"])
    first, *others = names
    return " ".join([first, *(f"Of {', '.join(names[note])}: {note}" for note in others)])


def runs(lines: Sequence[Line]) -> tuple[list[str], list[list]]:
    """Header and rows of results.csv: one row a line of the table, fold and seed."""
    header = ["recogniser", "role", "teacher", "temperature", "alpha", "fold", "seed"]
    header += ["validation_accuracy", "test_accuracy", "test_clips", "parameters", "multiply_accumulates", "megabytes"]
    header += ["training_seconds", "cell"]
    found = []
    for line in lines:
        for (seed, fold), cell in line.cells.items():
            trained, tested, row = cell.read("trained"), cell.read("tested"), cell.row
            about = [line.name, line.role, row.teacher, row.temperature, row.alpha, fold, seed]
            sizes = [tested[name] for name in ("parameters", "multiply_accumulates", "megabytes")]
            about += [
                trained["validation_accuracy"],
                tested["top1"],
                len(tested["rows"]),
                *sizes,
                f"{trained['seconds']:.1f}",
            ]
            found.append([*about, cell.folder.name])
    return header, found
