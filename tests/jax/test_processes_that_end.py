"""If one of two processes ends, so does the other, with one line; `make test-jax` runs the quick tests."""

import re
import signal

import pytest

from tests.jax.processes import (
    OF_STUDENT,
    STUDENT,
    Processes,
    arguments_of,
    assert_equal_trainings,
    free_port,
    needs_jax,
    run,
)

pytestmark = needs_jax
LOST = "another process was killed, has crashed or cannot be reached"
MANY = 60  # epochs, enough that a training does not end before it is killed


@pytest.fixture(scope="module")
def undisturbed(arrays, folder):
    """The name of a student that two processes have trained without interruption."""
    run(2, STUDENT, *arguments_of(arrays, "undisturbed", *OF_STUDENT, "--alpha", "1", epochs=MANY), cwd=folder)
    return "undisturbed"


def only_line(error):
    """Return an error of one line, without the hint of JAX about environment variables of proxies."""
    lines = error.splitlines()
    assert len(lines) == 1, error
    return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other_and_the_training_is_resumed(undisturbed, arrays, folder, killed):
    """The survivors would wait for ever, or end with a log of C++ and without a hint."""
    name = f"killed_{killed}"
    arguments = arguments_of(arrays, name, *OF_STUDENT, "--alpha", "1", epochs=MANY)
    processes = Processes(2, STUDENT, *arguments, cwd=folder)
    processes.read_until(r"^epoch +3/")
    processes.started[killed].kill()
    ends = processes.ends()
    assert ends[killed][0] == -signal.SIGKILL
    code, _, error = ends[1 - killed]
    assert code == 2
    line = only_line(error)
    assert re.match(rf"error: {LOST}( \(.*\))?: epochs 1 to ", line)
    assert f"saved in {name}.training; rerun the same command to resume" in line
    assert not (folder / f"{name}.keras").exists()
    assert "resuming from epoch" in run(2, STUDENT, *arguments, cwd=folder)
    assert_equal_trainings(folder, undisturbed, name, exactly=True)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_signal_to_one_process_ends_all(arrays, folder, stopped):
    """Ctrl-C on one machine would leave the others running."""
    name = f"stopped_{stopped}"
    processes = Processes(2, STUDENT, *arguments_of(arrays, name, *OF_STUDENT, "--alpha", "1", epochs=MANY), cwd=folder)
    processes.read_until(r"^epoch +2/")
    processes.started[stopped].send_signal(signal.SIGTERM)
    ends = processes.ends()
    assert [code for code, _, _ in ends.values()] == [128 + signal.SIGTERM] * 2, ends
    own, other = only_line(ends[stopped][2]), only_line(ends[1 - stopped][2])
    assert own.startswith("interrupted: epochs 1 to ")
    assert other == f"error: process {stopped} has ended: {own}"


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_waiting_for_a_process_that_never_joins_is_limited(arrays, folder, number):
    """A machine that did not start would block the others for ever."""
    arguments = [*arguments_of(arrays, "lonely", *OF_STUDENT, "--alpha", "1"), "--join_timeout", 3]
    ends = Processes(2, STUDENT, *arguments, cwd=folder, only=number).ends()
    code, _, error = ends[number]
    assert code == 2
    assert re.fullmatch(r"error: --coordinator \S+: not all 2 processes have joined within 3 s\n", error)


@pytest.mark.slow
def test_errors_of_one_process_end_all(arrays, folder):
    """The processes must not train with different settings, and none may wait for one that has refused to start."""
    port = free_port()
    arguments = arguments_of(arrays, "different", *OF_STUDENT, "--alpha", "1")
    started = [
        Processes(2, STUDENT, *arguments, "--learning_rate", rate, cwd=folder, port=port, only=number)
        for number, rate in enumerate(("0.001", "0.002"))
    ]
    ends = [each.ends()[number] for number, each in enumerate(started)]
    message = "--learning_rate: must be 0.001 as in process 0, got 0.002 in process 1"
    assert [code for code, _, _ in ends] == [2, 2]
    assert only_line(ends[1][2]) == f"error: {message}"
    assert only_line(ends[0][2]) == f"error: process 1 has ended: {message}"


@pytest.mark.slow
def test_a_batch_that_the_devices_cannot_share_is_refused(arrays, folder):
    """Keras waits for ever for the missing clips."""
    arguments = arguments_of(arrays, "uneven", *OF_STUDENT, "--alpha", "1", "--batch_size", 5)
    ends = Processes(2, STUDENT, *arguments, cwd=folder).ends()
    message = "--batch_size: must be a multiple of the 2 devices of all processes, got 5"
    assert [code for code, _, _ in ends.values()] == [2, 2]
    assert any(f"error: {message}\n" == error for _, _, error in ends.values())
