"""The processes that train together: which one this is, and how they agree.

Without `processes_joined` (joining.py) there is one process, and nothing here has an effect. Files are shared by the
file system; short texts go through the key-value store of JAX's coordination service, numbers through its collectives.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

from utils.base.errors import UserError, first_line

POLL_SECONDS = 0.2


class Group:
    """State of this process: its number, the number of processes, and the client of the coordination service."""

    number, count, client = 0, 1, None
    uses: dict[str, int] = {}  # noqa: RUF012 - of each name in the key-value store, which keeps its keys
    saved: Callable[[], str] = staticmethod(lambda: "nothing is saved")


class ProcessLost(UserError):
    """Another process was killed, has crashed or cannot be reached, as `cause` shows; the run can be resumed."""

    def __init__(self, cause: Exception | None = None):
        reason = f" ({first_line(cause)[:160]})" if cause else ""
        super().__init__(f"another process was killed, has crashed or cannot be reached{reason}: {Group.saved()}")


def count() -> int:
    """Return the number of processes."""
    return Group.count


def number() -> int:
    """Return the number of this process, from 0."""
    return Group.number


def is_main() -> bool:
    """Return whether this is process 0, which alone prints and writes files."""
    return Group.number == 0


def report_saved(saved: Callable[[], str]) -> None:
    """Set the function that says what is saved, for the message when another process is lost."""
    Group.saved = staticmethod(saved)


@contextlib.contextmanager
def main_first(what: str) -> Iterator[None]:
    """Run the block in process 0, and then in the others, which find the files that it has written."""
    if Group.count == 1:
        yield
        return
    key = _new_key(what)
    if not is_main():
        _value_of(key)
    yield
    if is_main():
        Group.client.key_value_set(key, "done")


def wait_for_main(what: str) -> None:
    """Wait in the other processes until process 0 calls this as well."""
    with main_first(what):
        pass


def value_of_main(what: str, value: str) -> str:
    """Return the `value` of process 0, a short text."""
    if Group.count == 1:
        return value
    key = _new_key(what)
    if is_main():
        Group.client.key_value_set(key, value)
        return value
    return _value_of(key)


def array_of_main(values):
    """Return the array, or the list of arrays, of process 0. All processes must call this at the same point."""
    if Group.count == 1:
        return values
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(values)


def _new_key(what: str) -> str:
    """Return a key that is new in each use; all processes use the names in the same order."""
    Group.uses[what] = Group.uses.get(what, 0) + 1
    return f"{what}/{Group.uses[what]}"


def _value_of(key: str) -> str:
    """Return the value of a key once it is set; signals interrupt the waiting."""
    while True:
        try:
            return Group.client.key_value_try_get(key)
        except Exception as error:
            if "NOT_FOUND" not in str(error):
                raise ProcessLost(error) from None
        time.sleep(POLL_SECONDS)
