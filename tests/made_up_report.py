"""A report of `eval.py` with random predictions; no model is needed. CLASSES has as many names as UCF101."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.data.clips import ClipDataset, FrameFile
from utils.data.groups import groups_or_reason
from utils.evaluation.evaluation_report import EvaluationReport
from utils.evaluation.protocol import Conditions
from utils.evaluation.results import comparisons, scores_of
from utils.evaluation.tables import names_of
from utils.evaluation.testing import ChosenClips, Predictions
from utils.networks.recognizer import Recognizer
from utils.runs.seen import Seen

CLASSES = [f"{'BasketballDunkAndMore'[: 4 + number % 15]}{number:03}" for number in range(101)]
FRAMES = (8, 36, 48, 3)  # of a clip
MODELS = {  # share of clips that a model tends to recognise, millions of parameters, 10^9 multiply-accumulates
    "student": (0.62, 7.3, 1.51),
    "student_alone": (0.55, 7.3, 1.51),
    "teacher": (0.74, 78.4, 38.57),
    "frames": (0.68, 3.4, 1.54),
    "tiny": (0.40, 0.3, 0.05),
}


def made_up_report(
    folder: Path, class_names: Sequence[str], clips: int, *, models=MODELS, paths: Sequence[str] | None = None
):
    """Return an EvaluationReport with random answers for clips of random frames, whose arrays are written to `folder`.

    Mistakes tend to be the neighbouring class. paths: of the clips, in the order of the classes; by default as in
    UCF101, with seven groups per class.
    """
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.sort(np.arange(clips) % len(class_names))
    np.save(folder / "frames.npy", generator.integers(0, 256, (clips, *FRAMES), np.uint8))
    if paths is None:
        paths = [
            f"{class_names[label]}/v_{class_names[label]}_g{1 + number % 7:02}_c{number:04}.avi"
            for number, label in enumerate(labels)
        ]
    dataset = ClipDataset(FrameFile(folder / "frames.npy"), labels, np.array(paths), tuple(class_names))
    groups, _ = groups_or_reason(dataset.paths, None)
    rows = np.arange(clips)
    chosen = ChosenClips(rows, labels, dataset.class_names, "official:1", (), Seen(rows, np.zeros(0, np.int64)))
    all_predictions, results = [], []
    hardness = generator.normal(0, 1, clips)  # of a clip, for all models
    for name, (share, parameters, cost) in models.items():
        strength = 5 * (share + 0.25 * hardness + 0.2 * generator.normal(0, 1, clips))[:, None]
        logits = generator.normal(0, 0.6, (clips, len(class_names))) + strength * np.eye(len(class_names))[labels]
        logits += 1.5 * np.eye(len(class_names))[(labels + 1) % len(class_names)]
        recognizer = Recognizer(Path(f"{name}.keras"), None, None)
        all_predictions.append(Predictions(recognizer, chosen, logits.astype(np.float32), 50.0))
        costs = {"parameters": int(1e6 * parameters), "multiply_accumulates": int(1e9 * cost)}
        costs |= {"megabytes": 4 * parameters, "milliseconds_per_clip": 12.5 * cost, "clips_per_second": 50.0}
        results.append(scores_of(all_predictions[-1], groups) | costs)
    compared = comparisons(all_predictions, groups)
    conditions = Conditions("python eval.py", "made-up answers")
    names = names_of(results)
    return EvaluationReport(
        all_predictions, results, names, list(models), compared, dataset, groups, conditions, folder
    )
