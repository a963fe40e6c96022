"""Networks that XLA compiles in a second, and the arguments of their trainings by the scripts.

XLA needs half a minute to compile a training step of eight 3D convolutions on a CPU.
"""

import keras

STUDENT = "tests.jax.tiny:build_student"
NETWORK = ["--input_size", "32", "--batch_size", "4", "--views", "1"]


def build_student(num_classes, *, input_shape, width, dropout):
    """Build a chain with one 3D convolution and dropout, which maps clips to logits."""
    layers = [
        keras.layers.Rescaling(1 / 127.5, offset=-1.0),
        keras.layers.AveragePooling3D((4, 8, 8)),
        keras.layers.Conv3D(4, 2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.25 * dropout),
        keras.layers.Dense(num_classes, name="logits"),
    ]
    return keras.Sequential([keras.Input(input_shape), *layers])


def build_c3d(num_classes, *, input_shape, width, dropout, **settings):
    """Stand in for C3D, with the same arguments."""
    return build_student(num_classes, input_shape=input_shape, width=width, dropout=dropout)


def arguments_of(arrays, *, output_path):
    """Return the arguments that name the arrays in a folder and the model."""
    found = ["--data", arrays / "frames.npy", "--annotations", arrays / "labels.npy"]
    return [*found, *NETWORK, "--output_path", output_path]
