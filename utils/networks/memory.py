"""A check that a network fits into memory, before its weights are allocated."""

import contextlib
import math
from collections.abc import Iterator

from utils.base.devices import has_gpu
from utils.base.errors import UserError
from utils.base.machine import memory_limit

COPIES = 4  # of each float32 weight in training: the weight, its gradient and two moments of Adam


@contextlib.contextmanager
def weights_within_memory() -> Iterator[None]:
    """Raise UserError as soon as the layers built in the block need more memory for training than there is.

    Keras allocates each weight when it is created, and the operating system may kill a process that fills the memory.
    Therefore `Layer.add_weight` is replaced in the block, to add up the sizes first. GPUs are not considered.
    """
    import keras

    original, limit, needed = keras.layers.Layer.add_weight, memory_limit(), 0

    def add_weight(layer, shape=None, *arguments, **settings):
        nonlocal needed
        needed += 4 * COPIES * math.prod(shape or ())
        if needed > limit:
            raise MemoryError
        return original(layer, shape, *arguments, **settings)

    if has_gpu():
        yield
        return
    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    except Exception:
        if needed <= limit:
            raise
        raise UserError(  # instead of the exception that Keras made of the MemoryError
            f"--width and --input_size: the training must fit into the {limit / 1e9:.1f} GB of memory of this machine, "
            f"but the weights need at least {needed / 1e9:.1f} GB"
        ) from None
    finally:
        keras.layers.Layer.add_weight = original
