"""Stage 1: turns a folder of class folders of videos into the arrays that the other stages read."""

import argparse
from pathlib import Path

from utils.settings.argument_types import existing_folder, positive_float, positive_int
from utils.settings.cli import ArgumentParser, run


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(
        "Reads every video below the class folders of --input_path and writes frames.npy, labels.npy, "
        "video_file_paths.npy, skipped_videos.csv and timings into --output_path."
    )
    files = parser.add_argument_group("files")
    files.add_argument(
        "--input_path",
        type=existing_folder,
        required=True,
        help="folder of class folders; folders in them are searched",
    )
    files.add_argument("--output_path", type=Path, required=True, help="folder for the arrays; made if missing")
    clip = parser.add_argument_group("clip")
    clip.add_argument("--sequence_length", type=positive_int, default=16, help="frames a clip, evenly spaced")
    clip.add_argument(
        "--frame_height",
        type=positive_int,
        default=224,
        help="pixels; frames are squashed to this size, and more than a network's 112 leaves room for crops",
    )
    clip.add_argument("--frame_width", type=positive_int, default=224, help="pixels; frames are squashed to this size")
    control = parser.add_argument_group("run")
    control.add_argument(
        "--workers",
        type=positive_int,
        default=argparse.SUPPRESS,
        help="processes that read videos (default: one a core)",
    )
    control.add_argument(
        "--video_timeout", type=positive_float, default=60.0, help="seconds after which a video is given up"
    )
    control.add_argument(
        "--overwrite",
        action="store_true",
        help="start anew and replace what --output_path holds (without it, an interrupted run is continued)",
    )
    control.add_argument(
        "--dataset_report", action="store_true", help="also draw dataset_report.png, a page that shows what was read"
    )
    return parser.parse_args()


def main() -> None:
    arguments = vars(parse_arguments())
    from utils.extraction.extract import extract

    report_wanted = arguments.pop("dataset_report")
    summary = extract(**arguments)
    print(summary)
    if report_wanted:
        from utils.extraction.dataset_report import write_dataset_report

        print(f"Report: {write_dataset_report(summary.output_path)}")


if __name__ == "__main__":
    run(main)
