"""Ctrl-C and SIGTERM: the first signal ends the run after the current step, a second one at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """Raised when the signal `number` asks the run to end. The message is one line for the user."""

    def __init__(self, message: str = "interrupted", number: int = signal.SIGINT):
        super().__init__(message)
        self.number = number


def raise_interrupted(number: int, frame) -> None:
    """Raise Interrupted: a signal handler that interrupts the main thread wherever it is."""
    raise Interrupted(number=number)


@contextlib.contextmanager
def between_steps() -> Iterator[Callable[[], None]]:
    """Yield a function to call after each step; it raises Interrupted if SIGINT or SIGTERM arrived during the step.

    A second signal ends the process at once. A thread listens for it through a pipe, because Python runs signal
    handlers only after TensorFlow has returned from a step, which may take seconds. Python delivers signals to the
    main thread only; in other threads the yielded function does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    received: list[int] = []

    def check() -> None:
        if received:
            raise Interrupted(number=received[0])

    # Signals that are ignored, as in background jobs of a shell script, stay ignored.
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
    received = 0
    while content := os.read(pipe, 1):
        if content[0] in numbers:
            received += 1
            if received > 1:
                os._exit(128 + content[0])
            if sys.stderr is not None and sys.stderr.isatty():
                print("\nstopping after this step; press Ctrl-C again to stop now", file=sys.stderr, flush=True)
