"""The protocol section of a page: data, split, leaks, what cannot be known, versions, commands and fingerprints."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from utils.base.machine import installed_versions
from utils.base.progress import duration
from utils.data.clips import ClipDataset
from utils.data.groups import Groups
from utils.data.leak_report import short_form
from utils.evaluation.pages import Table, table
from utils.evaluation.tables import unique
from utils.evaluation.testing import Predictions, described


@dataclass(frozen=True)
class Conditions:
    """The circumstances of a test: its command, the machine, package versions and the date."""

    command: str
    hardware: str
    versions: dict[str, str] = field(default_factory=installed_versions)
    date: str = field(default_factory=lambda: f"{datetime.now():%Y-%m-%d %H:%M}")


def data_terms(
    predictions: Sequence[Predictions],
    results: Sequence[dict],
    dataset: ClipDataset,
    groups: Groups | None,
    conditions: Conditions,
) -> list[tuple[str, list[str]]]:
    """Return the terms of the whole test, each with its lines."""
    first = predictions[0].clips
    clips, frames, height, width, _ = dataset.frames.shape
    keys = None if groups is None else groups.keys[first.rows]
    counted = "none found in the names" if keys is None else f"{len(np.unique(keys))} in the test ({groups.pattern})"
    fingerprint = dataset.fingerprint()
    methods = [f"{result['interval']['method']}. {result['interval']['caution']}".strip() for result in results]
    leaks = [line for result in results if result["leaks"] for line in short_form(result["leaks"]).splitlines()]
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    return [
        ("Test clips", [f"{len(first.rows)} of {clips} clips, {frames} frames of {width}x{height} pixels"]),
        ("Split", unique(each.clips.protocol for each in predictions)),
        ("Groups", [counted]),
        ("Notes on the choice of clips", unique(note for each in predictions for note in each.clips.notes) or ["none"]),
        ("Intervals", [f"95 %, {method}" for method in unique(methods)]),
        ("Leaks", unique(leaks) or ["not searched, because the training clips are unknown"]),
        ("Fingerprint of the arrays", [f"{name}: {value}" for name, value in fingerprint.items() if name != "shape"]),
        ("Command", [conditions.command]),
        ("Machine", [conditions.hardware]),
        ("Versions", [versions]),
    ]


def unknown(predictions: Sequence[Predictions], results: Sequence[dict], groups: Groups | None) -> list[str]:
    """Return sentences on what the test cannot show."""
    found = [f"{reason}." for each in predictions for reason in each.clips.seen.unknown]
    if groups is None:
        found.append(
            "Groups are unknown: test clips may show the persons, films or places of training clips, and intervals "
            "treat clips as independent."
        )
    for result in results:
        unjudged = (result["leaks"] or {}).get("not_judged_test_clips")
        if unjudged:
            found.append(f"{unjudged} test clips have too little texture to find near-duplicates.")
        found += (result["leaks"] or {}).get("notes", [])
    found.append("The accuracy on other cameras, places and persons than those of the test clips was not measured.")
    return unique(found)


def recognizer_terms(predictions: Predictions) -> list[tuple[str, list[str]]]:
    """Return the terms of one recogniser: how it was made, by its record."""
    recognizer, record = predictions.recognizer, predictions.recognizer.record
    terms = [("File", [str(recognizer.path)])]
    if record is None:
        return [*terms, ("Training", ["unknown, because there is no record"])]
    split = record.split.as_split()
    sizes = f"{len(split.train)} training, {len(split.validation)} validation and {len(split.test)} test clips"
    arguments = record.arguments
    seeds = [f"seed {arguments.get('seed')}", f"view seed {arguments.view_seed}"]
    terms += [
        ("Kind", [record.kind]),
        ("Fingerprint of the file (SHA-256)", [record.fingerprint]),
        ("Split of the training", [f"{described(split)}: {sizes}"]),
        ("Training", [f"epoch {record.kept_epoch} kept, {duration(record.seconds)}", ", ".join(seeds)]),
        ("Training command", [recognizer.run.command]),
        ("Versions in training", [", ".join(f"{name} {version}" for name, version in record.versions.items())]),
    ]
    if record.teachers:
        terms.append(("Fingerprints of its teachers", record.teachers))
    return terms


def arguments_table(name: str, arguments: dict) -> Table:
    """Return the settings of a training or an experiment as a table."""
    rows = [[key, "none" if value is None else str(value)] for key, value in sorted(arguments.items())]
    return table(f"Settings of {name}", ["setting", "value"], rows, {1})
