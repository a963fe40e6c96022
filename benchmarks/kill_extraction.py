"""Kill an extraction at many points, rerun it, and compare the files with those of an undisturbed run.

    python benchmarks/kill_extraction.py --kills 20 --output_path torture/extraction

Half of the kills come after a random time, the other half at a random file operation of the final save, which random
times would rarely hit. After each kill, the files under their final names must be complete or absent, and no worker may
survive. Rerunning the command must give the bytes of the undisturbed run. An unsafe save, directly to the final names,
must be caught. The videos are synthetic unless --input_path is given. See kill_counts.py for the output.
"""

import argparse
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import kill_counts, killing
from utils.base import cli
from utils.base.argument_types import existing_folder
from utils.base.files import file_fingerprint
from utils.video import extract as extraction
from utils.video.extraction_state import ARRAYS, ExtractionState, header_bytes
from utils.video.synthetic import render_dataset

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
        kills=4,
    )


def run_victim(arguments: dict, *, kill: killing.Kill | None = None, careless: bool = False) -> dict | None:
    """Run an extraction that is killed at `kill`, with the unsafe save if `careless`; see `killing.Subject.run`."""
    settings = {name: value for name, value in arguments.items() if name != "output_path"}
    return subject_of(settings).run(Path(arguments["output_path"]), kill=kill, unsafe=DIRECT if careless else None)


def subjects(args: argparse.Namespace) -> list[killing.Subject]:
    """Return the extraction of the videos that the arguments name; without a name, render six videos."""
    videos = args.input_path or args.output_path / "videos"
    if not videos.exists():
        rendered = videos.with_name("rendered")
        render_dataset(rendered, classes=2, subjects=3, clips=1, workers=1)
        rendered.rename(videos)
    return [subject_of({"input_path": videos, "sequence_length": 16, "frame_height": 112, "frame_width": 112})]


if __name__ == "__main__":
    parser = cli.ArgumentParser(__doc__.split("\n")[0])
    parser.add_argument("--input_path", type=existing_folder, help="folder of class folders of videos")
    kill_counts.run(parser, subjects)
