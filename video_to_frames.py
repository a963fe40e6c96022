"""Stage 1: convert class folders of videos to the arrays that the other stages read."""

import argparse

from utils.base.argument_types import existing_folder, output_folder, positive_float, positive_int, scheduler
from utils.base.arguments import add_recipe_argument
from utils.base.cli import run
from utils.base.options import SCHEDULER, SHORT_VIDEOS
from utils.base.parser import ArgumentParser
from utils.runs.files import check_extraction


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(
        "Stage 1: read every video in the class folders of --input_path and write frames.npy, labels.npy, "
        "video_file_paths.npy, skipped_videos.csv and timings to --output_path.",
        examples=(
            "python video_to_frames.py --input_path Datasets/UCF11 --output_path Frames_datasets/UCF11",
            "python video_to_frames.py --input_path Datasets/UCF11 --output_path arrays --short_videos repeat",
        ),
        docs="docs/method.md",
    )
    add_recipe_argument(parser)
    files = parser.add_argument_group("files")
    files.add_argument(
        "--input_path", type=existing_folder, required=True, help="folder with one subfolder of videos per class"
    )
    files.add_argument("--output_path", type=output_folder, required=True, help="folder for the arrays")
    files.add_argument(
        "--follow_links", action="store_true", help="also read videos that links name outside --input_path"
    )
    clip = parser.add_argument_group("clip")
    clip.add_argument("--sequence_length", type=positive_int, default=16, help="evenly spaced frames per clip")
    clip.add_argument("--frame_height", type=positive_int, default=224, help="frame height in pixels")
    clip.add_argument("--frame_width", type=positive_int, default=224, help="frame width in pixels")
    clip.add_argument(
        "--short_videos",
        choices=SHORT_VIDEOS,
        default=SHORT_VIDEOS[0],
        help="for videos with fewer frames: skip them, repeat their frames from the start, or hold the last frame",
    )
    control = parser.add_argument_group("run")
    control.add_argument("--workers", type=positive_int, help="processes that read videos, by default one per core")
    control.add_argument("--video_timeout", type=positive_float, default=60.0, help="processor seconds per video")
    control.add_argument("--scheduler", type=scheduler, help=SCHEDULER)
    control.add_argument(
        "--overwrite", action="store_true", help="start over instead of resuming, and replace existing arrays"
    )
    control.add_argument("--dataset_report", action="store_true", help="also write dataset_report.png, an overview")
    args = parser.parse_args()
    if args.workers is not None and args.scheduler not in (None, "local"):
        parser.error(f"--workers: must not go with the workers of --scheduler {args.scheduler}, got {args.workers}")
    return args


def main() -> None:
    args = parse_arguments()
    check_extraction(args)
    from utils.video.extract import extract

    arguments = vars(args) | {}
    report_wanted, _ = arguments.pop("dataset_report"), arguments.pop("config")
    summary = extract(**arguments)
    print(summary)
    if report_wanted:
        from utils.video.dataset_report import write_dataset_report

        if (path := write_dataset_report(summary.output_path)) is not None:
            print(f"Report: {path}")


if __name__ == "__main__":
    run(main)
