"""Progress output: a bar on a terminal, otherwise (a pipe, a cron job) a line every 30 seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30


def duration(seconds: float) -> str:
    """Format a duration: "45 s", "12 min" or "3 h 20 min"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def progress(total: int | None, *, done: int = 0, unit: str, delay: float = 0) -> Iterator[Callable[..., None]]:
    """Yield a function to call with the number of finished units, by default 1; progress is written to stderr.

    `total` is None if unknown. `done` is the number of units that an earlier run has finished. Nothing is shown in the
    first `delay` seconds.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        with tqdm(total=total, initial=done, unit=f" {unit}", dynamic_ncols=True, delay=delay) as bar:
            yield bar.update
        return
    start = last_line = time.monotonic()
    count = done

    def advance(finished: int = 1) -> None:
        nonlocal count, last_line
        count += finished
        now = time.monotonic()
        if now - last_line >= SECONDS_BETWEEN_LINES:
            last_line = now
            rate = (count - done) / (now - start)
            of_total = f"{count}" if total is None else f"{count}/{total}"
            left = "" if total is None else f", {duration(max(total - count, 0) / rate)} left"
            print(f"{of_total} {unit}, {rate:.1f}/s{left}", file=sys.stderr, flush=True)

    yield advance
