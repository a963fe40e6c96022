"""Features: the outputs of the frozen layers below those that are trained, computed once a clip."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.data.batches import Source, batch_loop, clip_source, evaluation_batches
from utils.data.clips import ClipDataset
from utils.runtime.devices import jit_compile
from utils.runtime.files import require_free_space


@contextlib.contextmanager
def feature_source(features, dataset: ClipDataset, rows: np.ndarray, folder: Path) -> Iterator[Source]:
    """The outputs of the frozen network `features` for view 0 of the clips `rows`, as a Source by row of the dataset.

    They lie in a temporary file in `folder` (deep features of many clips exceed memory), gone when the block ends.
    Raises UserError if the disk has no room for them.
    """
    shape = tuple(features.output_shape[1:])
    folder.mkdir(parents=True, exist_ok=True)
    require_free_space(folder, 4 * int(np.prod(shape)) * len(rows), what="the file of frozen features")
    features.jit_compile = jit_compile()
    batches = evaluation_batches(clip_source(dataset, features.input_shape[1:]), rows, {}, batch_size=16)
    with tempfile.TemporaryFile(dir=folder) as file:
        with batch_loop() as check:
            for clips, _ in batches.as_numpy_iterator():
                file.write(np.ascontiguousarray(features.predict_on_batch(clips), np.float32))
                check()
        file.flush()
        stored = np.memmap(file, np.float32, mode="r", shape=(len(rows), *shape))
        position = np.full(len(dataset), len(rows))  # out of range: a clip that was not meant to be read is an error
        position[rows] = np.arange(len(rows))
        yield Source(lambda wanted, _: np.asarray(stored[position[wanted]]), shape, np.float32)
