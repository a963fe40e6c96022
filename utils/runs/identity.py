"""What identifies results: the keys of training states, of cells of an experiment and of the scores of teachers.

A result is used again only if its key is equal.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields

from utils.base.files import digest, plain
from utils.data.class_scores import ScoreKind
from utils.data.views import VERSION as VIEW_VERSION
from utils.runs.clips import split_rows
from utils.runs.loading import SplitDataset

# Incremented when equal settings give other weights than before, so that older states and cells are not reused.
VERSIONS = {"version of training": 1, "version of the views": VIEW_VERSION}
DIGEST = "sha256:"  # starts the digests among settings
DIGITS = r"(xxh3_128:)?[0-9a-f]{12,}"


def weight_settings(groups: Sequence) -> dict[str, object]:
    """Return the settings on which trained weights depend, by name: the keyed fields of the dataclasses `groups`."""
    keyed = [(group, part.name) for group in groups for part in fields(group) if part.metadata.get("keyed", True)]
    return {name: getattr(group, name) for group, name in keyed}


def settings_of(options: Sequence, data: SplitDataset, files: Mapping[str, str | None]) -> dict:
    """Return everything that the weights of a training depend on, as plain values by command-line argument.

    `options` are dataclasses; `files` are digests of further inputs by argument.
    """
    settings = {f"--{name}": value for name, value in plain(weight_settings(options)).items()}
    contents = {"--data": data.dataset.fingerprint(), "split of the clips": split_rows(data.split)}
    digests = {name: digest(json.dumps(content).encode()) for name, content in contents.items()} | dict(files)
    settings |= {name: DIGEST + value if value else None for name, value in digests.items()}
    settings |= VERSIONS
    return json.loads(json.dumps(settings))  # tuples become lists, as in a file


def scores_fingerprint(fingerprint: str, kind: ScoreKind | None) -> str:
    """Return the digest by which trainings know a source: that of its file and of how its scores are read.

    `kind` is None for a network.
    """
    return fingerprint if kind is None else digest(f"{fingerprint} {kind}".encode())


def key_digest(key: dict) -> str:
    """Return a short name for a key: 12 hexadecimal digits."""
    return digest(json.dumps(key, sort_keys=True).encode())[:12]


def differences(stored: dict, wanted: dict) -> str:
    """Return the entries of `wanted` in which a stored key differs, as text; empty if there are none."""
    found = []
    for name, value in wanted.items():
        if name not in stored:
            found.append(f"{name} is missing there")
        elif stored[name] != value:
            is_digest = isinstance(value, str) and re.fullmatch(DIGITS, value)
            found.append(f"{name} differs" if is_digest else f"{name} is {stored[name]} there and {value} here")
    return "; ".join(found)
