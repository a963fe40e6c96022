"""The exception for errors that the user can fix, and one-line forms of other exceptions."""

import contextlib
import re
from collections.abc import Iterator

LONGEST_LINE = 300


class UserError(ValueError):
    """An error in arguments, files or data that the user can fix.

    The message is one line. It names the argument or file, what was expected and what was found. Scripts print
    `error: MESSAGE` to stderr and exit with code 2, without a traceback.
    """


def first_line(error: Exception) -> str:
    """Return the first non-blank line of an exception's message, or its type's name if the message is blank.

    A line of more than LONGEST_LINE characters is cut. Of an exception that Keras caught while it read a configuration,
    which it quotes first, the line is that of the original exception.
    """
    text = str(error).rpartition("Exception encountered: ")[2]
    line = (text.strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."


def out_of_memory(error: Exception) -> str | None:
    """Describe in one line what did not fit into memory, for an error of Python, NumPy or the backend; else None."""
    text = " ".join(str(error).split())
    pattern = r"Unable to allocate .{,120}|OOM when allocating tensor with shape\[[^]]*\]|array is too big"
    pattern += "|(?<=RESOURCE_EXHAUSTED: ).{,120}"
    found = re.search(pattern, text)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if not found and not kinds & {"MemoryError", "ResourceExhaustedError"}:
        return None
    return found[0] if found else first_line(error)[:160]


@contextlib.contextmanager
def as_user_error(prefix: str) -> Iterator[None]:
    """Turn a ValueError of `models` into a UserError that names the argument: `models` knows no arguments."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{prefix}: {error}") from None
