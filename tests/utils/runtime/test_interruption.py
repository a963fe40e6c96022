"""Ctrl-C and SIGTERM as a process hears them: after a step, at once if asked twice, not at all if ignored."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
IN_A_STEP = """
import os, signal, sys
from utils.settings import cli
from utils.runtime import interruption

def main():
    {before}
    with interruption.between_steps() as check:
        print("ready", flush=True)
        os.read(0, 1)  # a step: it goes on when a signal comes
        print("step done", flush=True)
        check()
        print("next step", flush=True)

cli.run(main)
"""


def interrupted(*signals, before="", finish_step=True):
    """Sends signals to a process within a step, then lets the step end; returns exit code, output and errors."""
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_STEP.format(before=before)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    for number in signals:
        process.send_signal(number)
    if not finish_step:
        process.wait(60)
    printed, errors = process.communicate("x" if finish_step else None)
    return process.returncode, printed, errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_step_ends_first(number, code):
    """Half a step is a state that no undisturbed run has; schedulers tell Ctrl-C from SIGTERM by the exit code."""
    assert interrupted(number) == (code, "step done\n", "interrupted\n")


def test_a_second_signal_does_not_wait_for_the_step():
    """A step of a full-size network takes ten seconds; who asks twice means now."""
    code, printed, _ = interrupted(signal.SIGINT, signal.SIGTERM, finish_step=False)
    assert code in (130, 143)  # of two that wait, the system delivers any first
    assert printed == ""


def test_an_ignored_signal_stays_ignored():
    """A job that a script put in the background does not hear the Ctrl-C that is meant for another."""
    before = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert interrupted(signal.SIGINT, before=before) == (0, "step done\nnext step\n", "")
