"""--student: built-in networks by name, and a user's own function, checked before any long computation."""

import argparse
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from models import STUDENTS
from utils.base import argument_types, code_digest, machine
from utils.base.errors import UserError
from utils.base.options import DataOptions, DistillationOptions, NetworkOptions, OutputOptions, TrainingOptions
from utils.networks.model_file import ModelFileError, load_checked, trainable_in_memory
from utils.networks.recognizer import save_model
from utils.networks.student_builders import check_student, student_builder, student_code, teacher_code
from utils.training import networks, stages

SIZE = {"input_shape": (16, 32, 32, 3), "width": 0.1, "dropout": 1.0}
OWN = """
import keras

def build(num_classes, *, input_shape, width, dropout):
    clips = keras.Input({shape})
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(clips)
    x = keras.layers.GlobalAveragePooling3D()(x)
    x = keras.layers.Dense({units}, activation={activation})(x)
    return {returned}
"""
RIGHT = {"shape": "input_shape", "units": "num_classes", "activation": "None", "returned": "keras.Model(clips, x)"}


def checked(student, suffix=".keras"):
    """Return a small student for 4 classes that has passed the checks before its training."""
    model = student_builder(student)(4, **SIZE)
    check_student(student, model, 4, SIZE["input_shape"], Path(f"student{suffix}"))
    return model


@pytest.fixture
def own(tmp_path, monkeypatch, request):
    """Write a user's module into the current folder, under a new name, and return the name."""
    monkeypatch.chdir(tmp_path)

    def write(text=None, **parts):
        name = f"own_{abs(hash(request.node.name))}"
        (tmp_path / f"{name}.py").write_text(OWN.format(**RIGHT | parts) if text is None else text)
        return name

    return write


def test_the_built_in_names_give_the_published_networks():
    """The default student must be the published one."""
    assert DistillationOptions().student == "compact3d"
    assert student_builder("compact3d")(101, input_shape=(16, 112, 112, 3)).count_params() == 7_298_405
    assert student_builder("compact3d_gap")(101, input_shape=(16, 112, 112, 3)).count_params() == 913_381


def test_a_function_in_the_current_folder_builds_the_student(own, tmp_path):
    """By default, Python looks in the folder of the script, not in the folder where the user works."""
    name = own()
    model = student_builder(f"{name}:build")(4, **SIZE)
    assert model.input_shape == (None, 16, 32, 32, 3)
    assert model.output_shape == (None, 4)
    code = student_code(f"{name}:build")
    assert code not in (teacher_code(), *(student_code(built_in) for built_in in STUDENTS))
    with open(tmp_path / f"{name}.py", "a") as file:
        file.write("# a comment changes no network\n")
    assert student_code(f"{name}:build") == code
    with open(tmp_path / f"{name}.py", "a") as file:
        file.write("WIDTH = 3\n")
    assert student_code(f"{name}:build") != code


def test_the_code_of_frame_students_is_that_of_their_networks(monkeypatch):
    """A training could be resumed with a changed shift, or a new name of a student would make all others obsolete."""
    read = []
    monkeypatch.setattr(code_digest, "remove_docstrings", lambda tree: None)
    found = code_digest.source_file
    monkeypatch.setattr(code_digest, "source_file", lambda name: read.append(name) or found(name))
    assert student_code("frames:efficientnet_lite0") == student_code("frames:MobileNetV2") != student_code("compact3d")
    assert {"models.frames", "models.frame_layers", "models.efficientnet_lite", "models.distiller"} <= set(read)
    assert "models" not in read


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"shape": "(16, 48, 48, 3)"}, r"must take clips .B, T, H, W, 3. .None, 16, 32, 32, 3., takes .None, 16, 48"),
        ({"units": "7"}, r"must output logits .B, C. .None, 4., outputs .None, 7."),
        ({"activation": "'softmax'"}, "must output logits, outputs probabilities; remove the final softmax$"),
        ({"activation": "lambda x: 2 * x"}, "must load again from a .keras file, but Could not interpret activation"),
        ({"returned": "keras.layers.Dense(3)"}, "must return a functional or sequential Keras model, returned Dense$"),
        ({"returned": "keras.Model(clips, [x, x])"}, "must output logits"),
        ({"returned": "1 / 0"}, r"building it failed .own_\d+.py, line 9.: ZeroDivisionError: division by zero$"),
    ],
)
def test_unsuitable_networks_are_rejected_in_one_line(own, parts, message):
    """Otherwise they would fail after hours of computing teacher logits, or train on probabilities."""
    with pytest.raises(UserError, match=message) as raised:
        checked(f"{own(**parts)}:build")
    assert "\n" not in str(raised.value)


OWN_LAYER = """
@keras.saving.register_keras_serializable("{name}")
class Scaled(keras.layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
    def call(self, x):
        return self.factor * x
    def get_config(self):
        return super().get_config() | {config}
"""
SCALED = {"returned": "keras.Model(clips, Scaled(3.0)(x))"}


def own_layer(own, config, name="Test"):
    return own(OWN.format(**RIGHT | SCALED) + OWN_LAYER.format(name=name, config=config))


@pytest.mark.parametrize(
    ("config", "message"),
    [("{}", r"must load again from a \.keras file, but .*Scaled"), ('{"factor": 2.0}', "must compute the same after")],
)
def test_a_layer_that_does_not_load_again_is_rejected(own, config, message):
    """The student would train for hours, and then no script could load it, or it would compute something else."""
    with pytest.raises(UserError, match=message):
        checked(f"{own_layer(own, config)}:build")


def test_a_registered_layer_loads_in_other_scripts(own, tmp_path, monkeypatch):
    """eval.py, predict.py and export.py import the module only if the user names it: records come from anywhere."""
    name = own_layer(own, '{"factor": self.factor}', name="Mine")
    model = checked(f"{name}:build")
    save_model(model, tmp_path / "net.keras")
    del sys.modules[name]  # as in another process
    del keras.saving.get_custom_objects()["Mine>Scaled"]
    with pytest.raises(ModelFileError, match=rf"{name}.Scaled.* name that in the environment variable STUDENT_MODULES"):
        load_checked(tmp_path / "net.keras")
    monkeypatch.setenv("STUDENT_MODULES", name)
    clips = np.ones((1, 16, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(load_checked(tmp_path / "net.keras")(clips), model(clips))


def test_layers_of_the_built_in_networks_load_without_being_named(tmp_path):
    """A new built-in student with a layer of its own would train, and then no script could load it."""
    code = """if True:
    import sys
    from utils.networks.own_modules import register_layers
    register_layers()
    import keras, pkgutil, models
    assert {f"models.{found.name}" for found in pkgutil.iter_modules(models.__path__)} <= set(sys.modules)
    assert keras.saving.get_registered_object("video_action_distillation>TemporalShift")
    """
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0


def test_networks_beyond_the_memory_are_refused_at_once(monkeypatch):
    """The operating system would kill the process after minutes, without a message."""
    monkeypatch.setattr(machine, "memory_limit", lambda: 10**9)
    for width, side in ((100, 32), (0.1, 100_000)):
        with pytest.raises(ValueError, match=r"too much to be trained in the 1\.0 GB"), trainable_in_memory():
            student_builder("compact3d")(3, input_shape=(16, side, side, 3), width=width)
    with trainable_in_memory():
        student_builder("compact3d")(3, **SIZE)


def test_a_missing_module_or_function_is_one_line(own):
    name = own("import no_such_package\n")
    with pytest.raises(UserError, match=rf"importing {name} failed \({name}.py, line 1\): ModuleNotFoundError: No mod"):
        student_builder(f"{name}:build")
    with pytest.raises(UserError, match="no module no_such_module in "):
        student_code("no_such_module:build")
    with pytest.raises(UserError, match=r"no module no_such_package\.students in "):
        student_code("no_such_package.students:build")
    with pytest.raises(UserError, match=r"student.py must hold a function nothing, found none$"):
        student_builder("models.student:nothing")


@pytest.mark.parametrize("text", ["compact2d", "own", "my student:build", "a.b:", "../own:build", "a:b:c"])
def test_other_names_are_rejected_by_the_argument_parser(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"compact3d_gap, frames:NAME or package\.module"):
        argument_types.student(text)


def test_a_run_is_not_resumed_with_a_changed_function(own, make_arrays, tmp_path):
    """Otherwise one network would be trained for the first epochs and another for the rest."""
    folder = make_arrays(height=32, width=32)
    name = own()
    student, output = f"{name}:build", OutputOptions(tmp_path / "student.keras", tmp_path / "history")

    def train(**training):
        return stages.train_student(
            data=DataOptions(folder / "frames.npy", folder / "labels.npy"),
            training=TrainingOptions(epochs=2, **training),
            network=NetworkOptions(width=0.1, input_size=(32, 32)),
            distillation=DistillationOptions(student=student, alpha=1.0),
            output=output,
        )

    trained = train(max_minutes=1e-9)  # stops after the first epoch
    assert trained.record.arguments.student == student
    assert len(trained.history) == 1
    with open(tmp_path / f"{name}.py", "a") as file:
        file.write("ANOTHER = True\n")
    with pytest.raises(UserError, match="another code of --student"):
        train()


def test_a_network_with_branches_keeps_its_random_weights(own, make_arrays, capsys):
    """Data-dependent initialisation is for chains of layers; branches would be scaled wrongly or crash."""
    from utils.runs.loading import load

    folder = make_arrays(height=32, width=32)
    data = DataOptions(folder / "frames.npy", folder / "labels.npy")
    loaded = load(data, (16, 32, 32, 3))
    returned = "keras.Model(clips, x + keras.layers.Dense(num_classes)(keras.layers.GlobalMaxPooling3D()(clips)))"
    model = student_builder(f"{own(returned=returned)}:build")(3, **SIZE)
    before = [np.array(weight) for weight in model.get_weights()]
    networks.initialise(model, loaded, TrainingOptions())
    assert "its weights stay as drawn" in capsys.readouterr().out
    assert all(np.array_equal(*pair) for pair in zip(before, model.get_weights()))


def test_keras_operations_may_be_used(own):
    """Models with keras.ops can be loaded without the user's module, but not from .h5 files, which hold layers only."""
    student = f"{own(returned='keras.Model(clips, keras.ops.tanh(x) * 3)')}:build"
    assert isinstance(checked(student), keras.Model)
    with pytest.raises(UserError, match=r"must load again from a \.h5 file, but"):
        checked(student, ".h5")


def test_an_experiment_with_another_student_trains_new_students(own, tmp_path):
    """With equal keys, the results of one student would be reported for the other. Teachers can be shared."""
    import reproduce
    from utils.experiments.grid import cells_of, from_arguments

    name = own()

    def keys(student):
        arguments = ["--student", student, "--temperatures", "4", "--teachers", "scratch"]
        cells = cells_of(from_arguments(reproduce.make_parser().parse_args(arguments)), "group", 0, {}, {})
        return {cell.row.role: cell.key for cell in cells}

    found = [keys("compact3d"), keys("compact3d_gap"), keys(f"{name}:build")]
    with open(tmp_path / f"{name}.py", "a") as file:
        file.write("ANOTHER = True\n")
    found.append(keys(f"{name}:build"))
    assert [len({of_one[role] for of_one in found}) for role in ("alone", "teacher", "distilled")] == [4, 1, 4]
