"""The front matter of a card: metadata of the Hugging Face Hub in YAML, of which the user's keys are kept.

Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. huggingface_hub.ModelCard writes the same keys,
but drops the comments and the order of the user, takes 0.6 s to import and needs nine further packages. Tests read the
cards with it.
"""

import re
from pathlib import Path

import yaml

from utils.base.errors import UserError, first_line
from utils.runs.card_names import one_line, protocol_without_folders
from utils.runs.record import Record

LICENSE = '# license: choose one, for example "license: apache-2.0", and remove this comment'
TASK = "video-classification"
METRIC = "Accuracy on test clips (video-action-distillation)"  # marks our result in model-index
UNSPECIFIC = ("frames", "arrays", "/", "..")  # names of folders that do not name a data set
FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\n(?P<yaml>.*?)(?<![^\n])---[ \t]*(?:\n|\Z)", re.DOTALL)


def dataset_name(data: str | Path | None) -> str:
    """Return the name of the folder of the arrays, of a folder above it if it is unspecific, or "unnamed"."""
    folders = Path(data or "").parts[:-1]
    names = [name for name in folders if name not in UNSPECIFIC]
    return one_line(names[-1]) if names else "unnamed"


def metadata_of(record: Record) -> dict:
    """Return the keys that every card has; the result of a test is `result_of_test`."""
    tags = ["action-recognition"]
    if record.is_distilled:
        tags.append("knowledge-distillation")
    return {"library_name": "keras", "pipeline_tag": TASK, "tags": tags}


def result_of_test(record: Record) -> dict | None:
    """Return the entry of model-index for the test in a record.

    None if there is none, or if the model may have seen its test clips: then it is no test accuracy.
    """
    test = record.test
    if test is None or not test.is_unseen:
        return None
    name = dataset_name(record.arguments.data)
    return {
        "task": {"type": TASK, "name": "Video classification"},
        "dataset": {
            "type": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "custom",
            "name": name,
            "split": "test",
            "args": {"protocol": one_line(protocol_without_folders(test.protocol))},
        },
        "metrics": [{"type": "accuracy", "value": round(test.accuracy, 4), "name": METRIC}],
    }


def with_metadata(text: str, record: Record, model_name: str, *, what: str) -> str:
    """Return the text of a card with the front matter of a record.

    Keys that the text has are kept, and so are other results in model-index, comments and the order. Raises UserError
    that starts with `what` if the front matter of the text is not a YAML mapping.
    """
    match = FRONT_MATTER.match(text)
    block, body = (match["yaml"], text[match.end() :]) if match else (f"{LICENSE}\n", f"\n{text.lstrip()}")
    found = mapping(block, what=what)
    wanted = metadata_of(record) | found
    index = merged_index(found.get("model-index"), Path(model_name).stem, result_of_test(record))
    wanted = {key: value for key, value in wanted.items() if key != "model-index"}
    if index:
        wanted["model-index"] = index
    edited = block
    for key in ("library_name", "pipeline_tag", "tags", "model-index"):
        if wanted.get(key) != found.get(key):
            edited = with_key(edited, key, wanted.get(key))
    if not is_mapping(edited, wanted):  # unusual YAML, such as a flow mapping
        edited = dumped(wanted)
    return f"---\n{edited.rstrip()}\n---\n{body}"


def mapping(block: str, *, what: str) -> dict:
    """Parse front matter. Raises UserError that starts with `what` if it is not a YAML mapping."""
    try:
        found = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an impossible date
        raise UserError(f"{what} must start with YAML between two lines of ---, found {first_line(error)}") from None
    if found is not None and not isinstance(found, dict):
        raise UserError(
            f"{what} must start with a YAML mapping between two lines of ---, found a {type(found).__name__}"
        )
    return found or {}


def is_mapping(block: str, wanted: dict) -> bool:
    try:
        return (yaml.safe_load(block) or {}) == wanted
    except yaml.YAMLError:
        return False


def merged_index(found, model_name: str, result: dict | None) -> list | None:
    """Return a model-index in which our result, marked by METRIC, is replaced by `result` or removed if it is None.

    Results of the user stay. A `found` that is no model-index is kept as it is.
    """
    entries = [] if found is None else found
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return found
    model_name = one_line(model_name)
    merged, home = [], None
    for entry in entries:
        if isinstance(results := entry.get("results"), list):
            entry = entry | {"results": [each for each in results if not is_ours(each)]}
            if home is None and (len(entry["results"]) < len(results) or entry.get("name") == model_name):
                home = entry
        merged.append(entry)
    if result is not None:
        if home is None:
            home = {"name": model_name, "results": []}
            merged.insert(0, home)
        home["results"].insert(0, result)
    return [entry for entry in merged if entry.get("results") != []] or None


def is_ours(result) -> bool:
    metrics = result.get("metrics") if isinstance(result, dict) else None
    return isinstance(metrics, list) and any(
        isinstance(metric, dict) and metric.get("name") == METRIC for metric in metrics
    )


def with_key(block: str, key: str, value) -> str:
    """Return YAML lines in which a top-level key has another value, or is removed if it is None; other lines stay."""
    lines = block.splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(rf"[\"']?{re.escape(key)}[\"']?\s*:", line)]
    new = dumped({key: value}).splitlines() if value is not None else []
    if not starts:
        return "\n".join([*lines, *new])
    start = end = starts[0]
    for number in range(start + 1, len(lines)):
        if re.match(r"[^\s#-]", lines[number]):  # the next key
            break
        if not re.match(r"\s*(#|$)", lines[number]):
            end = number
    return "\n".join([*lines[:start], *new, *lines[end + 1 :]])


def dumped(content: dict) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)
