"""Exported files from elsewhere: damaged ones, and such that read other files or fill the memory."""

import contextlib
import os

import numpy as np
import pytest

from tests.exported_files import (
    BIASES,
    SHAPE,
    SUFFIXES,
    WEIGHTS,
    about_export,
    onnx_model,
    random_clips,
    write_exported,
)
from utils.base.errors import UserError
from utils.networks.exported import ExportedModel, open_exported
from utils.networks.formats.format import check_interface
from utils.networks.formats.opening import open_runtime
from utils.networks.model_file import ModelFileError


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """The content of a valid file for each suffix, and of the weights of the OpenVINO model."""
    folder = tmp_path_factory.mktemp("valid")
    paths = [write_exported(folder / f"net{suffix}", metadata=about_export(output="logits")) for suffix in SUFFIXES]
    return {path.suffix: path.read_bytes() for path in (*paths, folder / "net.bin")}


def reason_for(path) -> str:
    """Return why a file is refused, which is one line."""
    with pytest.raises(ModelFileError) as raised:
        open_runtime(path, threads=1)
    reason = str(raised.value)
    assert "\n" not in reason
    assert 0 < len(reason) < 400
    return reason


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_refused(valid, tmp_path, capfd, suffix):
    """A download that broke off would crash the process, or end in a traceback of a runtime."""
    content, path = valid[suffix], tmp_path / f"net{suffix}"
    (tmp_path / "net.bin").write_bytes(valid[".bin"])
    others = [valid[other] for other in (*SUFFIXES, ".bin") if other != suffix]
    for damaged in (b"", b"hello", content[:8], content[: len(content) // 2], content[:-3], *others):
        path.write_bytes(damaged)
        reason_for(path)
    generator = np.random.default_rng(0)
    for _ in range(20):
        changed = np.frombuffer(content, np.uint8).copy()
        changed[generator.integers(0, len(changed), 3)] = generator.integers(0, 256, 3)
        path.write_bytes(changed.tobytes())
        with contextlib.suppress(UserError):  # some changes, such as those of names, do no harm
            open_exported(path, argument="", channels="rgb", input_scale="0..255", threads=1)
    path.unlink()
    assert reason_for(path) == "it is not a file"
    assert capfd.readouterr().err == ""


def test_openvino_weights_that_are_missing_or_short(valid, tmp_path):
    """A model that was copied without its weights would end in a traceback."""
    path, weights = tmp_path / "net.xml", tmp_path / "net.bin"
    path.write_bytes(valid[".xml"])
    assert reason_for(path) == "its weights net.bin must be a file next to it, found none"
    weights.write_bytes(valid[".bin"][:10])
    assert reason_for(path) == "Incorrect weights in bin file!"
    path.write_bytes(b"<?xml version='1.0'?>" + valid[".onnx"])
    weights.write_bytes(valid[".bin"])
    assert reason_for(path) == "it is not an OpenVINO model"


CLIPS, SCORES = (None, *SHAPE), (None, 3)
INTERFACES = {
    "four dimensions": ([((None, 32, 32, 3), "float32")], [(SCORES, "float32")]),
    "channels first": ([((None, 3, 16, 32, 32), "float32")], [(SCORES, "float32")]),
    "grey": ([((None, 16, 32, 32, 1), "float32")], [(SCORES, "float32")]),
    "no fixed size": ([((None, 16, None, None, 3), "float32")], [(SCORES, "float32")]),
    "batches of two": ([((2, *SHAPE), "float32")], [((2, 3), "float32")]),
    "two inputs": ([(CLIPS, "float32"), ((None, 4), "float32")], [(SCORES, "float32")]),
    "no input": ([], [(SCORES, "float32")]),
    "bytes": ([(CLIPS, "uint8")], [(SCORES, "float32")]),
    "two outputs": ([(CLIPS, "float32")], [(SCORES, "float32"), (SCORES, "float32")]),
    "no output": ([(CLIPS, "float32")], []),
    "features": ([(CLIPS, "float32")], [((None, 7, 7, 3), "float32")]),
    "one class": ([(CLIPS, "float32")], [((None, 1), "float32")]),
    "classes": ([(CLIPS, "float32")], [(SCORES, "int64")]),
}


@pytest.mark.parametrize("tensors", INTERFACES.values(), ids=INTERFACES)
def test_networks_of_other_inputs_and_outputs_are_refused(tensors):
    """Answers would be noise: frames taken for channels, or features for class scores."""
    with pytest.raises(ModelFileError, match=r"^it must (take clips|output)") as raised:
        check_interface(*tensors)
    assert "\n" not in str(raised.value)
    assert check_interface([(CLIPS, "float32")], [(SCORES, "float32")]) == (SHAPE, 3, True)
    assert check_interface([((1, *SHAPE), "float32")], [((1, 3), "float32")]) == (SHAPE, 3, False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_interface_of_files_is_checked(tmp_path, suffix):
    """A network of other inputs would fail at the first video, with an error of a runtime."""
    path = write_exported(tmp_path / f"two{suffix}", shape=(2, *SHAPE))
    assert reason_for(path) == (
        "it must take clips (B, T, H, W, 3) of a fixed size, it takes (2, 16, 32, 32, 3) float32"
    )


def save(model, path):
    import onnx

    onnx.save(model, path)
    return path


def with_external(location: str, *, place: str = "initializer"):
    """Return the network with its weights in another file, of the graph or of a branch of an If node."""
    from onnx import TensorProto, helper, numpy_helper

    model = onnx_model()
    tensor = next(each for each in model.graph.initializer if each.name == "weights")
    if place == "branch":
        constant = helper.make_node("Constant", [], ["value"], value=numpy_helper.from_array(BIASES, "stored"))
        outputs = [helper.make_tensor_value_info("value", TensorProto.FLOAT, [3])]
        branches = [helper.make_graph([constant], name, [], outputs) for name in ("then", "else")]
        chosen = helper.make_node("If", ["yes"], ["chosen"], then_branch=branches[0], else_branch=branches[1])
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.insert(0, chosen)
        tensor = model.graph.node[0].attribute[0].g.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return model


@pytest.mark.parametrize("place", ["initializer", "branch"])
def test_onnx_reads_no_file_outside_its_folder(tmp_path, place):
    """A model from the internet could read any file of the user into its scores."""
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    for secret in (tmp_path / "secret", tmp_path / "models2"):
        secret.write_bytes(WEIGHTS.tobytes())
    os.symlink(tmp_path / "secret", folder / "link")
    for location in ("../secret", str(tmp_path / "secret"), "sub/../../secret", "link", "../models2", "missing"):
        path = save(with_external(location, place=place), folder / "net.onnx")
        assert reason_for(path).endswith(f"is stored in {location}, not a file in its folder")


def test_onnx_weights_in_its_folder_are_read(tmp_path):
    """Files of PyTorch, which stores weights in NAME.onnx.data by default, could not be used."""
    (tmp_path / "net.onnx.data").write_bytes(WEIGHTS.tobytes())
    path = save(with_external("net.onnx.data"), tmp_path / "net.onnx")
    clips = np.ones((1, *SHAPE), np.float32)
    np.testing.assert_allclose(open_runtime(path, threads=1)(clips)[0], WEIGHTS.sum(axis=0) + BIASES, rtol=1e-5)


def test_custom_operations_are_refused(tmp_path):
    """A library of operations would be loaded, or a traceback printed."""
    from onnx import helper

    model = onnx_model()
    model.graph.node[-1].domain, model.graph.node[-1].op_type = "elsewhere", "Own"
    model.opset_import.append(helper.make_opsetid("elsewhere", 1))
    assert "elsewhere:Own(-1) is not a registered function/op" in reason_for(save(model, tmp_path / "net.onnx"))


def test_scores_that_are_not_finite_are_refused(tmp_path):
    """Every video would get the first class."""
    model = onnx_model()
    biases = next(each for each in model.graph.initializer if each.name == "biases")
    biases.raw_data = np.array([np.nan, 0, 0], np.float32).tobytes()
    assert reason_for(save(model, tmp_path / "net.onnx")) == "its scores hold NaN or infinite values"


def with_nodes(path, nodes: list[tuple], **constants):
    """Write the network with nodes (operation, inputs, outputs, attributes) before its last; it outputs "all"."""
    from onnx import helper, numpy_helper

    model = onnx_model()
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    last = model.graph.node.pop()
    last.input[0] = "all"
    model.graph.node.extend(helper.make_node(*node[:3], **node[3]) for node in nodes)
    model.graph.node.append(last)
    return save(model, path)


SUM = [("ReduceSum", ["huge"], ["sum"], {"keepdims": 0}), ("Add", ["scores", "sum"], ["all"], {})]
BRIGHTNESS = ("ReduceMean", ["clip"], ["brightness"], {"keepdims": 0})


def test_a_graph_that_fills_the_memory_is_refused(tmp_path):
    """A file of a kilobyte could make the machine unusable."""
    nodes = [("ConstantOfShape", ["size"], ["huge"], {}), *SUM]
    path = with_nodes(tmp_path / "net.onnx", nodes, size=np.array([5 * 10**9]))
    assert reason_for(path) == "it needs too much memory for a file of its size"


@pytest.mark.parametrize("kind", ["infinite", "memory"])
def test_the_checks_hold_for_every_call(tmp_path, kind):
    """A file that behaves for a black clip would end in a traceback, or fill the memory, at the first video."""
    path, growth = tmp_path / "net.onnx", np.float32(3.9e6)
    if kind == "infinite":
        nodes = [("Mul", ["brightness", "growth"], ["product"], {}), ("Exp", ["product"], ["sum"], {}), SUM[1]]
    else:
        nodes = [("Mul", ["brightness", "growth"], ["product"], {}), ("Cast", ["product"], ["number"], {"to": 7})]
        nodes += [("Reshape", ["number", "one"], ["size"], {}), ("ConstantOfShape", ["size"], ["huge"], {}), *SUM]
    runtime = open_runtime(with_nodes(path, [BRIGHTNESS, *nodes], growth=growth, one=np.array([1])), threads=1)
    clips = random_clips(1)
    reason = {"infinite": "its scores hold NaN or infinite values", "memory": "it needs too much memory for a file of"}
    with pytest.raises(ModelFileError, match=reason[kind]):
        runtime(clips | 128)
    with pytest.raises(UserError, match=rf"^{path}: {reason[kind]}"):
        ExportedModel(runtime).predict_on_batch(clips | 128)
    assert np.isfinite(runtime(0 * clips)).all()


def test_scores_that_are_no_probabilities_are_refused(tmp_path):
    """A file that states probabilities but outputs logits would end in a traceback, or give confidences of NaN."""
    runtime = open_runtime(write_exported(tmp_path / "net.onnx"), threads=1)
    with pytest.raises(UserError, match=r"net\.onnx: its scores must be probabilities, as it states, found others"):
        ExportedModel(runtime, temperature=1.0).predict_on_batch(random_clips())


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_damaged_metadata_is_one_line(tmp_path, suffix):
    """A file that was edited would end in a traceback about bytes."""
    path = write_exported(tmp_path / f"net{suffix}", metadata={"class_names": ["a"]})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"class_names", b"class\xffnames"))
    assert "utf-8" in reason_for(path).lower()
