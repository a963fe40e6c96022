"""Students that are built and trained in moments, for `--student tests.stages.small_students:NAME`."""

import keras


def chain(num_classes, *, input_shape, width, dropout):
    clips = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling3D()(keras.layers.Rescaling(1 / 255)(clips))
    x = keras.layers.Dense(round(8 * width), activation="relu")(x)
    x = keras.layers.Dropout(0.5 * dropout)(x)
    return keras.Model(clips, keras.layers.Dense(num_classes)(x))


def with_backbone(num_classes, *, input_shape, width, dropout):
    """A student with the layer names of an image network, which may have a learning rate of its own."""
    values = keras.Input((3,))
    backbone = keras.Model(values, keras.layers.Dense(8)(values), name="backbone")
    clips = keras.Input(input_shape)
    x = backbone(keras.layers.GlobalAveragePooling3D()(keras.layers.Rescaling(1 / 255)(clips)))
    return keras.Model(clips, keras.layers.Dense(num_classes)(x))
