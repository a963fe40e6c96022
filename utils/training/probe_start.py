"""Linear probing before fine-tuning: the classifier of a network with ImageNet weights starts as a linear probe.

Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", arXiv:2202.10054.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from models.frames import LOGITS, split_at_features
from utils.base.devices import jit_compile
from utils.base.options import ViewOptions
from utils.base.progress import progress
from utils.data.batches import batch_loop, clip_batches, clip_reader
from utils.data.groups import groups_or_reason
from utils.runs.history import history_array
from utils.runs.loading import SplitDataset
from utils.training.linear_probe import choose_strength, fit_probe, folded

PROBE_VIEWS = 2  # augmented views per clip that the probe is fitted to, in addition to the original
BATCH_SIZE = 8


@dataclass(frozen=True)
class ProbeStart:
    """The start of a training: the weights of the network, its metrics as a row of the history, and its C."""

    weights: list[np.ndarray]
    metrics: dict[str, float]
    strength: float

    def history(self, seconds: float) -> np.ndarray:
        """Return the history of a training that ends with its start: one row."""
        row = {name: value for name, value in self.metrics.items() if name != "val_clips"}
        return history_array([{"epoch": 1, **row, "seconds": seconds}])

    @property
    def tolerance(self) -> float:
        """Standard error of the validation accuracy of the start."""
        accuracy = self.metrics["val_accuracy"]
        return math.sqrt(accuracy * (1 - accuracy) / self.metrics["val_clips"])


def start_from_probe(
    model, loaded: SplitDataset, labels: np.ndarray, views: ViewOptions, group_pattern: str | None = None
) -> ProbeStart:
    """Set the classifier of a network of `build_frames` to a logistic regression on its frozen features.

    It is fitted to the labelled training clips, `labels` int `(N,)` with -1 for the others: the original and at most
    PROBE_VIEWS views of each. Its strength of regularisation is chosen by cross-validation over groups of these clips.
    Prints the validation accuracy. Returns the start, whose metrics are on the whole clips.
    """
    dataset, split = loaded.dataset, loaded.split
    rows = split.train[labels[split.train] >= 0]
    count = min(views.views, PROBE_VIEWS)
    reader = clip_reader(dataset, model.input_shape[1:], views)
    features, _ = split_at_features(model)
    features.jit_compile = jit_compile()
    total = len(rows) * (count + 1) + len(split.validation)
    with progress(total, unit="clips") as advance, batch_loop() as check:

        def computed(wanted: np.ndarray, view: int) -> np.ndarray:
            found = []
            for clips in clip_batches(reader, wanted, batch_size=BATCH_SIZE, view=view):
                found.append(np.asarray(features.predict_on_batch(clips)))
                advance(len(clips))
                check()
            return np.concatenate(found)

        train = np.stack([computed(rows, view) for view in range(count + 1)], axis=1)  # (B, V + 1, D)
        validation = computed(split.validation, 0)
    groups, _ = groups_or_reason(dataset.paths, group_pattern)
    keys = groups.keys if groups else np.arange(len(dataset)).astype(str)
    classes = len(dataset.class_names)
    strength = choose_strength(train, labels[rows], classes, keys=keys[rows], seed=split.split_seed)
    kernel, bias = folded(fit_probe(train, labels[rows], strength=strength), classes)
    model.get_layer(LOGITS).set_weights([kernel, bias])
    metrics = _metrics(train[:, 0] @ kernel + bias, labels[rows])
    found = _metrics(validation @ kernel + bias, dataset.labels[split.validation])
    metrics |= {f"val_{name}": value for name, value in found.items()} | {"val_clips": float(len(validation))}
    print(
        f"linear probe on frozen features: validation accuracy {100 * metrics['val_accuracy']:.1f} % "
        f"(C {strength:g}, {len(rows)} labelled clips)"
    )
    return ProbeStart([np.array(weight) for weight in model.weights], metrics, strength)


def keep_better(model, start: ProbeStart, kept: dict[str, float]) -> dict[str, float]:
    """Give `model` the weights of its start again if training has made it worse.

    It is worse if its validation accuracy, in the `kept` row of the history, is below that of the start by more than a
    standard error. Returns the row of the weights that the model then has; the start is epoch 0.
    """
    if kept["val_accuracy"] >= start.metrics["val_accuracy"] - start.tolerance:
        return kept
    for variable, value in zip(model.weights, start.weights):
        variable.assign(value)
    print(
        f"note: fine-tuning lowered the validation accuracy from {100 * start.metrics['val_accuracy']:.1f} to "
        f"{100 * kept['val_accuracy']:.1f} %; the linear probe is kept. Try a lower --backbone_rate"
    )
    return kept | {name: start.metrics[name] for name in kept if name in start.metrics} | {"epoch": 0}


def _metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    losses = -np.take_along_axis(log_softmax(logits, axis=1), labels[:, None], axis=1)
    return {"loss": float(losses.mean()), "accuracy": float((logits.argmax(axis=1) == labels).mean())}
