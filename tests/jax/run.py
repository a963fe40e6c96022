"""Run a script of the project with a small stand-in for C3D: `python -m tests.jax.run SCRIPT ARGUMENT ...`."""

import runpy
import sys
from unittest import mock

from tests.jax import tiny
from tests.scripts import PROJECT


def main() -> None:
    script = str(PROJECT / sys.argv[1])
    sys.argv = [script, *sys.argv[2:]]
    with mock.patch("models.c3d.build_c3d", tiny.build_c3d):
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
