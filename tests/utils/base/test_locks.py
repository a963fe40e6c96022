"""Lock files."""

import multiprocessing

import pytest

from utils.base.errors import UserError
from utils.base.locks import exclusive_lock


def hold_lock(path, ready, leave):
    with exclusive_lock(path, what="the output"):
        ready.set()
        leave.wait()


def test_a_lock_refuses_a_second_run_and_ends_with_its_owner(tmp_path):
    """Two runs would write to the same output, or the lock of a killed run would block every later run."""
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    owner = context.Process(target=hold_lock, args=(tmp_path / "lock", ready, leave), daemon=True)
    owner.start()
    assert ready.wait(120)
    with (
        pytest.raises(UserError, match="the output is in use by another run"),
        exclusive_lock(tmp_path / "lock", what="the output"),
    ):
        pass
    owner.kill()
    owner.join(60)
    with exclusive_lock(tmp_path / "lock", what="the output"):
        pass
