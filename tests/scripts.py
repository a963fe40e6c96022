"""Run a script within the test process, so that TensorFlow is imported once for all tests."""

import contextlib
import io
import os
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def run_script(script, *arguments, cwd, expect=0, clears_keras=True) -> str:
    """Run `script` with `arguments` in the folder `cwd` and check that its exit code is `expect`.

    Returns what Python wrote to stdout, or to stderr if `expect` is not 0; output of native code and of child processes
    is not captured. A relative `script` is one of the project. An exception that ends the script is raised here.
    `clears_keras` False saves a second for scripts that build no network.
    """
    path, out, err, code = str(PROJECT / script), io.StringIO(), io.StringIO(), 0
    with process_state_kept(clears_keras), contextlib.chdir(cwd):
        sys.argv = [path, *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt  # Ctrl-C, pressed to end the tests
    assert code == expect, err.getvalue()
    return err.getvalue() if expect else out.getvalue()


@contextlib.contextmanager
def eager_functions() -> Iterator[None]:
    """Run TensorFlow's functions in the block without tracing them, which is faster for trainings of a few steps."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@contextlib.contextmanager
def process_state_kept(clears_keras: bool = False) -> Iterator[None]:
    """Restore signal handlers, environment, arguments, search path and stdin; clear Keras' global state if asked."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    environment, argv, path, stdin = dict(os.environ), sys.argv, sys.path[:], sys.stdin
    try:
        with open(os.devnull) as sys.stdin:
            yield
    finally:
        sys.argv, sys.path[:], sys.stdin = argv, path, stdin
        os.environ.clear()
        os.environ.update(environment)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if clears_keras and "keras" in sys.modules:
            sys.modules["keras"].backend.clear_session()
