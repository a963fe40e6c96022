"""Build students by name: the built-in networks, or a function of the user's own."""

import functools
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType

import numpy as np

from models import STUDENTS
from utils.base.code_digest import code_digest
from utils.base.errors import UserError
from utils.base.frame_students import NO_MIXING, NO_WEIGHTS, backbone_name, check_frame_student
from utils.base.options import DistillationOptions
from utils.data.class_scores import are_probabilities
from utils.networks.backbone_weights import set_backbone_weights, weights_fingerprint


def student_builder(
    student: str, *, mixing: str = NO_MIXING, weights: str | Path = NO_WEIGHTS, is_pretrained: bool = False
) -> Callable:
    """Return the function that builds `student`: a key of STUDENTS, "frames:NAME" or "package.module:function".

    The builder takes `num_classes` and the keywords `input_shape`, `width` and `dropout`, and returns a model that maps
    RGB clips `(B, *input_shape)`, 0..255, to logits `(B, num_classes)`. A user's module may be in the current folder.
    The other arguments are of "frames:NAME", see `build_frame_student`. Raises UserError if there is no such function.
    The builder raises UserError if the user's function fails, or if its model cannot be trained, saved and loaded as a
    student.
    """
    if backbone_name(student) is not None:
        settings = {"mixing": mixing, "weights": weights, "is_pretrained": is_pretrained}
        return functools.partial(build_frame_student, student, **settings)
    module_name, _, function_name = STUDENTS.get(student, student).partition(":")
    look_in_current_folder()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(f"--student {student}: importing {module_name} failed {place_of(error)}") from error
    builder = getattr(module, function_name, None)
    if not callable(builder):
        raise UserError(f"--student {student}: {module.__file__} must hold a function {function_name}, found none")
    if student in STUDENTS:
        return builder

    def build_checked(num_classes: int, *, input_shape: tuple[int, int, int, int], width: float, dropout: float):
        try:
            model = builder(num_classes, input_shape=input_shape, width=width, dropout=dropout)
        except Exception as error:
            raise UserError(f"--student {student}: building it failed {place_of(error)}") from error
        check_student(student, model, num_classes, input_shape)
        return model

    return build_checked


def build_frame_student(
    student: str,
    num_classes: int,
    *,
    mixing: str,
    weights: str | Path,
    is_pretrained: bool = False,
    width: float = 1.0,
    **settings,
):
    """Build a student "frames:NAME" and set the weights of its image network.

    `is_pretrained` announces weights that are set later. `settings` are further arguments of `build_frames`. Raises
    UserError if the options contradict each other, or if the weights cannot be read.
    """
    from models.frames import backbone_of, build_frames

    check_frame_student(student, mixing=mixing, weights=weights, width=width)
    backbone, has_weights = backbone_name(student), weights != NO_WEIGHTS
    pretrained = is_pretrained or has_weights
    model = build_frames(backbone, num_classes, mixing=mixing, width=width, pretrained=pretrained, **settings)
    if has_weights:
        set_backbone_weights(backbone_of(model), backbone, weights)
    return model


def builder_of(distillation: DistillationOptions, *, is_pretrained: bool = False) -> Callable:
    """Return the function that builds the student of these options; see `student_builder`."""
    settings = {"mixing": distillation.mixing, "weights": distillation.student_weights}
    return student_builder(distillation.student, **settings, is_pretrained=is_pretrained)


def student_files(distillation: DistillationOptions) -> dict[str, str]:
    """Return the digests of the student's code and of its initial weights, if any, by argument."""
    files = {"code of --student": student_code(distillation.student)}
    weights = weights_fingerprint(backbone_name(distillation.student), distillation.student_weights)
    return files | ({"--student_weights": weights} if weights else {})


def student_code(student: str) -> str:
    """Return the SHA-256 of the code that builds and trains a student. Raises UserError if there is no such module."""
    is_frames = backbone_name(student) is not None
    module_name = "models.frames" if is_frames else STUDENTS.get(student, student).partition(":")[0]
    look_in_current_folder()
    try:
        return code_digest(module_name, "models.initialisation", "models.distiller")
    except ModuleNotFoundError:
        raise UserError(f"--student {student}: no module {module_name} in {os.getcwd()} or on Python's path") from None


def teacher_code() -> str:
    """Return the SHA-256 of the code that builds a C3D teacher."""
    return code_digest("models.c3d", "models.initialisation")


def look_in_current_folder() -> None:
    """Append the current folder to the import path, at the end, so that it hides no installed module."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def place_of(error: Exception) -> str:
    """Return file, line, type and message of an error as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f"({Path(outside[-1].filename).name}, line {outside[-1].lineno})" if outside else ""
    text = str(error).strip().splitlines() or [""]
    return f"{place}: {type(error).__name__}: {text[0]}".lstrip()


def check_student(student: str, model, num_classes: int, input_shape: tuple[int, int, int, int]) -> None:
    """Raise UserError unless `model` maps clips `(B, *input_shape)` to logits `(B, num_classes)` and can be loaded."""
    import keras

    what = f"--student {student}"
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise UserError(f"{what}: must return a functional or sequential Keras model, returned {type(model).__name__}")
    if len(model.inputs) != 1 or model.input_shape != (None, *input_shape):
        raise UserError(f"{what}: must take clips (B, T, H, W, 3) {(None, *input_shape)}, takes {model.input_shape}")
    if len(model.outputs) != 1 or model.output_shape != (None, num_classes):
        raise UserError(f"{what}: must output logits (B, C) {(None, num_classes)}, outputs {model.output_shape}")
    if foreign := sorted(set(foreign_parts(model))):
        raise UserError(
            f"{what}: must consist of Keras' own layers and functions, so that eval.py can load it, "
            f"found {', '.join(foreign)}"
        )
    clips = np.random.default_rng(0).integers(0, 256, (2, *input_shape)).astype(np.float32)
    scores = np.asarray(model(clips, training=False))
    if are_probabilities(scores):
        raise UserError(f"{what}: must output logits, outputs probabilities; remove the final softmax")


def foreign_parts(model) -> Iterator[str]:
    """Yield the names of layers in a model, and of functions in its layers, that are not Keras' own."""
    for layer in model._flatten_layers(include_self=False):  # includes those in wrappers and nested models
        kind = type(layer)
        if not kind.__module__.startswith("keras."):
            yield kind.__name__
        for value in vars(layer).values():
            if isinstance(value, FunctionType) and not value.__module__.startswith("keras."):
                yield "a lambda" if value.__name__ == "<lambda>" else value.__name__
