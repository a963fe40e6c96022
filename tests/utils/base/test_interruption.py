"""Ctrl-C and SIGTERM in a process of its own: one signal, two signals, ignored signals."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
IN_A_STEP = """
import os, signal, sys
from utils.base import cli
from utils.base import interruption

def main():
    {before}
    with interruption.between_steps() as check:
        print("ready", flush=True)
        os.read(0, 1)  # a step, which a signal does not end
        print("step done", flush=True)
        check()
        print("next step", flush=True)

cli.run(main)
"""


def interrupted(*signals, before="", finish_step=True):
    """Send signals to a process during a step, then let the step end; return exit code, stdout and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_STEP.format(before=before)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.communicate(timeout=120)[1]
    for number in signals:
        process.send_signal(number)
    if not finish_step:
        process.wait(60)
    printed, errors = process.communicate("x" if finish_step else None, timeout=120)
    return process.returncode, printed, errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_step_ends_first(number, code):
    """An incomplete step would be saved, or a scheduler could not tell Ctrl-C from SIGTERM by the exit code."""
    assert interrupted(number) == (code, "step done\n", "interrupted\n")


def test_a_second_signal_does_not_wait_for_the_step():
    """A second Ctrl-C would have to wait for the step, which takes ten seconds with a full-size network."""
    code, printed, _ = interrupted(signal.SIGINT, signal.SIGTERM, finish_step=False)
    assert code in (130, 143)  # the order of two pending signals is undefined
    assert printed == ""


def test_an_ignored_signal_stays_ignored():
    """Ctrl-C would end a background job of a shell script together with the foreground job."""
    before = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert interrupted(signal.SIGINT, before=before) == (0, "step done\nnext step\n", "")
