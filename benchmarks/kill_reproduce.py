"""Kill reproduce.py at many points, rerun it to its end, and compare results and weights with an undisturbed run's.

    python benchmarks/kill_reproduce.py --points 20

At each point the experiment is killed three times. Half of the kills come after a random time (rendering, extraction,
training, testing, report), the other half within a random save, which random times would rarely hit: with half of the
file written, just before the rename or just after it. The experiment must then end with the results.json of the
undisturbed run, except for times, and with equal weights in every cell. An unsafe save, directly to the final name,
must be caught. Prints a JSON line per point.
"""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import killing

HALF, BEFORE, AFTER = "half written", "before the rename", "after the rename"
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
    from utils.runtime import files

    save = contextlib.nullcontext if unsafe else files.written_beside

    @contextlib.contextmanager
    def counted(path):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with save(path) as temporary:
            yield temporary
            if events.is_next(HALF):
                os.truncate(temporary, temporary.stat().st_size // 2)
            events.count(HALF)
            events.count(BEFORE)
        events.count(AFTER)

    files.written_beside = counted


SUBJECT = killing.Subject(
    name="experiment",
    script="reproduce.py",
    prepare=lambda folder: [*EXPERIMENT.split(), "--output_path", folder],
    hook=hook,
    outcome=outcome,
    phases=(killing.TIME, HALF, killing.TIME, BEFORE, killing.TIME, AFTER),
    unsafe={DIRECT: HALF},
    kills=3,
)

if __name__ == "__main__":
    sys.exit(killing.main(argparse.ArgumentParser(description=__doc__.split("\n")[0]), lambda args, folder: [SUBJECT]))
