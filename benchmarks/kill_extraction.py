"""Kill an extraction at many points, rerun it, and compare the files with those of an undisturbed run.

    python benchmarks/kill_extraction.py --input_path VIDEOS --points 20

Half of the kills come after a random time, the other half at a random file operation of the final save, which random
times would rarely hit. After each kill, the files under their final names must be complete or absent, and no worker may
survive. Rerunning the command must give the bytes of the undisturbed run. An unsafe save, directly to the final names,
must be caught. Prints a JSON line per point.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import killing
from utils.extraction import extract as extraction
from utils.extraction.state import ARRAYS, ExtractionState, header_bytes
from utils.runtime.files import file_fingerprint

COMPARED = (*ARRAYS, "skipped_videos.csv")
DIRECT = "written directly to the final names"


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each of the COMPARED files in `folder`."""
    return {name: file_fingerprint(folder / name) for name in COMPARED if (folder / name).exists()}


def fault_of(output: Path, whole: dict[str, str]) -> str | None:
    """Describe the first file under a final name that is not complete, by the digests of a whole data set."""
    return next((f"{name} is not complete" for name, digest in digests(output).items() if digest != whole[name]), None)


def hook(events: killing.Events, unsafe: str | None) -> None:
    """Count the file operations of the run and of the save."""
    extraction.extract = events.file_operations("run", extraction.extract)
    extraction._save = events.file_operations("save", extraction._save)
    if unsafe:
        ExtractionState.publish = publish_directly


def publish_directly(state: ExtractionState, record: dict, write_rest) -> None:
    """Save in the usual unsafe way: directly to the final names, one file after the other."""
    rows = state.frames_path.read_bytes()[state.header_size : state.offset(state.rows)]
    with open(state.output_path / "frames.npy", "wb", buffering=0) as file:
        file.write(header_bytes(state.rows, state.clip_shape))
        for start in range(0, len(rows), state.row_size):
            file.write(rows[start : start + state.row_size])
    write_rest(state.output_path)
    shutil.rmtree(state.folder)


def subject_of(settings: dict) -> killing.Subject:
    """Return the extraction with these arguments of video_to_frames.py."""
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    return killing.Subject(
        name="extraction",
        script="video_to_frames.py",
        prepare=lambda folder: [*flags, "--output_path", folder],
        hook=hook,
        outcome=digests,
        phases=(killing.TIME, "save"),
        unsafe={DIRECT: "save"},
        fault_of=fault_of,
        leftovers=(".extraction*",),
    )


def run_victim(arguments: dict, *, kill: killing.Kill | None = None, careless: bool = False) -> dict | None:
    """Run an extraction that is killed at `kill`, with the unsafe save if `careless`; see `killing.Subject.run`."""
    settings = {name: value for name, value in arguments.items() if name != "output_path"}
    return subject_of(settings).run(Path(arguments["output_path"]), kill=kill, unsafe=DIRECT if careless else None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=Path, required=True, help="folder of class folders of videos")
    size = {"sequence_length": 16, "frame_height": 112, "frame_width": 112}
    sys.exit(killing.main(parser, lambda args, folder: [subject_of({"input_path": args.input_path, **size})]))
