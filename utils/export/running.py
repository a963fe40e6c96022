"""Run a Keras model or an exported file, for verification and for measurements."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.networks.export_record import SAVED_MODEL
from utils.networks.model_file import ModelFileError, load_checked
from utils.networks.runtimes.opening import FORMATS, open_runtime

Run = Callable[[np.ndarray], np.ndarray]


def open_exported(path: Path, *, threads: int | None = None) -> tuple[Run, tuple[int, ...], bool]:
    """Open an exported file, the folder of a SavedModel or a Keras model.

    Returns a function from clips float32 `(B, *input_shape)` to its outputs float32 `(B, C)`, the input shape, and
    whether B may be above 1. Raises UserError if it cannot be run. TensorFlow is imported only if it is needed.
    """
    if path.suffix in FORMATS:
        try:
            runtime = open_runtime(path, threads=threads)
        except ModelFileError as error:
            raise UserError(f"{path.name} cannot be run: {error}") from None
        return runtime, runtime.input_shape, runtime.is_dynamic
    import tensorflow as tf

    if path.name.endswith(SAVED_MODEL):
        loaded = tf.saved_model.load(str(path))
        serve = loaded.signatures["serving_default"]
        (spec,) = serve.structured_input_signature[1].values()

        def run(clips: np.ndarray) -> np.ndarray:
            (scores,) = serve(**{spec.name: tf.constant(clips)}).values()
            return scores.numpy()

        run.loaded = loaded  # the signature does not keep the variables alive
        return run, tuple(spec.shape[1:]), spec.shape[0] is None
    model = load_checked(path)
    model.jit_compile = False
    return lambda clips: np.asarray(model.predict_on_batch(clips)), tuple(model.input_shape[1:]), True
