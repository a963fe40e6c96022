"""Run a PyTorch video network on the folder of KD_training.py --write_views, and write its scores."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from examples.torch_cost import linear_cost, torch_cost
from utils.base.argument_types import existing_folder, output_scores, positive_int
from utils.base.arguments import add_overwrite_argument
from utils.base.array_files import open_array
from utils.base.errors import UserError, first_line
from utils.base.files import write_json, written_beside
from utils.base.parser import ArgumentParser
from utils.base.progress import progress
from utils.runs.cost import Cost, cost_of_weights
from utils.runs.files import check_scores
from utils.runs.scores import read_views_file

Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the folder of views, the batch size and the files to write."""
    parser = ArgumentParser(description)
    parser.add_argument("--views_path", type=existing_folder, required=True, help="folder of --write_views")
    parser.add_argument("--batch_size", type=positive_int, default=4, help="clips per forward pass")
    parser.add_argument("--output_path", type=output_scores, default="scores.npy", help="the logits")
    parser.add_argument("--features_path", type=output_scores, help="also write the inputs of the last layer here")
    add_overwrite_argument(parser)
    return parser


def check_files(args: argparse.Namespace) -> None:
    """Check, before any work, that no output replaces a view or another file."""
    made = [("--output_path", args.output_path), ("--features_path", args.features_path)]
    check_scores(args, [(argument, path) for argument, path in made if path is not None])


@contextlib.contextmanager
def loading(model: str) -> Iterator[None]:
    """Turn the errors of missing packages, weights and files while `model` is loaded into a UserError."""
    try:
        yield
    except ImportError as error:
        raise UserError(f"{error}; install the packages that requirements-examples.txt names for this script") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"--model: {model} cannot be loaded: {first_line(error)}") from None


def require_size(folder: Path, frames: int, height: int, width: int) -> None:
    """Raise UserError unless the views in `folder` have the input size of the network."""
    about = read_views_file(folder / "views.json", argument="--views_path")
    found = [about.frames, about.height, about.width]
    if found != [frames, height, width]:
        raise UserError(
            f"--views_path: {folder} must hold views of {frames} frames {height}x{width}, found {found[0]} frames "
            f"{found[1]}x{found[2]}; write them with --input_size {height}x{width} --input_frames {frames}"
        )


def normalised(clips: np.ndarray, mean: Sequence[float], deviation: Sequence[float]) -> np.ndarray:
    """Scale RGB clips uint8 `(B, T, H, W, 3)` to 0..1 and normalise the channels: float32 `(B, T, 3, H, W)`."""
    scaled = (clips / np.float32(255) - np.float32(mean)) / np.float32(deviation)
    return np.ascontiguousarray(scaled.transpose(0, 1, 4, 2, 3))


def predictor(model, forward: Callable, *, mean: Sequence[float], deviation: Sequence[float]) -> Predict:
    """Return a function from clips uint8 `(B, T, H, W, 3)` to logits `(B, C)` and features `(B, D)`.

    `forward` maps a tensor of normalised clips `(B, T, 3, H, W)` to logits. The features are the inputs of the last
    linear layer of `model`, a PyTorch module.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.eval().to(device)
    inputs = []
    classifier = last_linear(model)
    classifier.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))

    @torch.inference_mode()
    def predict(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = forward(torch.from_numpy(normalised(clips, mean, deviation)).to(device))
        return logits.cpu().numpy(), inputs.pop().cpu().numpy()

    return predict


def last_linear(model):
    """Return the last linear layer of a PyTorch module."""
    import torch

    return [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)][-1]


def network_costs(model, forward: Callable, folder: Path) -> tuple[Cost, Cost]:
    """Return the cost of a network on a clip of the views in `folder`: of its logits, and of its features alone.

    `forward` is that of `predictor`, which has to be made afterwards. The features lack the last linear layer.
    """
    import torch

    about = read_views_file(folder / "views.json", argument="--views_path")
    clip = torch.zeros(1, about.frames, 3, about.height, about.width)
    whole = torch_cost(forward, clip, model.eval().state_dict().values())
    layer = last_linear(model)
    last = linear_cost(layer.in_features, layer.out_features)
    biases = 0 if layer.bias is not None else layer.out_features
    parameters = whole.parameters - (last.parameters - biases)
    return whole, cost_of_weights(parameters, whole.multiply_accumulates - last.multiply_accumulates)


def write_scores(
    args: argparse.Namespace, predict: Predict, class_names: Sequence[str], costs: Sequence[Cost | None] = (None, None)
) -> None:
    """Run a network on all views in `args.views_path` and write its logits and, if asked for, its features.

    Logits are float32 `(N, views + 1, C)`, features `(N, views + 1, D)`, NaN for other clips. `class_names` are those
    of the network. If they are the classes of the videos, logits are stored in the order of classes.txt. The .json next
    to each file is a copy of views.json, from which KD_training.py recognises clips and views, with the cost of the
    logits or of the features: `costs`, None if unknown.
    """
    folder: Path = args.views_path
    about = read_views_file(folder / "views.json", argument="--views_path")
    wanted = (folder / "classes.txt").read_text().splitlines()
    is_own = sorted(class_names) == sorted(wanted)
    order = [list(class_names).index(name) for name in wanted] if is_own else slice(None)

    rows = [open_array(folder / f"rows_{view}.npy", "--views_path") for view in range(about.answers)]
    arrays = None
    with progress(sum(map(len, rows)), unit="clips") as advance:
        for view, rows_of_view in enumerate(rows):
            clips = open_array(folder / f"view_{view}.npy", "--views_path")
            for start in range(0, len(clips), args.batch_size):
                batch = slice(start, start + args.batch_size)
                logits, features = predict(np.asarray(clips[batch]))
                found = logits[:, order], features
                if arrays is None:
                    size = (about.clips, about.answers)
                    arrays = [np.full((*size, part.shape[1]), np.nan, np.float32) for part in found]
                for output, part in zip(arrays, found):
                    output[rows_of_view[batch], view] = part
                for _ in logits:
                    advance()
    for path, output, cost in zip((args.output_path, args.features_path), arrays, costs):
        if path is not None:
            with written_beside(path) as temporary, open(temporary, "wb") as file:
                np.save(file, output)
            write_json(
                path.with_suffix(".json"),
                about.model_dump(exclude_none=True) | ({"cost": cost.model_dump()} if cost else {}),
            )
    use = "for --source" if is_own else "which are not the classes of the videos"
    print(f"wrote {args.output_path}: logits of {len(class_names)} classes, {use}")
    if args.features_path is not None:
        print(f"wrote {args.features_path}: {arrays[1].shape[-1]} features, for image_teacher.py --features")
