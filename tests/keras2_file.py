"""Writes a model file in the layout of Keras 2.7, as older code left them, without Keras 2."""

import json

import h5py
import numpy as np


def write_keras2_student(path, *, input_shape, num_classes, seed=0):
    """A Sequential of Conv3D, MaxPooling3D, Flatten, Dropout and a softmax Dense, trained in name only.

    It takes BGR clips 0..255. The file has what Keras 2.7's `model.save("x.h5")` wrote: a JSON of the layers with
    `batch_input_shape`, a training configuration whose loss nobody knows any more, and a group of weights a layer.
    Returns the arrays (convolution kernel, bias, dense kernel, bias).
    """
    rng = np.random.default_rng(seed)
    pooled = int(np.prod([side // 4 for side in input_shape[:3]])) * 4
    weights = {
        "conv3d": {"kernel:0": rng.normal(0, 0.01, (3, 3, 3, 3, 4)), "bias:0": rng.normal(0, 0.1, 4)},
        "dense": {"kernel:0": rng.normal(0, 0.05, (pooled, num_classes)), "bias:0": np.zeros(num_classes)},
    }
    weights = {name: {key: value.astype("float32") for key, value in layer.items()} for name, layer in weights.items()}
    common = {"trainable": True, "dtype": "float32"}
    regularisers = {"kernel_regularizer": None, "bias_regularizer": None, "activity_regularizer": None}
    constraints = {"kernel_constraint": None, "bias_constraint": None}
    initialisers = {
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
        "bias_initializer": {"class_name": "Zeros", "config": {}},
    }
    layers = [
        (
            "InputLayer",
            {
                "batch_input_shape": [None, *input_shape],
                "dtype": "float32",
                "sparse": False,
                "ragged": False,
                "name": "conv3d_input",
            },
        ),
        (
            "Conv3D",
            {
                "name": "conv3d",
                **common,
                "batch_input_shape": [None, *input_shape],
                "filters": 4,
                "kernel_size": [3, 3, 3],
                "strides": [2, 2, 2],
                "padding": "same",
                "data_format": "channels_last",
                "dilation_rate": [1, 1, 1],
                "groups": 1,
                "activation": "relu",
                "use_bias": True,
                **initialisers,
                **regularisers,
                **constraints,
            },
        ),
        (
            "MaxPooling3D",
            {
                "name": "max_pooling3d",
                **common,
                "pool_size": [2, 2, 2],
                "padding": "valid",
                "strides": [2, 2, 2],
                "data_format": "channels_last",
            },
        ),
        ("Flatten", {"name": "flatten", **common, "data_format": "channels_last"}),
        ("Dropout", {"name": "dropout", **common, "rate": 0.5, "noise_shape": None, "seed": None}),
        (
            "Dense",
            {
                "name": "dense",
                **common,
                "units": num_classes,
                "activation": "softmax",
                "use_bias": True,
                **initialisers,
                **regularisers,
                **constraints,
            },
        ),
    ]
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "sequential",
            "layers": [{"class_name": kind, "config": settings} for kind, settings in layers],
        },
    }
    training = {
        "loss": "my_kd_loss",
        "metrics": None,
        "weighted_metrics": None,
        "loss_weights": None,
        "optimizer_config": {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 1e-4}},
    }
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.7.0"
        file.attrs["backend"] = "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["training_config"] = json.dumps(training)
        group = file.create_group("model_weights")
        names = ["conv3d", "max_pooling3d", "flatten", "dropout", "dense"]
        group.attrs["layer_names"] = [name.encode() for name in names]
        group.attrs["keras_version"] = "2.7.0"
        group.attrs["backend"] = "tensorflow"
        for name in names:
            layer = group.create_group(name)
            arrays = weights.get(name, {})
            layer.attrs["weight_names"] = [f"{name}/{key}".encode() for key in arrays]
            for key, value in arrays.items():
                layer.create_dataset(f"{name}/{key}", data=value)
    return [value for layer in weights.values() for value in layer.values()]


def answer_by_numpy(weights, clips_bgr):
    """Probabilities of that network, step by step in float64: `(B, T, H, W, 3)` -> `(B, C)`."""
    kernel, bias, dense_kernel, dense_bias = [array.astype(np.float64) for array in weights]
    batch, *sides, _ = clips_bgr.shape
    # "same" padding with stride 2 on even sides: nothing in front, one value behind
    padded = np.pad(clips_bgr.astype(np.float64), [(0, 0), *[(0, 1)] * 3, (0, 0)])
    halves = [side // 2 for side in sides]
    convolved = np.zeros((batch, *halves, kernel.shape[-1])) + bias
    for t, h, w in np.ndindex(3, 3, 3):
        window = padded[:, t : t + sides[0] : 2, h : h + sides[1] : 2, w : w + sides[2] : 2]
        convolved += window @ kernel[t, h, w]
    active = np.maximum(convolved, 0)
    quarters = [half // 2 for half in halves]
    pooled = active.reshape(batch, quarters[0], 2, quarters[1], 2, quarters[2], 2, -1).max(axis=(2, 4, 6))
    logits = pooled.reshape(batch, -1) @ dense_kernel + dense_bias
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)
