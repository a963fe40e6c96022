"""Ctrl-C and SIGTERM: work ends between two steps, and a second one ends the process at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was asked to end by the signal `number`; the message is one line for the user."""

    def __init__(self, message: str = "interrupted", number: int = signal.SIGINT):
        super().__init__(message)
        self.number = number


def raise_interrupted(number: int, frame) -> None:
    """A signal handler that raises Interrupted, wherever the main thread is."""
    raise Interrupted(number=number)


@contextlib.contextmanager
def between_steps() -> Iterator[Callable[[], None]]:
    """Yields a function to call after each step; Interrupted is raised there, and not within a step, if asked for.

    A second signal ends the process at once. It is a thread that hears them, through a pipe: handlers written in
    Python wait until TensorFlow returns from its step, which may take seconds. Elsewhere than in the main thread, where
    Python hears no signals, the yielded function does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    received: list[int] = []

    def check() -> None:
        if received:
            raise Interrupted(number=received[0])

    # A signal that is ignored (a job in the background of a script) stays so.
    before = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before_pipe = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(reading, before), daemon=True)
    listener.start()
    try:
        for number in before:
            signal.signal(number, lambda number, _: received.append(number))
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_pipe)
        os.close(writing)
        listener.join()
        os.close(reading)
    check()


def _listen(pipe: int, numbers: Collection[int]) -> None:
    heard = 0
    while content := os.read(pipe, 1):
        if content[0] in numbers:
            heard += 1
            if heard > 1:
                os._exit(128 + content[0])
            if sys.stderr is not None and sys.stderr.isatty():
                print("\nending after this step; once more ends at once", file=sys.stderr, flush=True)
