"""Checks of model files from elsewhere: no code, no other files, no more memory than a file of its size can need.

Keras has checks of its own (`safe_mode`). These do not rely on them, and also bound memory.
"""

import contextlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator

import numpy as np

from utils.base import devices, machine
from utils.networks.own_modules import OWN_MODULES, register_layers

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"  # in the zip archive of a .keras file
CONFIG_LIMIT = 4 * 1024**2  # characters; the configuration of C3D has 10,000
COPIES = 4  # of a float32 weight in training: itself, its gradient and two moments of Adam
GROWTH, SLACK = 10, 64 * 1024**2  # a model may need GROWTH times the size of its file, and SLACK bytes
LARGEST_OUTPUT = 2**28  # values per clip; the largest output of C3D has 2**24 for clips of 16x128x128

# Layers whose configuration holds code, or the path of a file that Keras would read.
# fmt: off
CODE_OR_FILES = frozenset((
    "Lambda", "__lambda__", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "TFSMLayer",
    "StringLookup", "IntegerLookup", "TextVectorization",
))
# fmt: on


class ModelFileError(ValueError):
    """A model file that must not be loaded; the message is the reason, in one line."""


def load_checked(path: str | os.PathLike):
    """Load a .keras or .h5 file as a Keras model that is not compiled.

    Raises ModelFileError if the file could run code, read other files or use much more memory than its size suggests,
    or if a weight is not finite. Raises what Keras raises if it is not a complete model.
    """
    import keras

    register_layers()
    limit = memory_limit(path)
    if str(path).endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            check_members(archive, limit)
            check_config(archive.read(CONFIG))
            check_arrays(io.BytesIO(archive.read(WEIGHTS)), limit)
    else:
        check_config(check_arrays(path, limit))
    with variables_limited(limit):
        model = keras.models.load_model(os.path.abspath(path), compile=False, safe_mode=True)
    check_outputs(model)
    for variable in model.variables:
        values = np.asarray(variable)
        if values.dtype.kind not in "biu" and not np.isfinite(values).all():
            raise ModelFileError(f"its weights {variable.path} hold NaN or infinite values")
    return model


def memory_limit(path: str | os.PathLike) -> int:
    """Return how many bytes the content of a model file may need. Raises ModelFileError if it is not a file."""
    if not os.path.isfile(path):
        raise ModelFileError("it is not a file")
    return GROWTH * os.path.getsize(path) + SLACK


def require_within(limit: int, size: int, what: str, why: str = "too much for a file of its size") -> None:
    if size > limit:
        raise ModelFileError(f"{what} {size / 1e6:,.0f} MB, {why}")


def check_members(archive: zipfile.ZipFile, limit: int) -> None:
    """Check that a .keras archive holds the members that Keras writes for a network without assets, and no other."""
    names = archive.namelist()
    if strange := sorted(set(names) - {CONFIG, METADATA, WEIGHTS}):
        raise ModelFileError(f"it holds {strange[0]}, which is not part of a model")
    if len(set(names)) < len(names) or not {CONFIG, WEIGHTS} <= set(names):
        raise ModelFileError(f"it must hold {CONFIG} and {WEIGHTS} once each, it holds {', '.join(names) or 'nothing'}")
    for member in archive.infolist():
        require_within(limit, member.file_size, f"its {member.filename} unpacks to")


def check_config(content: str | bytes | None) -> None:
    """Check the configuration of a network, JSON: all its classes belong to Keras, and none holds code or reads files.

    Classes that the running program has registered with Keras are allowed: they are not loaded from the file. The
    arguments of `compile` are skipped, because Keras does not read them for a model that is not compiled.
    """
    import keras

    if content is None:
        return  # Keras reports it
    if len(content) > CONFIG_LIMIT:
        raise ModelFileError(f"its configuration has {len(content):,} characters, more than {CONFIG_LIMIT:,}")
    try:
        config = json.loads(content)
    except RecursionError:
        raise ModelFileError("its configuration is nested too deeply") from None
    pending = [{**config, "compile_config": None}] if isinstance(config, dict) else [config]
    while pending:
        node = pending.pop()
        pending += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        if not isinstance(node, dict) or "class_name" not in node:
            continue
        name, module = str(node["class_name"]), node.get("module")
        names = {name.rpartition(">")[2], str(node.get("registered_name")).rpartition(">")[2]}
        if refused := names & CODE_OR_FILES:
            raise ModelFileError(f"it uses {refused.pop()}, which can run code or read other files")
        registered = keras.saving.get_registered_object(node.get("registered_name") or name)
        if module is not None and str(module).partition(".")[0] not in ("keras", "builtins") and registered is None:
            shown = node.get("config") if name == "function" else name
            raise ModelFileError(
                f"it uses {module}.{shown}, which is not part of Keras; if it is registered by a module of yours, name "
                f"that in the environment variable {OWN_MODULES}"
            )


def check_arrays(file: str | os.PathLike | io.BytesIO, limit: int) -> str | bytes | None:
    """Check that an HDF5 file holds numbers only, stored in the file itself; return its `model_config` if it has one.

    Raises OSError if it is not an HDF5 file.
    """
    import h5py

    total, seen = 0, set()
    with h5py.File(file, "r") as root:
        pending = [root]
        while pending:
            item = pending.pop()
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # groups may contain each other
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                pending += [linked_item(item, name) for name in item]
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external or item.dtype.hasobject:
                    raise ModelFileError(f"its array {item.name} is not stored as numbers in the file")
                total += math.prod(item.shape or ()) * item.dtype.itemsize
                require_within(limit, total, "its arrays need")
        return root.attrs.get("model_config")


def linked_item(group, name: str):
    """Return a member of an HDF5 group. Raises ModelFileError if it is a link to another file or path."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ModelFileError(f"its {group.name.rstrip('/')}/{name} is a link to data elsewhere")
    return group[name]


@contextlib.contextmanager
def variables_limited(limit: int, *why: str) -> Iterator[None]:
    """Raise ModelFileError, with `why`, before Keras variables created in the block need more than `limit` bytes.

    A configuration of a hundred characters, or a large --width, can ask for a layer that fills the memory.
    """
    import keras

    initialise, total = keras.Variable.__init__, 0

    def initialise_limited(variable, initializer, shape=None, dtype=None, *args, **kwargs):
        nonlocal total
        total += 4 * math.prod(shape or ())
        require_within(limit, total, "its weights need", *why)
        initialise(variable, initializer, shape, dtype, *args, **kwargs)

    keras.Variable.__init__ = initialise_limited
    try:
        yield
    finally:
        keras.Variable.__init__ = initialise


def trainable_in_memory() -> contextlib.AbstractContextManager:
    """Raise ModelFileError in the block before the weights of a network need more memory in training than there is.

    The operating system would kill the process. GPUs, which have their own memory, are not considered.
    """
    if devices.has_gpu():
        return contextlib.nullcontext()
    memory = machine.memory_limit()
    return variables_limited(memory // COPIES, f"too much to be trained in the {memory / 1e9:.1f} GB of this machine")


def check_outputs(model) -> None:
    """Check that no layer of a model computes more than LARGEST_OUTPUT values per clip."""
    import keras

    pending = [model]
    while pending:
        layer = pending.pop()
        pending += getattr(layer, "layers", ())
        for node in layer._inbound_nodes:  # one per use of the layer; `layer.output` is that of the first
            for output in keras.tree.flatten(node.output_tensors):
                size = math.prod(side or 1 for side in output.shape)
                if size > LARGEST_OUTPUT:
                    raise ModelFileError(
                        f"its layer {layer.name} computes {size:,} values, more than {LARGEST_OUTPUT:,}"
                    )
