"""examples/videomae_scores.py and torchvision_scores.py, with stand-ins and, if installed, with real networks.

Real networks have random weights; nothing is downloaded.
"""

import importlib.util
import sys
import types

import numpy as np
import pytest

from examples import written_views
from examples.written_views import make_parser, network_costs, normalised, require_size, write_scores
from tests.scripts import run_script
from utils.base.errors import UserError
from utils.base.files import write_json
from utils.base.options import DataOptions, ViewOptions
from utils.runs.cost import cost_of_weights, stated_cost
from utils.runs.loading import load
from utils.training import exchange
from utils.training.question import Question

SCRIPTS = ("examples/videomae_scores.py", "examples/torchvision_scores.py")
COSTS = (cost_of_weights(20, 300), cost_of_weights(10, 200))
NORMALISATION = {"mean": [0.485, 0.456, 0.406], "deviation": [0.229, 0.224, 0.225]}


@pytest.fixture
def question(make_arrays):
    """Six labelled clips of two classes, and two unlabelled clips."""
    folder, other = make_arrays(classes=2, groups=3, clips=1), make_arrays("other", classes=2, groups=1, clips=1)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    return Question(load(data, (16, 32, 32, 3), [other / "frames.npy"]), ViewOptions(views=1))


@pytest.fixture
def write_views(question, tmp_path):
    """Return a function that writes the views at a size and returns the arguments of a script."""

    def write(side):
        exchange.write_views(tmp_path / "views", question, (16, side, side, 3))
        outputs = ("--output_path", tmp_path / "scores.npy", "--features_path", tmp_path / "features.npy")
        return "--views_path", tmp_path / "views", *outputs

    return write


def view(question, row, number, side=32):
    return question.dataset.view([row], [number], (16, side, side, 3), question.views)


def predict(clips):
    """Return logits of three classes and six features, different for each clip."""
    colour = clips.mean(axis=(1, 2, 3), dtype=np.float64)
    return colour, np.concatenate([colour, 2 * colour], axis=1)


def test_scores_belong_to_their_clips_and_views(question, write_views, tmp_path, capsys):
    """Otherwise a student would learn the outputs for other clips."""
    args = make_parser("").parse_args(list(map(str, write_views(32))))
    write_scores(args, predict, ["running", "swimming", "diving"])
    assert "logits of 3 classes, which are not the classes of the videos" in capsys.readouterr().out
    logits = np.load(tmp_path / "scores.npy")
    features = exchange.read_features(tmp_path / "features.npy", question, argument="--features")
    assert (logits.shape, features.shape) == ((8, 2, 3), (8, 2, 6))
    for number in range(2):
        for row in question.rows(number):
            expected = predict(view(question, row, number))
            np.testing.assert_allclose(logits[row, number], expected[0][0], rtol=1e-5)
            np.testing.assert_allclose(features[row, number], expected[1][0], rtol=1e-5)
    assert np.isnan(logits[question.split.test]).all()


def test_own_classes_are_stored_in_the_order_of_the_labels(write_views, tmp_path, capsys):
    """Otherwise a teacher that numbers the same classes differently would teach wrong classes."""
    args = make_parser("").parse_args(list(map(str, write_views(32))))
    write_scores(args, lambda clips: (predict(clips)[0][:, :2], predict(clips)[1]), ["Class1", "Class0"])
    assert "logits of 2 classes, for --source\n" in capsys.readouterr().out
    logits, features = np.load(tmp_path / "scores.npy"), np.load(tmp_path / "features.npy")
    np.testing.assert_array_equal(logits, features[..., [1, 0]])


def test_normalisation():
    """Otherwise the network would see other colours than in its training."""
    clips = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3), np.uint8)
    found = normalised(clips, **NORMALISATION)
    assert (found.shape, found.dtype) == ((2, 3, 3, 4, 5), np.float32)
    for channel, (mean, deviation) in enumerate(zip(*NORMALISATION.values())):
        np.testing.assert_allclose(found[:, :, channel], (clips[..., channel] / 255 - mean) / deviation, atol=1e-5)


def test_views_of_another_size_are_rejected(write_views, tmp_path):
    """Otherwise the network would fail with an error about some layer, or see images of an unusual size."""
    write_views(32)
    require_size(tmp_path / "views", 16, 32, 32)
    with pytest.raises(UserError, match="16 frames 224x224, found 16 frames 32x32; write them with --input_size 224"):
        require_size(tmp_path / "views", 16, 224, 224)


class StandIn:
    """Takes clips in the layout of its library and returns the mean of the red channel as the score of class 0."""

    config = types.SimpleNamespace(num_frames=16, image_size=32, num_labels=2, id2label={0: "Class0", 1: "other"})
    image_mean, image_std = NORMALISATION.values()

    def __call__(self, clips=None, *, pixel_values=None):
        logits = (clips[:, 0] if pixel_values is None else pixel_values[:, :, 0]).mean(axis=(1, 2, 3))
        logits = np.stack([logits, 0 * logits], axis=1)
        return logits if pixel_values is None else types.SimpleNamespace(logits=logits)


def stand_in_modules(monkeypatch):
    """Replace the libraries by modules with the functions that the scripts call, and PyTorch by NumPy."""
    from_pretrained = types.SimpleNamespace(from_pretrained=lambda name: StandIn())
    transformers = {"VideoMAEForVideoClassification": from_pretrained, "VideoMAEImageProcessor": from_pretrained}
    preset = types.SimpleNamespace(crop_size=[32, 32], mean=StandIn.image_mean, std=StandIn.image_std)
    weights = types.SimpleNamespace(transforms=lambda: preset, meta={"categories": ["Class0", "other"]})
    models = {
        "get_model_weights": lambda name: types.SimpleNamespace(DEFAULT=weights),
        "get_model": lambda name, weights: StandIn(),
    }
    for name, content in (("transformers", transformers), ("torchvision", {}), ("torchvision.models", models)):
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    def predictor(model, forward, **normalisation):
        def run(clips):
            logits = forward(normalised(clips, **normalisation))
            return logits, logits

        return run

    monkeypatch.setattr(written_views, "predictor", predictor)
    monkeypatch.setattr(written_views, "network_costs", lambda *_: COSTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_layout_of_the_clips(script, question, write_views, tmp_path, monkeypatch):
    """Otherwise time and colour would be exchanged: the libraries expect different orders of the axes."""
    stand_in_modules(monkeypatch)
    printed = run_script(script, *write_views(32), cwd=tmp_path)
    assert "logits of 2 classes, which are not the classes of the videos" in printed
    row = question.split.train[0]
    red = (view(question, row, 1)[..., 0] / 255 - 0.485) / 0.229
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy")[row, 1, 0], red.mean(), rtol=1e-3)
    found = [stated_cost(tmp_path / f"{name}.npy", argument="") for name in ("scores", "features")]
    assert tuple(found) == COSTS


def test_costs_of_a_network(tmp_path):
    """Tables would show floating-point operations as multiply-accumulates, or the cost of other clips."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    write_json(tmp_path / "views.json", {"frames": 4, "height": 6, "width": 8})
    convolution, linear = torch.nn.Conv3d(3, 5, 3, padding=1, groups=1), torch.nn.Linear(5, 7, bias=False)
    normalisation = torch.nn.BatchNorm3d(5)  # 10 parameters, 10 floats of state and one integer
    model = torch.nn.Sequential(convolution, normalisation, torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten(), linear)
    whole, features = network_costs(model, lambda clips: model(clips.swapaxes(1, 2)), tmp_path)
    kernel = 27 * 3 * 5
    assert features == cost_of_weights(kernel + 5 + 20, 4 * 6 * 8 * kernel)
    assert whole == cost_of_weights(kernel + 5 + 20 + 35, 4 * 6 * 8 * kernel + 35)


@pytest.mark.parametrize("script", SCRIPTS)
def test_missing_packages_are_named(script, write_views, tmp_path):
    """Otherwise a user without the packages would get a traceback."""
    if importlib.util.find_spec("transformers") or importlib.util.find_spec("torchvision"):
        pytest.skip("transformers or torchvision is installed")
    error = run_script(script, *write_views(32), cwd=tmp_path, expect=2)
    assert error.startswith("error: No module named")
    assert "requirements-examples.txt" in error


def test_videomae_with_random_weights(question, write_views, tmp_path):
    """Otherwise a fine-tuned VideoMAE would not load, or its features would be those of another layer."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    import torch

    size = {"image_size": 32, "patch_size": 16, "hidden_size": 24, "intermediate_size": 32}
    config = transformers.VideoMAEConfig(**size, num_hidden_layers=1, num_attention_heads=2, num_labels=2)
    config.id2label = {0: "Class1", 1: "Class0"}
    model = transformers.VideoMAEForVideoClassification(config).eval()
    model.save_pretrained(tmp_path / "model")
    settings = {"image_mean": NORMALISATION["mean"], "image_std": NORMALISATION["deviation"]}
    processor = transformers.VideoMAEImageProcessor(**settings, size={"shortest_edge": 32}, do_center_crop=False)
    processor.save_pretrained(tmp_path / "model")
    run_script(SCRIPTS[0], *write_views(32), "--model", tmp_path / "model", cwd=tmp_path)
    scores, features = np.load(tmp_path / "scores.npy"), np.load(tmp_path / "features.npy")
    row = question.split.train[-1]
    inputs = processor(list(view(question, row, 1)[0]), return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs).logits.numpy()
        np.testing.assert_allclose(scores[row, 1], expected[0, ::-1], atol=1e-5)
        last = model.classifier(torch.from_numpy(features[row, 1])).numpy()
        np.testing.assert_allclose(last, expected[0], atol=1e-5)


def test_torchvision_with_random_weights(question, write_views, tmp_path):
    """Otherwise a fine-tuned checkpoint would not load, or the network would see other inputs than torchvision's."""
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    import torch

    model = torchvision.models.get_model("r3d_18", num_classes=2).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    command, network = (SCRIPTS[1], *write_views(112)), ("--model", "r3d_18", "--checkpoint", tmp_path / "weights.pt")
    assert "for --source" in run_script(*command, *network, cwd=tmp_path)
    row = question.split.train[-1]
    clip = torch.from_numpy(view(question, row, 1, side=112)).permute(0, 1, 4, 2, 3)
    preset = torchvision.models.get_model_weights("r3d_18").DEFAULT.transforms(resize_size=(112, 112))
    with torch.inference_mode():
        expected = model(preset(clip)).numpy()[0]
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy")[row, 1], expected, atol=1e-3)
    error = run_script(*command, "--model", "r4d", cwd=tmp_path, expect=2)
    assert error.startswith("error: --model: r4d cannot be loaded: Unknown model r4d")
