"""Conversion of a Keras model to the formats of other runtimes."""

import contextlib
import errno
import gc
import io
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from utils.base.devices import native_output_held_back
from utils.base.errors import UserError, first_line, out_of_memory
from utils.base.run_log import log_only
from utils.networks.export_record import METADATA_KEY
from utils.networks.runtimes.runtime import INSTALL

INPUT = "clip"  # name of the input in all formats
NO_OPERATOR = re.compile(r"'(tf\.\w+)' op is neither a custom op nor a flex op")  # of the converter to LiteRT
NEARLY_FULL = 2**20  # bytes left on a disk
EXTRA = f"assets.extra/{METADATA_KEY}.json"  # metadata in the folder of a SavedModel


def network_of(model, output: str, temperature: float):
    """Return a Keras model that maps clips to the `output` of a model of logits.

    "probabilities" are softmax(logits / temperature); "logits" are unchanged. Input and output have these names.
    """
    import keras

    clips = keras.Input(model.input_shape[1:], name=INPUT)
    scores = model(clips)
    if output == "probabilities":
        scores = keras.layers.Softmax()(keras.layers.Rescaling(1 / temperature)(scores))
    return keras.Model(clips, {output: scores})


def write_saved_model(network, folder: Path, metadata: str) -> None:
    """Write a TensorFlow SavedModel with the signature `serving_default`.

    `keras.export.ExportArchive` would store each weight twice.
    """
    import tensorflow as tf

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    module.serve = tf.function(lambda clip: network(clip, training=False), input_signature=signature(network))
    tf.saved_model.save(module, str(folder), signatures=module.serve.get_concrete_function())
    (folder / EXTRA).parent.mkdir()
    (folder / EXTRA).write_text(metadata)


def write_onnx(network, path: Path, metadata: str) -> None:
    """Write an ONNX file."""
    import onnx

    (output,) = network.output
    with copies_freed():
        network.export(str(path), format="onnx", verbose=False, input_signature=signature(network))
    model = onnx.load(str(path))
    (result,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [output if name == result.name else name for name in node.output]
        node.input[:] = [output if name == result.name else name for name in node.input]
    result.name = output
    for tensor in (*model.graph.input, result):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    describe_onnx(model, metadata)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@contextlib.contextmanager
def copies_freed() -> Iterator[None]:
    """Free the copies of a graph that tf2onnx makes before each optimisation, and that refer to themselves.

    Python would wait for many small objects before it looks for these few large ones: converting C3D needs 17 GB
    otherwise, and 8 GB with this.
    """
    from tf2onnx import optimizer

    def freeing(factory):
        def make():
            gc.collect()
            return factory()

        return make

    original = optimizer._get_optimizers
    optimizer._get_optimizers = lambda: {name: freeing(factory) for name, factory in original().items()}
    gc.collect()
    gc.freeze()  # the objects so far are not searched
    try:
        yield
    finally:
        gc.unfreeze()
        optimizer._get_optimizers = original


def describe_onnx(model, metadata: str) -> None:
    """Store metadata in an ONNX model."""
    import onnx

    onnx.helper.set_model_props(model, {METADATA_KEY: metadata})


def write_openvino(saved_model: Path, path: Path, metadata: str) -> None:
    """Convert a SavedModel to an OpenVINO model: the .xml file `path` and a .bin file next to it."""
    import openvino

    save_openvino(openvino.convert_model(str(saved_model)), path, metadata)


def save_openvino(model, path: Path, metadata: str) -> None:
    """Write an OpenVINO model with its weights as they are, without rounding to 16 bits."""
    import openvino

    model.set_rt_info(metadata, METADATA_KEY)
    openvino.save_model(model, str(path), compress_to_fp16=False)


def write_litert(saved_model: Path, path: Path, metadata: str, calibration=None) -> None:
    """Convert a SavedModel to LiteRT, with built-in operators only.

    With `calibration`, which returns clips float32 `(T, H, W, 3)`, all operators for which LiteRT has integer
    arithmetic use it. Raises UserError if an operator is missing.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    operators = tf.lite.OpsSet
    converter.target_spec.supported_ops = [operators.TFLITE_BUILTINS]
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([clip[None]] for clip in calibration())
        converter.target_spec.supported_ops = [operators.TFLITE_BUILTINS_INT8, operators.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except Exception as error:
        missing = sorted(set(NO_OPERATOR.findall(str(error))))
        if not missing:
            raise
        raise UserError(f"it uses {', '.join(missing)}, for which LiteRT has no built-in operator") from None
    path.write_bytes(with_litert_metadata(content, metadata))


def with_litert_metadata(content: bytes, metadata: str) -> bytes:
    """Return a LiteRT file with a metadata buffer."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = METADATA_KEY, len(model.buffers)
    buffer.data = np.frombuffer(metadata.encode(), np.uint8)
    model.metadata = [*(model.metadata or ()), entry]
    model.buffers.append(buffer)
    builder = flatbuffers.Builder(len(content) + len(metadata))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def signature(network) -> list:
    """Return the input signature for TensorFlow's functions: float32 `(None, T, H, W, 3)`."""
    import tensorflow as tf

    return [tf.TensorSpec(network.input_shape, tf.float32, name=INPUT)]


@contextlib.contextmanager
def converting(what: str, folder: Path) -> Iterator[None]:
    """Hold back what converters print, and turn their exceptions, which are of many types, into a UserError.

    `what` names the argument, the format and the file, which is written to `folder`. Whole messages are written to the
    log of the run. A lack of memory is raised as it is.
    """
    problem = None
    with native_output_held_back(shown=False), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ModuleNotFoundError as error:
            problem = UserError(f"{what} needs the package {error.name}, which is missing: {INSTALL}")
        except Exception as error:
            full = os.strerror(errno.ENOSPC)
            is_full = full in str(error) or shutil.disk_usage(folder).free < NEARLY_FULL  # OpenVINO gives no reason
            if not is_full and out_of_memory(error):
                raise
            log_only(f"{what}: {type(error).__name__}: {error}")
            problem = UserError(f"{what} could not be written: {full if is_full else first_line(error)}")
    if problem is not None:
        raise problem
