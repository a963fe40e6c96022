"""The file of a card: generated blocks are replaced, and everything else, which users may edit, is kept."""

import os
import re
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import read_limited, write_text
from utils.runs.card_metadata import with_metadata
from utils.runs.card_names import shown
from utils.runs.card_sections import sections
from utils.runs.files import CARD_BLOCK, MOST_CARD_BYTES
from utils.runs.paths import card_path
from utils.runs.record import Record

BEGIN = re.compile(rf"^{re.escape(CARD_BLOCK)}(\w+) -->$", re.MULTILINE)
BLOCK = re.compile(
    rf"^{re.escape(CARD_BLOCK)}(?P<name>\w+) -->\n(?:.*?\n)?<!-- end generated: (?P=name) -->$",
    re.DOTALL | re.MULTILINE,
)
HEADINGS = {
    "model": "Model",
    "data": "Data",
    "accuracy": "Accuracy",
    "cost": "Size and speed",
    "training": "Training",
    "limits": "Limits",
}
NEW_CARD = """
# {title}

<!-- Blocks between "begin generated" and "end generated" are replaced after each training and test. Other text and
metadata are kept. -->
{blocks}
## Licence

The publisher of this model has not chosen a licence yet.
"""


def card_text(record: Record, model_name: str, former: str | None = None, *, what: str = "") -> str:
    """Return the card of the model file `model_name` with this record.

    former: the text of the existing card. Its generated blocks are replaced; blocks that it lacks are not added. Raises
    UserError that starts with `what` if it is no card.
    """
    generated = sections(record, model_name)
    if former is None:
        blocks = "\n".join(f"\n## {HEADINGS[name]}\n\n{block(name, text)}" for name, text in generated.items())
        former = NEW_CARD.format(title=shown(Path(model_name).stem), blocks=f"{blocks}\n")
    elif not BEGIN.search(former):
        raise UserError(f"{what} must be a model card with generated blocks, found another file; move it away")
    if (begun := len(BEGIN.findall(former))) != (whole := len(BLOCK.findall(former))):
        raise UserError(f"{what} must have an end for each of its {begun} generated blocks, found {whole}")

    def replaced(match: re.Match) -> str:
        name = match["name"]
        return block(name, generated[name]) if name in generated else match[0]

    return with_metadata(BLOCK.sub(replaced, former), record, model_name, what=what)


def block(name: str, text: str) -> str:
    """Return a generated block between its markers."""
    return f"{CARD_BLOCK}{name} -->\n{text}\n<!-- end generated: {name} -->"


def write_card(model_path: Path, record: Record) -> Path:
    """Write or update the card of a model, atomically; return its path.

    Raises UserError, and leaves the file as it is, if it is no card, or if its blocks or its metadata are broken.
    """
    path, former, newline = card_path(model_path), None, "\n"
    if os.path.lexists(path):
        try:
            former = read_limited(path, what=str(path), limit=MOST_CARD_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{path} must be UTF-8 text, found other bytes") from None
        newline = "\r\n" if "\r\n" in former else "\n"
        former = former.replace("\r\n", "\n")
    text = card_text(record, model_path.name, former, what=str(path))
    write_text(path, text.replace("\n", newline))
    return path


def write_card_or_note(model_path: Path, record: Record) -> bool:
    """Write the card of a model. If that is impossible, print a note and return False: results must not be lost."""
    try:
        write_card(model_path, record)
    except UserError as error:
        print(f"note: the model card was not updated: {error}")
        return False
    return True
