"""Work done ahead by threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], *, threads: int, ahead: int, name: str = "reader"
) -> Iterator[tuple[Item, Result]]:
    """Yield (item, result of `read`) in order, with up to `ahead` calls waiting, running or finished in the threads.

    If the iterator is closed early, calls that have not begun are cancelled.
    """
    pool, pending = ThreadPoolExecutor(threads, thread_name_prefix=name), deque[tuple[Item, Future]]()
    try:
        for item in items:
            pending.append((item, pool.submit(read, item)))
            if len(pending) > ahead:
                item, future = pending.popleft()
                yield item, future.result()
        while pending:
            item, future = pending.popleft()
            yield item, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
