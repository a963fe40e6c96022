"""Names and paths from users, as Markdown text and as words of a shell command."""

import re
import shlex
from pathlib import Path

from utils.base.drawing import label

LONGEST = 1000  # characters of a name or sentence
MARKUP = re.compile(r"([\\`*_\[\]~|$])")
ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
ABSOLUTE = re.compile(r"(?<![\w./:])~?(?:/[^\s/,;:()]+)+")
SPLIT_BY_FILE = re.compile(r"(list|like):(.+)", re.DOTALL)


def one_line(text: str) -> str:
    """Return a text from a user on one line, without control and formatting characters, shortened if it is long."""
    return label(text, longest=LONGEST).strip()


def shown(text: str) -> str:
    """Return `one_line` of a text for Markdown, in which its markup and HTML have no effect."""
    return MARKUP.sub(r"\\\1", one_line(text)).translate(ENTITIES)


def file_name(path: str) -> str:
    """Return the last part of a path: cards are published, and folders may tell who the user is."""
    return Path(path).name or path


def protocol_without_folders(protocol: str) -> str:
    """Return a split protocol in which list:FILE and like:MODEL name only the file."""
    found = SPLIT_BY_FILE.fullmatch(protocol)
    return f"{found[1]}:{file_name(found[2])}" if found else protocol


def without_folders(text: str, arguments: dict) -> str:
    """Return a sentence in which paths are file names: those in the arguments of a record, and absolute ones.

    The group pattern, a regular expression that may look like a path, is kept.
    """
    if pattern := arguments.get("group_pattern"):
        others = {name: value for name, value in arguments.items() if name != "group_pattern"}
        return pattern.join(without_folders(part, others) for part in text.split(pattern))
    values = [item for value in arguments.values() for item in (value if isinstance(value, list) else [value])]
    paths = [SPLIT_BY_FILE.sub(r"\2", value) for value in values if isinstance(value, str) and "/" in value]
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, file_name(path))
    return ABSOLUTE.sub(lambda match: file_name(match[0]), text)


def quoted(word: str) -> str:
    """Return a word for a shell command on one line; line breaks and control characters become $'...' escapes."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_in_quotes, word))}'"


def _in_quotes(character: str) -> str:
    """Return a character for $'...'; bytes of an undecodable file name are surrogates in Python."""
    if character in "\\'":
        return f"\\{character}"
    if character.isprintable():
        return character
    is_byte = "\udc80" <= character <= "\udcff"
    encoded = character.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def code_block(text: str) -> str:
    """Return a block of shell code, with a fence that is longer than any row of backticks in it."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}bash\n{text}\n{fence}"
