"""EfficientNet-Lite0: published size, blocks with a shift, input sizes; tests/examples compare it with PyTorch."""

import numpy as np

from models.efficientnet_lite import build_efficientnet_lite0
from models.frame_layers import TemporalShift


def test_the_size_is_the_published_one():
    """The published weights fit no other network: 4,652,008 parameters with 1,000 classes, without statistics."""
    network = build_efficientnet_lite0((224, 224, 3))
    trainable = sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
    assert trainable + 1000 * (1280 + 1) == 4_652_008
    assert network.count_params() == 3_413_024


def test_blocks_with_a_skip_connection_are_shifted():
    """A shift without a skip connection loses features of the present frame. Weights do not depend on the shift."""
    plain, shifted = (build_efficientnet_lite0((64, 64, 3), shifted_frames=frames) for frames in (None, 4))
    layers = {layer.name: layer for layer in shifted.layers}
    shifts = {name.partition("_")[0] for name, layer in layers.items() if isinstance(layer, TemporalShift)}
    assert shifts == {name.partition("_")[0] for name in layers if name.endswith("_add")}
    assert len(shifts) == 9
    for name in shifts:
        assert layers[f"{name}_expand_conv"].input is layers[f"{name}_shift"].output
    names = [[variable.path for variable in network.weights] for network in (plain, shifted)]
    assert names[0] == names[1]


def test_any_image_size():
    """Odd and small images must not fail in the strided convolutions."""
    for shape in [(17, 50, 3), (112, 64, 3), (8, 8, 3)]:
        network = build_efficientnet_lite0(shape, width=0.1)
        images = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.float32)
        features = np.asarray(network(images))
        assert features.shape == (2, 128)
        assert np.isfinite(features).all()
