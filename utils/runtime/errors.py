"""The one exception for what a user can put right, and errors of others told in a line."""

import contextlib
from collections.abc import Iterator


class UserError(ValueError):
    """A mistake in arguments, files or data that the user can mend.

    The message is one line that names the argument or file, what was expected and what was found. The scripts print it
    as `error: MESSAGE` on stderr and leave with exit code 2, without a traceback.
    """


def first_line(error: Exception) -> str:
    """The first line of an error's message that is not blank, or the name of its type if there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def as_user_error(prefix: str) -> Iterator[None]:
    """A ValueError of `models`, which know no arguments, as a UserError that names the argument."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{prefix}: {error}") from None
