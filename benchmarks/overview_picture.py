"""Draw the picture at the top of README.md: the four stages, and test clips with the predictions of three networks.

    python reproduce.py --output_path demo
    python benchmarks/overview_picture.py --experiment demo --output_path docs/overview.png

Reads the videos, arrays and networks in the output folder of reproduce.py, which must have used synthetic videos. The
classes and their clips are drawn at random from the test clips of the first fold and seed.
"""

import csv
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base import argument_types, cli
from utils.base.parser import ArgumentParser

ROLES = {"teacher": "teacher", "alone": "student alone", "distilled": "distilled"}
STAGES = (
    ("video_to_frames.py", "read evenly spaced frames\nof each video"),
    ("Teacher_training.py", "train the teacher,\na large 3D CNN (C3D)"),
    ("KD_training.py", "train a compact student on\nlabels and teacher outputs"),
    ("eval.py", "test on people or videos\nnot seen in training"),
)
CLIPS, FRAMES = 5, 5
WIDTH, HEIGHT = 830, 460  # pixels in the README; saved at twice this resolution
CORRECT, WRONG, INK, BOX = "#0072B2", "#D55E00", "#222222", "#EEF3F7"  # Okabe and Ito's blue and vermilion


def main() -> None:
    parser = ArgumentParser(__doc__.splitlines()[0])
    existing = argument_types.existing_folder
    parser.add_argument("--experiment", type=existing, default="demo", help="output folder of reproduce.py")
    parser.add_argument("--seed", type=argument_types.seed, default=0, help="seed of the choice of clips")
    parser.add_argument("--output_path", type=argument_types.output_stem, default="docs/overview.png", help="PNG file")
    args = parser.parse_args()
    cli.start_tensorflow()
    from PIL import Image

    from utils.base.files import written_beside

    pixels = io.BytesIO()
    draw(*test_clips(args.experiment, args.seed)).savefig(pixels, dpi=200)
    palette = {"colors": 256, "method": Image.Quantize.MAXCOVERAGE, "kmeans": 4, "dither": Image.Dither.NONE}
    with written_beside(args.output_path) as temporary:  # 256 colours make the file four times smaller
        Image.open(pixels).convert("RGB").quantize(**palette).save(temporary, optimize=True)


def test_clips(experiment: Path, seed: int) -> tuple[list[dict], dict[str, float]]:
    """Return the clips to show and the test accuracy (0..1) of each role.

    A clip is a dict of its class, frames uint8 (FRAMES, 120, 160, 3), RGB, and the predicted class by role. Raises
    UserError if the experiment has no synthetic videos or no network of a role.
    """
    import numpy as np

    from utils.base.errors import UserError
    from utils.data.clips import open_clips
    from utils.networks.recognizer import load_recognizer
    from utils.video.video import read_clip

    if not (experiment / "videos" / "synthetic.json").is_file():
        raise UserError(f"--experiment: {experiment} must hold synthetic videos of reproduce.py, found none")
    with open(experiment / "results.csv", newline="", encoding="utf-8") as file:
        by_role = {line["role"]: line for line in reversed(list(csv.DictReader(file)))}  # first row of each role
    if missing := [role for role in ROLES if role not in by_role]:
        raise UserError(f"--experiment: {experiment}/results.csv must list a model of role {missing[0]}, found none")

    dataset = open_clips(experiment / "frames" / "frames.npy", experiment / "frames" / "labels.npy")
    names, predicted = dataset.class_names, {}
    for role in ROLES:
        (path,) = (experiment / "cells" / by_role[role]["cell"]).glob("*.keras")
        recognizer = load_recognizer(path, argument="--experiment")
        rows = recognizer.record.split.as_split().test
        predicted[role] = recognizer.logits(dataset, rows).argmax(axis=1)
    generator = np.random.default_rng(seed)
    shown = []
    for label in generator.permutation(len(names))[:CLIPS]:
        position = generator.choice(np.flatnonzero(dataset.labels[rows] == label))
        video = experiment / "videos" / dataset.paths[rows[position]]
        frames = read_clip(video, sequence_length=FRAMES, frame_height=120, frame_width=160)
        by_network = {role: names[labels[position]] for role, labels in predicted.items()}
        shown.append({"class": names[label], "frames": frames, "predicted": by_network})
    return shown, {role: float(by_role[role]["test_accuracy"]) for role in ROLES}


def draw(clips: list[dict], accuracies: dict[str, float]):
    """Return a figure with the stages in a row above a table of `clips`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100))
    axes = figure.add_axes((0, 0, 1, 1))  # unit: pixels in the README, y downwards
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.axis("off")
    draw_stages(axes)
    draw_clips(axes, clips, accuracies)
    return figure


def draw_stages(axes) -> None:
    """Draw a box for each stage, with arrows between them."""
    from matplotlib.patches import FancyBboxPatch

    gap, top, height = 26, 10, 84
    width = (WIDTH - 20 - 3 * gap) / 4
    for number, (script, text) in enumerate(STAGES):
        left = 10 + number * (width + gap)
        box = FancyBboxPatch((left, top), width, height, "round,pad=0,rounding_size=6", fc=BOX, ec=CORRECT, lw=1)
        axes.add_patch(box)
        middle = left + width / 2
        name = f"{number + 1}. {script}"
        axes.text(middle, top + 20, name, ha="center", va="center", weight="bold", size=9, color=INK)
        axes.text(middle, top + 55, text, ha="center", va="center", size=8.5, color=INK, linespacing=1.4)
        if number:
            style = {"arrowstyle": "-|>", "color": INK, "lw": 1.2}
            axes.annotate("", (left - 3, top + height / 2), (left - gap + 3, top + height / 2), arrowprops=style)


def draw_clips(axes, clips: list[dict], accuracies: dict[str, float]) -> None:
    """Draw a row for each clip: its class, its frames and the prediction of each network."""
    top, row, picture, gap, headings = 160, 60, (72, 54), 3, 128
    frames_left, columns = 102, (490, 604, 718)
    axes.text(10, headings, "class of test clip", va="center", weight="bold", size=9, color=INK)
    for left, (role, name) in zip(columns, ROLES.items()):
        heading = f"{name}\n{100 * accuracies[role]:.1f} % correct"
        axes.text(left, headings, heading, va="center", weight="bold", size=9, color=INK, linespacing=1.4)
    for number, clip in enumerate(clips):
        y = top + number * row
        axes.text(10, y + picture[1] / 2, clip["class"], va="center", size=9, color=INK)
        for place, frame in enumerate(clip["frames"]):
            left = frames_left + place * (picture[0] + gap)
            axes.imshow(frame, extent=(left, left + picture[0], y + picture[1], y), aspect="auto", zorder=2)
        for left, role in zip(columns, ROLES):
            name = clip["predicted"][role]
            mark, colour = ("✓", CORRECT) if name == clip["class"] else ("✗", WRONG)
            axes.text(left, y + picture[1] / 2, f"{mark} {name}", va="center", size=9, color=colour)
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))  # imshow changes the limits


if __name__ == "__main__":
    cli.run(main)
