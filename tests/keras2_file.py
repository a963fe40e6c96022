"""Write a model file in the layout of Keras 2.7 without Keras 2."""

import json

import h5py
import numpy as np

WEIGHTED = {  # settings of layers with weights
    "use_bias": True,
    "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
    "bias_initializer": {"class_name": "Zeros", "config": {}},
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "activity_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}
TRAINING = {
    "loss": "my_kd_loss",
    "metrics": None,
    "weighted_metrics": None,
    "loss_weights": None,
    "optimizer_config": {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 1e-4}},
}


def layer(kind, name, **settings):
    """Return the description of a layer in a model's JSON."""
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **settings}}


def layers_of_student(input_shape, num_classes):
    """Return the descriptions of all layers."""
    shape, last = {"batch_input_shape": [None, *input_shape]}, {"data_format": "channels_last"}
    flags = {"dtype": "float32", "sparse": False, "ragged": False, "name": "conv3d_input"}
    size = {"filters": 4, "kernel_size": [3, 3, 3], "strides": [2, 2, 2], "padding": "same", "dilation_rate": [1, 1, 1]}
    pool = {"pool_size": [2, 2, 2], "padding": "valid", "strides": [2, 2, 2]}
    return [
        {"class_name": "InputLayer", "config": shape | flags},
        layer("Conv3D", "conv3d", **shape, **size, **last, groups=1, activation="relu", **WEIGHTED),
        layer("MaxPooling3D", "max_pooling3d", **pool, **last),
        layer("Flatten", "flatten", **last),
        layer("Dropout", "dropout", rate=0.5, noise_shape=None, seed=None),
        layer("Dense", "dense", units=num_classes, activation="softmax", **WEIGHTED),
    ]


def write_keras2_student(path, *, input_shape, num_classes, seed=0):
    """Write a Sequential of Conv3D, MaxPooling3D, Flatten, Dropout and a softmax Dense with random weights.

    It takes BGR clips 0..255. The file has the content of `model.save("x.h5")` in Keras 2.7: a JSON of the layers with
    `batch_input_shape`, a training configuration with a custom loss, and a group of weights per layer. Returns the
    arrays (convolution kernel, bias, dense kernel, bias).
    """
    rng = np.random.default_rng(seed)
    pooled = int(np.prod([side // 4 for side in input_shape[:3]])) * 4
    weights = {
        "conv3d": {"kernel:0": rng.normal(0, 0.01, (3, 3, 3, 3, 4)), "bias:0": rng.normal(0, 0.1, 4)},
        "dense": {"kernel:0": rng.normal(0, 0.05, (pooled, num_classes)), "bias:0": np.zeros(num_classes)},
    }
    weights = {
        name: {key: value.astype("float32") for key, value in arrays.items()} for name, arrays in weights.items()
    }
    layers = layers_of_student(input_shape, num_classes)
    with h5py.File(path, "w") as file:
        model = {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}
        file.attrs["model_config"] = json.dumps(model)
        file.attrs["training_config"] = json.dumps(TRAINING)
        group = file.create_group("model_weights")
        names = [layer["config"]["name"] for layer in layers[1:]]
        group.attrs["layer_names"] = [name.encode() for name in names]
        for place in (file, group):
            place.attrs["keras_version"] = "2.7.0"
            place.attrs["backend"] = "tensorflow"
        for name in names:
            arrays = weights.get(name, {})
            of_layer = group.create_group(name)
            of_layer.attrs["weight_names"] = [f"{name}/{key}".encode() for key in arrays]
            for key, value in arrays.items():
                of_layer.create_dataset(f"{name}/{key}", data=value)
    return [value for arrays in weights.values() for value in arrays.values()]


def answer_by_numpy(weights, clips_bgr):
    """Return the probabilities `(B, C)` of that network for clips `(B, T, H, W, 3)`, computed in float64."""
    kernel, bias, dense_kernel, dense_bias = [array.astype(np.float64) for array in weights]
    batch, *sides, _ = clips_bgr.shape
    # "same" padding with stride 2 and even sizes: one value at the far end
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
