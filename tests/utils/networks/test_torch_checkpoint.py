"""Checkpoints of PyTorch are read without PyTorch; pickles that call anything else are refused."""

import collections
import os
import pickle
import sys
import types

import numpy as np
import pytest

from utils.networks.torch_checkpoint import MAGIC, PROTOCOL, CheckpointError, read_checkpoint

LINEAR = np.arange(6, dtype=np.float32)


class Storage:
    def __init__(self, key, values):
        self.key, self.values = key, values


class Tensor:
    """Pickled as PyTorch does: a call of `_rebuild_tensor_v2` with a storage, an offset, a shape and strides."""

    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, item):
        if isinstance(item, Storage):
            return "storage", sys.modules["torch"].FloatStorage, item.key, "cpu", len(item.values), None
        return None


@pytest.fixture
def torch_names(monkeypatch):
    """Modules of the names that a checkpoint of PyTorch holds."""
    names = {"torch": types.ModuleType("torch"), "torch._utils": types.ModuleType("torch._utils")}
    names["torch"].FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    rebuild = types.FunctionType((lambda *arguments: None).__code__, {}, "_rebuild_tensor_v2")
    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    names["torch._utils"]._rebuild_tensor_v2 = rebuild
    for name, module in names.items():
        monkeypatch.setitem(sys.modules, name, module)


def write_checkpoint(path, state: dict, storages=()) -> None:
    with open(path, "wb") as file:
        for part in (MAGIC, PROTOCOL, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        Pickler(file, protocol=2).dump(state)
        pickle.dump([each.key for each in storages], file, protocol=2)
        for each in storages:
            file.write(np.int64(len(each.values)).tobytes() + each.values.tobytes())


def test_tensors_have_their_shapes_strides_and_offsets(torch_names, tmp_path):
    """A transposed kernel would be read as another one."""
    storage = Storage("7", LINEAR)
    state = {"plain": Tensor(storage, 0, (2, 3), (3, 1)), "turned": Tensor(storage, 0, (3, 2), (1, 3))}
    state["end"] = Tensor(storage, 4, (2,), (1,))
    write_checkpoint(tmp_path / "a.pth", collections.OrderedDict(state), [storage])
    found = read_checkpoint(tmp_path / "a.pth")
    np.testing.assert_array_equal(found["plain"], LINEAR.reshape(2, 3))
    np.testing.assert_array_equal(found["turned"], LINEAR.reshape(2, 3).T)
    np.testing.assert_array_equal(found["end"], [4, 5])


def test_hostile_and_damaged_files_are_refused(torch_names, tmp_path):
    """A file of weights would run commands, or give numbers from beyond its end."""
    path, storage = tmp_path / "a.pth", Storage("7", LINEAR)
    write_checkpoint(path, {"run": os.getcwd})
    with pytest.raises(CheckpointError, match=r"^holds \w+\.getcwd, which is not a tensor$"):
        read_checkpoint(path)
    write_checkpoint(path, {"far": Tensor(storage, 3, (2, 2), (2, 1))}, [storage])
    with pytest.raises(CheckpointError, match="beyond its storage"):
        read_checkpoint(path)
    write_checkpoint(path, {"plain": Tensor(storage, 0, (6,), (1,))}, [storage])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match=r"^is damaged \(ValueError\)$"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(1, protocol=2))
    with pytest.raises(CheckpointError, match=r"^is damaged \(EOFError\)$"):
        read_checkpoint(path)
