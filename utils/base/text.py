"""Words and lines of messages."""

LONGEST_ERROR = 500  # characters


def one_line(text: str) -> str:
    """Return `text` on one line, shortened in the middle if it is very long."""
    line, half = " ".join(text.split()), LONGEST_ERROR // 2
    return line if len(line) <= LONGEST_ERROR else f"{line[:half]} ... {line[-half:]}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: "1 clip", "2 clips", or with an irregular `plural`, "2 classes"."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
