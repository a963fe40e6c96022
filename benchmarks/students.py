"""Cost of students of different kinds: parameters, multiply-accumulates, and time per clip relative to compact3d.

    python benchmarks/students.py

The networks have random weights. `predict_on_batch` takes one clip at a time, on --threads cores. Rounds alternate
between all networks, so that other work on the machine slows all of them; medians are shown.
"""

import os
import statistics
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import in_turn
from utils.base import cli
from utils.base.argument_types import positive_int
from utils.base.parser import ArgumentParser
from utils.evaluation.tables import markdown_table

LITE0 = "frames:efficientnet_lite0"
STUDENTS = [  # student, frames, side in pixels, width, mixing; the first one is the reference
    ("compact3d", 16, 112, 1.0, "none"),
    ("compact3d_gap", 16, 112, 1.0, "none"),
    ("compact3d", 16, 48, 0.5, "none"),
    (LITE0, 1, 112, 1.0, "none"),
    (LITE0, 4, 112, 1.0, "shift"),
    (LITE0, 8, 112, 1.0, "shift"),
    (LITE0, 1, 224, 1.0, "none"),
    (LITE0, 4, 224, 1.0, "none"),
]


def main() -> None:
    parser = ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=positive_int, default=5, help="rounds of 15 clips per model")
    parser.add_argument("--threads", type=positive_int, default=1, help="cores to use")
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])  # before TensorFlow counts the cores
    cli.start_tensorflow()
    from utils.networks.cost import milliseconds_per_clip, multiply_accumulates
    from utils.networks.student_builders import student_builder

    networks = {}
    for student, frames, side, width, mixing in STUDENTS:
        build = student_builder(student, mixing=mixing)
        shape = (frames, side, side, 3)
        network = build(6, input_shape=shape, width=width, dropout=1.0)
        networks[student, frames, side, width, mixing] = network
    times = in_turn({key: partial(milliseconds_per_clip, each) for key, each in networks.items()}, args.rounds)
    rows = []
    for key, network in networks.items():
        ratio = statistics.median(other / own for own, other in zip(times[key], times[STUDENTS[0]]))
        cost = (network.count_params() / 1e6, multiply_accumulates(network) / 1e9)
        numbers = [*cost, statistics.median(times[key]), ratio]
        rows.append([*map(str, key), *(f"{number:.3g}" for number in numbers)])
    header = ["student", "frames", "pixels", "width", "mixing", "parameters (millions)", "GMAC", "ms per clip"]
    print(markdown_table([*header, "times as fast as compact3d"], rows))


if __name__ == "__main__":
    cli.run(main)
