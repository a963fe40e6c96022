"""A tiny network as Keras, ONNX, OpenVINO and LiteRT files: linear scores of the mean colour of a clip."""

import json
from pathlib import Path

import numpy as np

from utils.base.files import file_fingerprint, write_json
from utils.networks.formats.litert import with_metadata

SHAPE = (16, 32, 32, 3)
NAMES = ("a", "b", "c")
KEY = "video_action_distillation"
SUFFIXES = (".onnx", ".xml", ".tflite")
WEIGHTS = np.array([[4, -2, 1], [-3, 5, 0], [1, 0, -4]], np.float32) / 64
BIASES = np.array([0.5, -0.5, 0.0], np.float32)


def logits_of(clips: np.ndarray) -> np.ndarray:
    """Return the logits of the network in NumPy: float64 `(B, 3)`."""
    return np.asarray(clips, np.float64).mean(axis=(1, 2, 3)) @ WEIGHTS.astype(np.float64) + BIASES


def probabilities_of(clips: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities of the network in NumPy: float64 `(B, 3)`."""
    exponentials = np.exp(logits_of(clips) / temperature)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def random_clips(count: int = 4) -> np.ndarray:
    """Return clips of different colours, uint8 `(count, *SHAPE)`."""
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 128, (count, 1, 1, 1, 3))
    return (colours + generator.integers(0, 128, (count, *SHAPE))).astype(np.uint8)


def write_exported(
    path: Path,
    *,
    temperature: float | None = None,
    metadata: dict | None = None,
    shape: tuple = (None, *SHAPE),
    classes: int = len(NAMES),
) -> Path:
    """Write the network by the suffix of `path`: logits, or with `temperature` softmax(logits / temperature).

    It has the first `classes` classes.
    """
    text = None if metadata is None else json.dumps(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    {".onnx": _write_onnx, ".xml": _write_openvino, ".tflite": _write_litert}[path.suffix](
        path, temperature, text, shape, classes
    )
    return path


def onnx_model(temperature: float | None = None, shape: tuple = (None, *SHAPE), classes: int = len(NAMES)):
    """Return the network as an ONNX model."""
    from onnx import TensorProto, checker, helper, numpy_helper

    output = "logits" if temperature is None else "probabilities"
    sides = [side or "batch" for side in shape]
    constants = {"axes": np.array([1, 2, 3]), "weights": WEIGHTS[:, :classes], "biases": BIASES[:classes]}
    nodes = [
        helper.make_node("ReduceMean", ["clip", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "biases"], ["scores"]),
    ]
    if temperature is None:
        nodes.append(helper.make_node("Identity", ["scores"], [output]))
    else:
        constants["temperature"] = np.float32(temperature)
        nodes.append(helper.make_node("Div", ["scores", "temperature"], ["scaled"]))
        nodes.append(helper.make_node("Softmax", ["scaled"], [output], axis=1))
    graph = helper.make_graph(
        nodes,
        "mean_colour",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [sides[0], classes])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model


def _write_onnx(path: Path, temperature: float | None, text: str | None, shape: tuple, classes: int) -> None:
    import onnx

    model = onnx_model(temperature, shape, classes)
    if text is not None:
        model.metadata_props.add(key=KEY, value=text)
    onnx.save(model, path)


def _write_openvino(path: Path, temperature: float | None, text: str | None, shape: tuple, classes: int) -> None:
    import openvino

    source = path.with_name("source_of_openvino.onnx")
    _write_onnx(source, temperature, None, shape, classes)
    model = openvino.convert_model(source)
    if text is not None:
        model.set_rt_info(text, KEY)
    openvino.save_model(model, path, compress_to_fp16=False)
    source.unlink()


def _write_litert(path: Path, temperature: float | None, text: str | None, shape: tuple, classes: int) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec(shape, name="clip")])
    def network(clip):
        scores = tf.reduce_mean(clip, axis=(1, 2, 3)) @ WEIGHTS[:, :classes] + BIASES[:classes]
        return scores if temperature is None else tf.nn.softmax(scores / temperature)

    content = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()], network).convert()
    path.write_bytes(content if text is None else with_metadata(content, text))


def keras_model():
    """Return the network as a Keras model that outputs logits."""
    import keras

    model = keras.Sequential([keras.Input(SHAPE), keras.layers.GlobalAveragePooling3D(), keras.layers.Dense(3)])
    model.layers[-1].set_weights([WEIGHTS, BIASES])
    return keras.Model(model.inputs[0], model.outputs[0])


def about_export(*, output: str = "probabilities", temperature: float = 1.0, **fields) -> dict:
    """Return what an export of the network states about itself, without the record of its source."""
    return {
        "format": 1,
        "kind": "export",
        "source": {"file": "net.keras", "fingerprint": "1" * 64},
        "class_names": list(NAMES),
        "input": {"shape": list(SHAPE), "channels": "rgb", "range": "0..255", "sampling": "middles"},
        "stored_shape": list(SHAPE),
        "output": output,
        "temperature": temperature,
        "threshold": None,
        "clip_seconds": None,
        "cost": {"parameters": 12, "multiply_accumulates": 9, "megabytes": 48e-6},
        "versions": {"keras": "3"},
        **fields,
    }


def write_export(folder: Path, about: dict, record: dict | None, *, stem: str = "net") -> list[Path]:
    """Write the network in each format, with what `about` states inside, and the .json of the export."""
    temperature = about["temperature"] if about["output"] == "probabilities" else None
    paths = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
    for path in paths:
        write_exported(path, temperature=temperature, metadata=about)
    entry = {"precision": "float32", "batch": "dynamic", "largest_difference": 0.0, "agreement": 1.0}
    files = {
        path.name: {"type": kind, "fingerprint": file_fingerprint(path), **entry}
        for path, kind in zip(paths, ("onnx", "openvino", "litert"))
    }
    files[f"{stem}.xml"]["weights"] = file_fingerprint(folder / f"{stem}.bin")
    write_json(folder / f"{stem}.json", {**about, "record": record, "files": files})
    return paths
