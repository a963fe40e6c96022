"""Students that apply an image network to each frame, mix the frames over time, and average them."""

import keras

from models.efficientnet_lite import build_efficientnet_lite0
from models.frame_layers import BatchToFrames, FramesToBatch

DROPOUT = 0.5  # before the classifier, as in TSM (Lin et al., arXiv:1811.08383)
BACKBONE = "backbone"  # name of the layer that is the image network
AVERAGE, LOGITS = "average", "logits"  # names of the layers of a clip's features and of the classifier
# Scale and offset of the pixels for networks of keras.applications that do not contain a layer for it.
TO_ONE = (1 / 127.5, -1.0)  # -1..1
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of values from 0 to 1
PREPROCESSING = {
    "MobileNet": TO_ONE,
    "MobileNetV2": TO_ONE,
    "ResNet50V2": TO_ONE,
    "EfficientNetV2B0": (
        [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
        [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION)],
    ),
}
MOMENTUM = 0.9  # of batch normalisation without pretrained weights; 0.99 is for millions of images
MIXING_SHARE = 8  # features per hidden unit of the temporal convolution


def build_frames(
    backbone: str,
    num_classes: int,
    *,
    input_shape: tuple[int, int, int, int] = (8, 112, 112, 3),
    width: float = 1.0,
    dropout: float = 1.0,
    mixing: str = "none",
    pretrained: bool = False,
) -> keras.Model:
    """Build a student from the image network `backbone`, one of `models.BACKBONES`, with logits as output.

    The model maps RGB clips `(B, frames, height, width, 3)`, 0..255, to logits float32 `(B, num_classes)`. `mixing` is
    "shift" (`TemporalShift` in the residual blocks, of EfficientNet-Lite0 only), "convolution"
    (`temporal_convolution` of the features) or "none". A single frame is not shifted. `width` multiplies the filters
    of EfficientNet-Lite0; the other networks have a fixed width. `dropout` multiplies the dropout rate of 0.5 before
    the classifier. The classifier starts at zero, as in BiT (Kolesnikov et al., arXiv:1912.11370).

    With `pretrained`, which is for networks whose weights are set afterwards, the layers of batch normalisation are
    frozen: they use their stored mean and variance in training as well, and all of their weights stay as they are.
    Raises ValueError if the input is too small.
    """
    frames, height, image_width, channels = input_shape
    if channels != 3:
        raise ValueError(f"input_shape must end in 3 channels, got {tuple(input_shape)}")
    image_shape = (height, image_width, channels)
    clips = keras.Input(input_shape, name="clip")  # (B, T, H, W, 3), RGB, 0..255
    images = FramesToBatch(name="images")(clips)  # (B * T, H, W, 3)
    if backbone == "efficientnet_lite0":
        network = build_efficientnet_lite0(
            image_shape, width=width, shifted_frames=frames if mixing == "shift" and frames > 1 else None
        )
    else:
        network = application(backbone, image_shape)
    if backbone in PREPROCESSING:
        scale, offset = PREPROCESSING[backbone]
        images = keras.layers.Rescaling(scale, offset=offset, name="preprocessing")(images)
    network = keras.Model(network.inputs[0], network.outputs[0], name=BACKBONE)
    for layer in normalisation_layers(network):
        if pretrained:
            layer.trainable = False  # an argument training=False would be overridden when the student is trained
        else:
            layer.momentum = MOMENTUM
    features = BatchToFrames(frames, name="features")(network(images))  # (B, T, D)
    if mixing == "convolution":
        features = temporal_convolution(features)
    x = keras.layers.GlobalAveragePooling1D(name=AVERAGE)(features)
    if dropout:
        x = keras.layers.Dropout(dropout * DROPOUT, name="dropout")(x)
    # Random logits would first be trained towards 0, which switches the units of the image network off.
    logits = keras.layers.Dense(num_classes, kernel_initializer="zeros", dtype="float32", name=LOGITS)(x)  # (B, C)
    return keras.Model(clips, logits, name="frames")


def application(name: str, image_shape: tuple[int, int, int], *, weights: str | None = None) -> keras.Model:
    """Build a network of keras.applications that maps images to averaged features, with random weights by default."""
    settings = {"include_top": False, "weights": weights, "input_shape": image_shape, "pooling": "avg"}
    if name == "EfficientNetV2B0":
        settings["include_preprocessing"] = False  # its layer `Normalization` does not convert to ONNX
    network = getattr(keras.applications, name)(**settings)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # EfficientNetV2 would drop residual blocks for single frames of a clip
    return network


def temporal_convolution(features):
    """Add to features `(B, T, D)` what two convolutions over three frames find in them.

    The first has D / 8 filters and ReLU: without a nonlinearity, the average over time would not depend on the order of
    the frames. The second starts at zero, so that an untrained network averages the features of the image network.
    """
    size = features.shape[-1]
    hidden = keras.layers.Conv1D(max(8, size // MIXING_SHARE), 3, padding="same", activation="relu", name="mixing")
    added = keras.layers.Conv1D(size, 3, padding="same", kernel_initializer="zeros", name="mixing_output")
    return keras.layers.Add(name="mixing_add")([features, added(hidden(features))])


def backbone_of(model: keras.Model) -> keras.Model | None:
    """Return the image network of a student that `build_frames` built, or None for any other model."""
    found = [layer for layer in model.layers if layer.name == BACKBONE]
    return found[0] if found and isinstance(found[0], keras.Model) else None


def split_at_features(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return the two halves of a student that `build_frames` built, with shared weights.

    The first maps clips to the features of the classifier, `(B, D)`, the second these to logits `(B, C)`.
    """
    features = model.get_layer(AVERAGE).output
    return keras.Model(model.input, features), keras.Model(features, model.output)


def backbone_variables(model: keras.Model) -> list:
    """Return the trainable variables of the image network of a student; none for other models."""
    backbone = backbone_of(model)
    return [] if backbone is None else backbone.trainable_variables


def normalisation_layers(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch normalisation layers of an image network."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
