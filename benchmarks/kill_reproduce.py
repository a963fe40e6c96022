"""Kill reproduce.py at many points, rerun it to its end, and compare results and weights with an undisturbed run's.

    python benchmarks/kill_reproduce.py --kills 20 --output_path torture/reproduce
    python benchmarks/kill_reproduce.py --minutes 30 --output_path soak

Each experiment is killed until a run finishes; then the next one starts in an empty folder. Half of the kills come
after a random time (rendering, extraction, training, testing, report), the other half within a random save, which
random times would rarely hit: with half of the file written, just before the rename or just after it. Each experiment
must end with the results.json of the undisturbed run, except for times, and with equal weights in every cell. An unsafe
save, directly to the final name, must be caught. With --minutes, the number of kills is not limited. See kill_counts.py
for the output.
"""

import contextlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import kill_counts, killing
from benchmarks.killing import AFTER, BEFORE, HALF
from utils.base import cli
from utils.base.argument_types import positive_float

EXPERIMENT = "--classes 2 --subjects 4 --clips 1 --frame_size 32 --input_size 32 --batch_size 2 --seeds 0"
EXPERIMENT += " --teacher_width 0.05 --student_width 0.05 --teacher_epochs 2 --student_epochs 2 --temperatures 1 4"
DIRECT = "written directly to the final name"


def outcome(folder: Path) -> dict:
    """Return results.json without times and paths, and a digest of the weights of each cell."""
    results = json.loads((folder / "results.json").read_text())
    results = {name: value for name, value in results.items() if name not in ("times", "arguments")}
    return results | {path.parent.name: killing.weights_digest(path) for path in folder.glob("cells/*/*.keras")}


def hook(events: killing.Events, unsafe: str | None) -> None:
    """Count the saves; must run before another module imports `written_beside`."""
    from utils.base import files

    files.written_beside = events.saves(contextlib.nullcontext if unsafe else files.written_beside)


SUBJECT = killing.Subject(
    name="experiment",
    script="reproduce.py",
    prepare=lambda folder: [*EXPERIMENT.split(), "--output_path", folder],
    hook=hook,
    outcome=outcome,
    phases=(killing.TIME, HALF, killing.TIME, BEFORE, killing.TIME, AFTER),
    unsafe={DIRECT: HALF},
    kills=sys.maxsize,
)

if __name__ == "__main__":
    parser = cli.ArgumentParser(__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=positive_float, help="kill for so many minutes; --kills does not apply")
    kill_counts.run(parser, lambda args: [SUBJECT])
