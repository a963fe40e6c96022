"""Arrays of a PyTorch checkpoint in the format before 1.6, read without PyTorch and without running its pickles."""

import collections
import pickle
from pathlib import Path

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # the first two pickles of such a file
TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class CheckpointError(ValueError):
    """A file that is not a checkpoint of float and integer tensors."""


class _Unpickler(pickle.Unpickler):
    """Knows tensors and ordered dictionaries only; anything else that a pickle could call is refused."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (*storage, offset, shape, strides)
        if module == "torch" and name in TYPES:
            return TYPES[name]
        raise CheckpointError(f"holds {module}.{name}, which is not a tensor")

    def persistent_load(self, description):
        _, dtype, key, _, _, view = description
        if view is not None:
            raise CheckpointError("holds a view of a storage")
        return key, dtype


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a state dictionary by name, float32 or int64 with their shapes.

    Format: five pickles (magic number, version, sizes of types, tensors, keys of their storages), then for each key the
    number of values, int64, and the values. Raises CheckpointError if the file is not of this format.
    """
    try:
        with open(path, "rb") as file:
            if (_Unpickler(file).load(), _Unpickler(file).load()) != (MAGIC, PROTOCOL):
                raise CheckpointError("does not start as a checkpoint does")
            _Unpickler(file).load()
            tensors = _Unpickler(file).load()
            dtypes = {key: dtype for key, dtype, *_ in tensors.values()}
            storages = {}
            for key in _Unpickler(file).load():
                count = int(np.frombuffer(file.read(8), "<i8")[0])
                storages[key] = np.frombuffer(file.read(count * np.dtype(dtypes[key]).itemsize), dtypes[key], count)
        return {name: _tensor(storages[key], *layout) for name, (key, _, *layout) in tensors.items()}
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise CheckpointError(f"is damaged ({type(error).__name__})") from None


def _tensor(storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if min(offset, *strides, 0) < 0 or last >= len(storage):
        raise CheckpointError("holds a tensor beyond its storage")
    bytes_apart = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, bytes_apart, writeable=False).copy()
