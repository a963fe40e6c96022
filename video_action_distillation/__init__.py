"""The public Python interface and the installed commands.

`from video_action_distillation import NAME` works in a clone and after `pip install .`; the names of PUBLIC are kept
between versions, other names of `utils` and `models` are not. An installed package holds the whole project below this
one name, so that no `utils` and no `models` of it stand beside those of other packages. Its scripts run in processes of
their own, where these come first on the search path, as they do in a clone.
"""

import importlib
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "utils").is_dir() else HERE.parent  # installed, or a clone
COMMANDS = {
    "kd-frames": "video_to_frames.py",
    "kd-teacher": "Teacher_training.py",
    "kd-train": "KD_training.py",
    "kd-eval": "eval.py",
    "kd-predict": "predict.py",
    "kd-export": "export.py",
    "kd-reproduce": "reproduce.py",
    "kd-leaks": "utils/leaks.py",
    "kd-cards": "utils/cards.py",
}
OPTIONS = ("DataOptions", "DistillationOptions", "NetworkOptions", "OutputOptions", "TeacherOptions", "TrainingOptions")
PUBLIC = {
    "extract": "utils.video.extract",
    "train_teacher": "utils.training.stages",
    "train_student": "utils.training.stages",
    "evaluate": "utils.evaluation.run",
    "predict_files": "utils.prediction.run",
    "export": "utils.export.run",
    **dict.fromkeys((*OPTIONS, "ViewOptions"), "utils.base.options"),
    "PredictionOptions": "utils.base.prediction_options",
    "TimelineOptions": "utils.base.prediction_options",
    "ExportOptions": "utils.base.export_options",
    "UserError": "utils.base.errors",
    "__version__": "utils",
}

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def __getattr__(name: str):
    """Import a public name when it is used: some of them load TensorFlow."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def main() -> None:
    """Run the script of the command by whose name this process was started."""
    runpy.run_path(str(ROOT / COMMANDS[Path(sys.argv[0]).stem]), run_name="__main__")
