"""Work done ahead by threads keeps its order and stops when it is no longer needed."""

import itertools
import threading

from utils.base.threads import read_ahead


def test_results_come_in_order_with_their_items():
    """An answer would be printed for another video."""
    second_is_read = threading.Event()

    def read(item):
        if item == 0:
            assert second_is_read.wait(30)  # the first result is the last one to be ready
        elif item == 1:
            second_is_read.set()
        return item * item

    found = list(read_ahead(read, range(6), threads=2, ahead=3))
    assert found == [(item, item * item) for item in range(6)]


def test_no_more_items_are_read_than_asked_for():
    """A folder of thousands of videos would be decoded into memory at once, or after Ctrl-C."""
    read = []
    results = read_ahead(read.append, itertools.count(), threads=1, ahead=4)
    assert next(results)[0] == 0
    results.close()
    assert len(read) <= 5
