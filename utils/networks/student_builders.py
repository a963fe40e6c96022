"""Build students by name: the built-in networks, or a function of the user's own."""

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models import STUDENTS
from utils.base.code_digest import code_digest
from utils.base.errors import UserError, first_line
from utils.base.frame_students import NO_MIXING, NO_WEIGHTS, backbone_name, check_frame_student
from utils.base.options import DistillationOptions
from utils.data.class_scores import are_probabilities
from utils.networks.backbone_weights import set_backbone_weights, weights_fingerprint
from utils.networks.model_file import load_checked
from utils.networks.own_modules import import_own, look_in_current_folder, place_of
from utils.networks.recognizer import save_model


def student_builder(
    student: str, *, mixing: str = NO_MIXING, weights: str | Path = NO_WEIGHTS, is_pretrained: bool = False
) -> Callable:
    """Return the function that builds `student`: a key of STUDENTS, "frames:NAME" or "package.module:function".

    The builder takes `num_classes` and the keywords `input_shape`, `width` and `dropout`, and returns a model that maps
    RGB clips `(B, *input_shape)`, 0..255, to logits `(B, num_classes)`. A user's module may be in the current folder.
    The other arguments are of "frames:NAME", see `build_frame_student`. Raises UserError if there is no such function.
    The builder raises UserError if the user's function fails; `check_student` checks what it returns.
    """
    if backbone_name(student) is not None:
        settings = {"mixing": mixing, "weights": weights, "is_pretrained": is_pretrained}
        return functools.partial(build_frame_student, student, **settings)
    check_frame_student(student, mixing=mixing, weights=weights, width=1.0)
    module_name, _, function_name = STUDENTS.get(student, student).partition(":")
    module = import_own(module_name, argument=f"--student {student}")
    builder = getattr(module, function_name, None)
    if not callable(builder):
        raise UserError(f"--student {student}: {module.__file__} must hold a function {function_name}, found none")
    if student in STUDENTS:
        return builder

    def build_named(num_classes: int, **size):
        try:
            return builder(num_classes, **size)
        except Exception as error:
            raise UserError(f"--student {student}: building it failed {place_of(error)}") from error

    return build_named


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


def check_student(
    student: str, model, num_classes: int, input_shape: tuple[int, int, int, int], output_path: Path
) -> None:
    """Raise UserError unless a student can be trained, and be saved in the format of `output_path` and loaded again.

    It must map clips `(B, *input_shape)` to logits `(B, num_classes)`, and the loaded model must compute the same. Its
    layers are Keras' own or registered with Keras, see `register_layers`.
    """
    import keras

    what = f"--student {student}"
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise UserError(f"{what}: must return a functional or sequential Keras model, returned {type(model).__name__}")
    if len(model.inputs) != 1 or model.input_shape != (None, *input_shape):
        raise UserError(f"{what}: must take clips (B, T, H, W, 3) {(None, *input_shape)}, takes {model.input_shape}")
    if len(model.outputs) != 1 or model.output_shape != (None, num_classes):
        raise UserError(f"{what}: must output logits (B, C) {(None, num_classes)}, outputs {model.output_shape}")
    clips = np.random.default_rng(0).integers(0, 256, (2, *input_shape)).astype(np.float32)
    scores = np.asarray(model(clips, training=False))
    if are_probabilities(scores):
        raise UserError(f"{what}: must output logits, outputs probabilities; remove the final softmax")
    suffix = output_path.suffix
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"student{suffix}"
        try:
            save_model(model, path)
            loaded = np.asarray(load_checked(path)(clips, training=False))
        except Exception as error:  # Keras raises many types
            other = "" if suffix == ".keras" else "; .keras files hold more"
            raise UserError(f"{what}: must load again from a {suffix} file, but {first_line(error)}{other}") from None
    if not np.allclose(loaded, scores, rtol=1e-4, atol=1e-5):
        raise UserError(
            f"{what}: must compute the same after loading from a {suffix} file; is its get_config complete?"
        )
