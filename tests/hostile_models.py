"""Model files that try to run code, to read or write other files, or to fill the memory.

A file is a small valid network, changed by one of the functions below. Code that is run creates a file named `CANARY`
in the folder of the model file. `SECRET` is a file in the same folder that the model must not read.
"""

import base64
import io
import json
import marshal
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np

SHAPE = (16, 32, 32, 3)
CANARY, SECRET = "canary", "secret.h5"
SUFFIXES = (".keras", ".h5")
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
KERNELS = {".keras": "layers/dense/vars/0", ".h5": "model_weights/fc/network/fc/kernel"}


def network():
    """Return a network of clips with the layers `conv`, `pool` and `fc`."""
    layers = [
        keras.layers.Conv3D(4, 3, strides=2, activation="relu", name="conv"),
        keras.layers.GlobalAveragePooling3D(name="pool"),
        keras.layers.Dense(3, name="fc"),
    ]
    return keras.Sequential([keras.Input(SHAPE, name="clips"), *layers], name="network")


def parts_of(path: Path) -> tuple[dict, bytes]:
    """Return the configuration of a model file, and the content of the HDF5 file that holds its weights."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(CONFIG)), archive.read(WEIGHTS)
    with h5py.File(path) as file:
        return json.loads(file.attrs["model_config"]), path.read_bytes()


def write_parts(path: Path, config: dict | str, weights: bytes) -> None:
    """Write a model file with this configuration and these weights, as `parts_of` returns them."""
    text = config if isinstance(config, str) else json.dumps(config)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(CONFIG, text)
            archive.writestr(WEIGHTS, weights)
        return
    path.write_bytes(weights)
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = np.bytes_(text) if len(text) < 50_000 else text


def layer_named(config: dict, name: str) -> dict:
    """Return the description of a layer in a configuration."""
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


def code_of(folder: Path) -> dict:
    """Return what Keras writes for a lambda; it creates the canary and returns its argument."""
    code = compile(f"lambda *x, **_: (open({str(folder / CANARY)!r}, 'w').close(), x[0])[1]", "", "eval").co_consts[0]
    value = base64.b64encode(marshal.dumps(code)).decode()
    return {"class_name": "__lambda__", "config": {"value": value, "defaults": None, "closure": None}}


class Touch:
    """An object whose pickle creates a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# Changes of the configuration: functions of (configuration, folder).


def with_layer(class_name: str, config: dict, **fields):
    """Return a change that replaces the layer `pool` by another one; the values of `config` may be functions."""

    def change(model: dict, folder: Path) -> None:
        filled = {name: value(folder) if callable(value) else value for name, value in config.items()}
        layer = layer_named(model, "pool")
        layer.clear()
        layer.update(
            {"class_name": class_name, "config": {"name": "pool", **filled}, "registered_name": None, **fields}
        )

    return change


def with_setting(name: str, value, layer: str = "fc"):
    """Return a change of one setting of a layer; `value` may be a function of the folder."""

    def change(model: dict, folder: Path) -> None:
        layer_named(model, layer)["config"][name] = value(folder) if callable(value) else value

    return change


def function_named(module: str, name: str) -> dict:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def pickled(folder: Path) -> str:
    return base64.b64encode(pickle.dumps(Touch(folder / CANARY))).decode()


def nested_model_with_loss(model: dict, folder: Path) -> None:
    """Put the layers into a model inside the model that is compiled with a lambda as its loss."""
    inner = json.loads(json.dumps(model))
    inner["compile_config"] = {"optimizer": "adam", "loss": code_of(folder), "metrics": [code_of(folder)]}
    inner["config"]["name"] = "inner"
    model["config"]["layers"] = [model["config"]["layers"][0], inner]


def deeply_nested(model: dict, folder: Path) -> str:
    return json.dumps(model)[:-1] + ', "more": ' + "[" * 100_000 + "]" * 100_000 + "}"


def of_50_mb(model: dict, folder: Path) -> str:
    return json.dumps(model)[:-1] + ', "more": "' + "x" * 50_000_000 + '"}'


CONFIGS = {
    "lambda layer": with_layer("Lambda", {"function": code_of}, module="keras.layers"),
    "lambda layer without a module": with_layer("Lambda", {"function": code_of}),
    "lambda layer by its internal name": with_layer(
        "Lambda", {"function": code_of}, module="keras.src.layers.core.lambda_layer"
    ),
    "lambda layer of Keras 2": with_layer(
        "Lambda",
        {
            "function": lambda folder: [code_of(folder)["config"]["value"], None, None],
            "function_type": "lambda",
            "module": "builtins",
        },
    ),
    "lambda as initialiser": with_setting("kernel_initializer", code_of),
    "lambda as activation": with_setting("activation", code_of),
    "lambda as regulariser": with_setting("kernel_regularizer", code_of),
    "lambda as constraint": with_setting("bias_constraint", code_of),
    "lambda as loss of a nested model": nested_model_with_loss,
    "os.system as layer": with_layer("system", {"command": "touch canary"}, module="os"),
    "os.system by its registered name": with_layer("Dense", {"units": 3}, module="os", registered_name="os>system"),
    "subprocess.Popen as layer": with_layer("Popen", {"args": ["touch", CANARY]}, module="subprocess"),
    "builtins.eval as activation": with_setting("activation", function_named("builtins", "eval")),
    "builtins.exec as layer": with_layer("exec", {"source": "open('canary', 'w')"}, module="builtins"),
    "os.system as initialiser": with_setting("kernel_initializer", function_named("posix", "system")),
    "pickle.loads as activation": with_setting("activation", function_named("pickle", "loads")),
    "keras.utils.get_file as activation": with_setting("activation", function_named("keras.utils", "get_file")),
    "keras.saving.load_model as activation": with_setting("activation", function_named("keras.saving", "load_model")),
    "unsafe deserialisation enabled": with_setting(
        "activation", function_named("keras.config", "enable_unsafe_deserialization")
    ),
    "layer of a module in the folder": with_layer("Layer", {}, module="planted_layers"),
    "layer of a module with the name of a Keras package": with_layer("Layer", {}, module="keras_cv.layers"),
    "class with a configuration of its own": with_layer(
        "Evil", {"path": CANARY}, module="__main__", registered_name="evil>Evil"
    ),
    "module of PyTorch": with_layer("TorchModuleWrapper", {"module": pickled}, module="keras.layers"),
    "SavedModel as layer": with_layer("TFSMLayer", {"filepath": str, "call_endpoint": "serve"}, module="keras.layers"),
    "function of JAX": with_layer("JaxLayer", {"call_fn": code_of}, module="keras.layers"),
    "vocabulary in another file": with_layer(
        "StringLookup", {"vocabulary": lambda folder: str(folder / SECRET)}, module="keras.layers"
    ),
    "configuration nested 100,000 deep": deeply_nested,
    "configuration of 50 MB": of_50_mb,
    "configuration that is no network": lambda model, folder: "[1, 2, 3]",
    "layer of 10 billion weights": with_setting("units", 2_500_000_000),
    "layer of 10 million million outputs": with_layer(
        "UpSampling3D", {"size": [10_000, 10_000, 10_000]}, module="keras.layers"
    ),
    "input of 10 million million values": lambda model, folder: layer_named(model, "clips")["config"].update(
        batch_shape=[None, 10_000, 10_000, 100_000, 3]
    ),
}

# Changes of the weights: functions of (open HDF5 file, name of a kernel, folder).


def link_to(link):
    """Return a change that replaces a kernel by a link; `link` is a function of the folder."""

    def change(file: h5py.File, kernel: str, folder: Path) -> None:
        del file[kernel]
        file[kernel] = link(folder)

    return change


def virtual(file: h5py.File, kernel: str, folder: Path) -> None:
    """Replace a kernel by a view of an array in another file."""
    layout = h5py.VirtualLayout(file[kernel].shape, "f4")
    layout[:] = h5py.VirtualSource(str(folder / SECRET), "kernel", file[kernel].shape)
    del file[kernel]
    file.create_virtual_dataset(kernel, layout)


def external_storage(file: h5py.File, kernel: str, folder: Path) -> None:
    """Replace a kernel by the raw bytes of another file."""
    shape = file[kernel].shape
    del file[kernel]
    file.create_dataset(kernel, shape, "f4", external=[(str(folder / SECRET), 0, h5py.h5f.UNLIMITED)])


def replace_kernel(**settings):
    """Return a change that replaces a kernel by another data set, as the arguments of h5py describe it."""

    def change(file: h5py.File, kernel: str, folder: Path) -> None:
        del file[kernel]
        file.create_dataset(kernel, **settings)

    return change


def not_a_number(file: h5py.File, kernel: str, folder: Path) -> None:
    file[kernel][0, 0] = np.nan


def without_kernel(file: h5py.File, kernel: str, folder: Path) -> None:
    del file[kernel]


WEIGHT_CHANGES = {
    "kernel in another file": link_to(lambda folder: h5py.ExternalLink(str(folder / SECRET), "kernel")),
    "kernel in a file of a relative path": link_to(lambda folder: h5py.ExternalLink(f"../x/{SECRET}", "kernel")),
    "kernel behind a soft link": link_to(lambda folder: h5py.SoftLink("/nowhere")),
    "virtual kernel": virtual,
    "kernel in external storage": external_storage,
    "kernel of 40 TB": replace_kernel(shape=(10_000_000, 1_000_000), dtype="f4", chunks=(1000, 1000)),
    "kernel of 2 GB of zeros, compressed": replace_kernel(
        shape=(500_000_000, 1), dtype="f4", chunks=(1_000_000, 1), compression="gzip"
    ),
    "kernel of another shape": replace_kernel(data=np.zeros((5, 7), "f4")),
    "kernel of texts": replace_kernel(data=[["a", "b", "c"]] * 4, dtype=h5py.string_dtype()),
    "weights that are not numbers": not_a_number,
    "missing kernel": without_kernel,
}

# Other archives and files: functions of (path of a valid model file, folder), by name with the suffix.


def with_member(name: str, content: bytes, mode: int = 0o644):
    """Return a change that adds a member to an archive."""

    def change(path: Path, folder: Path) -> None:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(member, content)

    return change


def zip_without(path: Path, *names: str) -> dict[str, bytes]:
    """Rewrite an archive without some members."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist() if name not in names}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return content


def weights_as_link(path: Path, folder: Path) -> None:
    zip_without(path, WEIGHTS)
    with_member(WEIGHTS, str(folder / SECRET).encode(), 0o120777)(path, folder)


def weights_as_pickle(path: Path, folder: Path) -> None:
    """Replace the weights by an .npz archive with a pickled object, which Keras also accepts."""
    zip_without(path, WEIGHTS)
    content = io.BytesIO()
    np.savez(content, **{"layers/dense/vars": np.array([Touch(folder / CANARY)], object)})
    with_member("model.weights.npz", content.getvalue())(path, folder)


def bomb(path: Path, folder: Path) -> None:
    """Replace the weights by 300 MB of zeros in 1.3 MB."""
    zip_without(path, WEIGHTS)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(WEIGHTS, "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(1_000_000))


def size_understated(path: Path, folder: Path) -> None:
    """Compress the configuration as a bomb, and state a small size in the directory of the archive."""
    zip_without(path, CONFIG)
    content, stated = bytes(100_000_000), 500
    packed = zlib.compress(content, 1, wbits=-15)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", data, end + 16)[0]
    fields = struct.pack(
        "<HHHHHIIIHH", 20, 0, 8, 0, 0, zlib.crc32(content[:stated]), len(packed), stated, len(CONFIG), 0
    )
    local = b"PK\x03\x04" + fields + CONFIG.encode() + packed
    central = b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHII", 0, 0, 0, 0, start) + CONFIG.encode()
    directory = bytes(data[start:end]) + central
    count = struct.unpack_from("<H", data, end + 10)[0] + 1
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), start + len(local), 0)
    path.write_bytes(bytes(data[:start]) + local + directory + tail)


def twice(path: Path, folder: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # zipfile warns about the duplicate
        with_member(CONFIG, b"{}")(path, folder)


def pickle_renamed(path: Path, folder: Path) -> None:
    path.write_bytes(pickle.dumps(Touch(folder / CANARY)))


def truncated(path: Path, folder: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def emptied(path: Path, folder: Path) -> None:
    path.write_bytes(b"")


def unpacked(path: Path, folder: Path) -> None:
    """Replace an archive by a folder of its content, which Keras also accepts."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    path.unlink()
    path.mkdir()
    for name, data in content.items():
        (path / name).write_bytes(data)


def saved_model(path: Path, folder: Path) -> None:
    """Replace the file by a folder like TensorFlow's SavedModel."""
    path.unlink()
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"\x08\x01")


def loop_of_groups(path: Path, folder: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["model_weights/fc/loop"] = file["model_weights"]
        del file["model_weights/fc/network"]


FILES = {
    "path out of the archive .keras": with_member("../../escaped", b"x"),
    "absolute path in the archive .keras": with_member("/tmp/escaped", b"x"),
    "asset .keras": with_member("assets/layers/text_vectorization/vocabulary.txt", b"a\nb\n"),
    "link in the archive .keras": with_member("assets", b"/etc", 0o120777),
    "weights as a link .keras": weights_as_link,
    "weights as a pickle .keras": weights_as_pickle,
    "archive bomb .keras": bomb,
    "archive with an understated size .keras": size_understated,
    "two configurations .keras": twice,
    "pickle .keras": pickle_renamed,
    "pickle .h5": pickle_renamed,
    "truncated .keras": truncated,
    "truncated .h5": truncated,
    "empty .keras": emptied,
    "empty .h5": emptied,
    "folder .keras": unpacked,
    "SavedModel .keras": saved_model,
    "SavedModel .h5": saved_model,
    "groups in a loop .h5": loop_of_groups,
}


def names_of_models() -> list[str]:
    """Return the names of all hostile models; the last word of a name is the suffix of the file."""
    both = [f"{name} {suffix}" for name in (*CONFIGS, *WEIGHT_CHANGES) for suffix in SUFFIXES]
    return [*both, *FILES]


def write_hostile(name: str, valid: dict[str, Path], folder: Path) -> Path:
    """Write the model of this name into `folder`; `valid` holds a file of `network` for each suffix."""
    kind, _, suffix = name.rpartition(" ")
    path = folder / f"model{suffix}"
    path.write_bytes(valid[suffix].read_bytes())
    if name in FILES:
        FILES[name](path, folder)
        return path
    config, weights = parts_of(path)
    if kind in CONFIGS:
        config = CONFIGS[kind](config, folder) or config
    else:
        content = io.BytesIO(weights)
        with h5py.File(content, "r+") as file:
            WEIGHT_CHANGES[kind](file, KERNELS[suffix], folder)
        weights = content.getvalue()
    write_parts(path, config, weights)
    return path


def plant_modules(folder: Path) -> None:
    """Write modules that a model file names; importing one creates the canary."""
    for name in ("planted_layers", "keras_cv", "keras_hub", "keras_nlp"):
        (folder / f"{name}.py").write_text(f"open({os.fspath(folder / CANARY)!r}, 'w').close()\n")


def write_secret(folder: Path) -> None:
    with h5py.File(folder / SECRET, "w") as file:
        file["kernel"] = np.full((4, 3), 0.5, "f4")
