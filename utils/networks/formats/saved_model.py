"""Folders with a TensorFlow SavedModel, which the converters of other formats read as well."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.networks.formats.format import INPUT, METADATA_KEY, Format, Runtime, check_interface

SIGNATURE = "serving_default"
METADATA = f"assets.extra/{METADATA_KEY}.json"


def write(network, path: Path, metadata: str = "") -> None:
    """Write a SavedModel with the signature `serving_default`.

    `keras.export.ExportArchive` would store each weight twice.
    """
    import tensorflow as tf

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    spec = tf.TensorSpec(network.input_shape, tf.float32, name=INPUT)
    module.serve = tf.function(lambda clip: network(clip, training=False), input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures=module.serve.get_concrete_function())
    (path / METADATA).parent.mkdir()
    (path / METADATA).write_text(metadata)


@contextlib.contextmanager
def as_saved_model(network, path: Path) -> Iterator[Path]:
    """Write a SavedModel for a converter to a temporary folder next to `path`."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="saved_model.") as folder:
        write(network, Path(folder))
        yield Path(folder)


def open_file(path: Path, *, threads: int, precision: str) -> Runtime:
    """Open a SavedModel by TensorFlow, with the threads that TensorFlow was started with."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures[SIGNATURE]
    (clip,), (scores,) = (serve.structured_input_signature[1].values(), serve.structured_outputs.values())

    def run(clips: np.ndarray) -> np.ndarray:
        (found,) = serve(**{clip.name: tf.constant(clips)}).values()
        return found.numpy()

    run.loaded = loaded  # the signature does not keep the variables alive
    interface = check_interface(*([(tuple(each.shape), each.dtype.name)] for each in (clip, scores)))
    return Runtime(path, *interface, run, (path / METADATA).read_text())


FORMAT = Format(runtime="tensorflow", modules=(), write=write, open_file=open_file)
