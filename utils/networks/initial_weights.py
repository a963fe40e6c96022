"""Start a training from the weights of a finished student or teacher, also for other classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.networks.recognizer import Recognizer, load_recognizer

ARGUMENT = "--initial_weights"


def set_initial_weights(model, path: Path, class_names: Sequence[str]) -> None:
    """Assign the weights of the trained network `path` to a new `model` of the same architecture, and print what.

    Weights below the classifier are copied. The classifier's column of a class that both networks know by name is
    copied, those of new classes keep their initial values. Raises UserError if the architectures differ, or if the
    network has no record of its classes and another number of them.
    """
    trained = load_recognizer(path, argument=ARGUMENT)
    known = trained.class_names or (tuple(class_names) if trained.num_classes == len(class_names) else None)
    if known is None:
        raise UserError(
            f"{ARGUMENT}: {path} must have a record of its classes or {len(class_names)} classes, found no record and "
            f"{trained.num_classes} classes"
        )
    count = classifier_weights(model)
    _require_same_architecture(model, trained, count)
    for variable, value in zip(model.weights[:-count], trained.model.weights[:-count]):
        variable.assign(value)
    kept = [name for name in class_names if name in known]
    here, there = [class_names.index(name) for name in kept], [known.index(name) for name in kept]
    for variable, value in zip(model.weights[-count:], trained.model.weights[-count:]):
        merged = np.array(variable)
        merged[..., here] = np.asarray(value)[..., there]
        variable.assign(merged)
    print(f"initial weights from {path}: {_summary(class_names, known, kept)}")


def classifier_weights(model) -> int:
    """Return the number of variables of the last layer, the classifier: kernel `(D, C)` and perhaps bias `(C,)`.

    Raises UserError if the last layer is no dense layer.
    """
    import keras

    last = flat_layers(model)[-1]
    if not isinstance(last, keras.layers.Dense):
        raise UserError(f"{ARGUMENT}: the last layer of the model must be a Dense layer, found {type(last).__name__}")
    return len(last.weights)


def _require_same_architecture(model, trained: Recognizer, classifier: int) -> None:
    """Raise UserError unless both networks have equal layers and variables of equal shapes below the classifier."""
    layers, others = ([_without_weights(layer) for layer in flat_layers(each)] for each in (model, trained.model))
    for here, there in zip(layers, others):
        if here != there:
            raise UserError(
                f"{ARGUMENT}: {trained.path} must be a model of the same kind, but has {there} where this one has "
                f"{here}"
            )
    shapes, found = ([tuple(weight.shape) for weight in each.weights] for each in (model, trained.model))
    is_same = shapes[:-classifier] == found[:-classifier] and [len(s) for s in shapes] == [len(s) for s in found]
    if is_same and shapes[-classifier][:-1] == found[-classifier][:-1]:
        return
    number = next((k for k, pair in enumerate(zip(shapes, found)) if pair[0] != pair[1]), min(len(shapes), len(found)))
    here, there = (part[number] if number < len(part) else "none" for part in (shapes, found))
    raise UserError(
        f"{ARGUMENT}: {trained.path} must be a model of the same kind, --width, --input_size and --input_frames, but "
        f"variable {number + 1} has shape {there} there and {here} here"
    )


def flat_layers(model) -> list:
    """Return the layers of a model and of the models in it, in order."""
    found = []
    for layer in model.layers:
        found += flat_layers(layer) if hasattr(layer, "layers") else [layer]
    return found


def _without_weights(layer) -> str:
    """Describe a layer by its type, and by its settings if it has no weights; a dropout rate may differ."""
    free = ("name", "dtype", "trainable", "seed", "rate")
    settings = {} if layer.weights else {name: v for name, v in layer.get_config().items() if name not in free}
    return f"{type(layer).__name__} {settings}".removesuffix(" {}")


def _summary(class_names: Sequence[str], known: Sequence[str], kept: Sequence[str]) -> str:
    if tuple(class_names) == tuple(known):
        return "all layers"
    new = [name for name in class_names if name not in known]
    dropped = [name for name in known if name not in class_names]
    parts = [f"all layers but the classifier, which keeps {len(kept)} classes"]
    parts += [f"starts {len(new)} new ({_listed(new)})"] if new else []
    parts += [f"drops {len(dropped)} ({_listed(dropped)})"] if dropped else []
    return ", ".join(parts)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
