"""Print the most probable classes of a video: python example.py MODEL VIDEO

This shows how to use predict.pyz from Python. `python predict.pyz --help` says what it does as a program: several
videos, cameras, timelines, annotated copies, JSON.
"""

import sys
from pathlib import Path


def main() -> None:
    from utils.base.errors import UserError
    from utils.prediction.predictor import load_predictor

    if len(sys.argv) != 3:
        raise UserError(f"expected MODEL VIDEO, such as student.onnx holiday.mp4, got {len(sys.argv) - 1} arguments")
    answer = load_predictor(sys.argv[1]).predict(sys.argv[2])
    if answer.rejected:
        print("no action, the highest probability is below the threshold:")
    for name, probability in answer.top(3):
        print(f"{100 * probability:5.1f} %  {name}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).with_name("predict.pyz")))
    from utils.base import cli

    cli.run(main)  # prints an error on one line
