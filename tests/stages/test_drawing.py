"""Pictures and names cost no result: models, records and tables are complete whatever is drawn."""

import contextlib
import io
import json
import re

import numpy as np
import pytest

from utils.base.files import file_fingerprint
from utils.base.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions
from utils.evaluation import run as evaluation
from utils.networks.recognizer import load_recognizer
from utils.runs.files import evaluation_outputs
from utils.runs.history import TrainingCurves
from utils.training import stages

pytestmark = [pytest.mark.usefixtures("eager"), pytest.mark.draws]


@pytest.fixture
def settings(make_arrays):
    """The settings of a tiny training on two classes, called a$^$b and with a name that is no UTF-8."""
    folder = make_arrays(classes=2, groups=4, clips=1, height=32, width=32)
    paths = np.load(folder / "video_file_paths.npy")
    np.save(
        folder / "video_file_paths.npy",
        np.array([path.replace("Class0", "a$^$b").replace("Class1", "c_\udcff") for path in paths]),
    )
    return {
        "data": DataOptions(folder / "frames.npy", folder / "labels.npy", split="random"),
        "training": TrainingOptions(batch_size=2, epochs=1, initialisation="random"),
        "network": NetworkOptions(width=0.05, input_size=(32, 32)),
        "distillation": DistillationOptions(alpha=1.0),
    }


@pytest.mark.parametrize("name", ["v_\udcff", "$_$" + "x" * 197])
def test_any_name_of_a_model_and_of_a_class(settings, tmp_path, name):
    """A training or a test would end in a formula parser or an encoder, before its results are saved."""
    output = OutputOptions(tmp_path / f"{name}.keras", tmp_path / f"{name}_history")
    with contextlib.redirect_stdout(io.StringIO()) as printed:  # tests/utils/base/test_cli.py tests what encodes it
        stages.train_student(**settings, output=output)
        found = evaluation.evaluate(settings["data"], [output.output_path], output_path=tmp_path / "out")
    result = found["recognizers"][0]
    assert (tmp_path / f"{name}_history.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / f"out/confusion_{name}.png").read_bytes().startswith(b"\x89PNG")
    assert result["seen"] == {"test_clips": 2, "seen_test_clips": 0, "unknown": []}
    assert "a$^$b" in (tmp_path / "out/per_class.csv").read_text()
    assert (tmp_path / f"out/training_{name}.svg").is_file()
    checked = evaluation_outputs([output.output_path], tmp_path / "out")
    # each is protected from replacing a file of the user, and may be replaced by the next test
    assert set((tmp_path / "out").iterdir()) <= {each.path for each in checked if each.is_own}
    assert "a$^$b" in (tmp_path / "out/report.html").read_text()
    assert not re.search("not drawn|not updated|not stored|note: /", printed.getvalue())
    assert " of 2 test clips are recognised" in (tmp_path / f"{name}.md").read_text()


def test_a_model_is_saved_before_its_curves_are_drawn(settings, tmp_path, capsys, monkeypatch):
    """Hours of training would be lost, or look unfinished, because of a picture."""
    output = OutputOptions(tmp_path / "s.keras", tmp_path / "s_history")
    found = []

    def fail(self):
        found.extend(path.name for path in tmp_path.glob("s*") if not path.name.endswith((".training", ".log")))
        raise ValueError("planted")

    monkeypatch.setattr(TrainingCurves, "plot", fail)
    trained = stages.train_student(**settings, output=output)
    saved = ["s.json", "s.keras", "s.md", "s_history.csv", "s_history.npy"]
    assert sorted(found) == saved
    assert sorted(path.name for path in tmp_path.glob("s*")) == sorted([*saved, "s_history.log"])
    assert f"note: {tmp_path}/s_history.png was not drawn (planted)\n" in capsys.readouterr().out
    record = json.loads((tmp_path / "s.json").read_text())
    assert record["fingerprint"] == file_fingerprint(output.output_path)
    assert record["kept_epoch"] == trained.history["epoch"][-1] == 1
    assert load_recognizer(output.output_path, argument="").num_classes == 2
