"""Outputs of the frozen layers below the trained layers, computed once per clip."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utils.base.devices import jit_compile
from utils.base.files import require_free_space
from utils.base.run_log import begin_log
from utils.data.batches import RowReader, batch_loop, clip_reader, evaluation_batches
from utils.data.clips import ClipDataset


@contextlib.contextmanager
def feature_reader(features, dataset: ClipDataset, rows: np.ndarray, folder: Path) -> Iterator[RowReader]:
    """Yield a reader of the outputs of the frozen network `features` for view 0 of `rows`, by row of the dataset.

    They are in a temporary file in `folder`, because they may exceed memory; the file is removed when the block ends.
    Raises UserError if the disk has too little free space.
    """
    shape = tuple(features.output_shape[1:])
    folder.mkdir(parents=True, exist_ok=True)
    require_free_space(folder, 4 * int(np.prod(shape)) * len(rows), what="the file of frozen features")
    features.jit_compile = jit_compile()
    begin_log()
    batches = evaluation_batches(clip_reader(dataset, features.input_shape[1:]), rows, {}, batch_size=16)
    with tempfile.TemporaryFile(dir=folder) as file:
        with batch_loop() as check:
            for clips, _ in batches.as_numpy_iterator():
                file.write(np.ascontiguousarray(features.predict_on_batch(clips), np.float32))
                check()
        file.flush()
        stored = np.memmap(file, np.float32, mode="r", shape=(len(rows), *shape))
        position = np.full(dataset.row_count, len(rows))  # out of range: reading any other clip is an error
        position[rows] = np.arange(len(rows))
        yield RowReader(lambda wanted, _: np.asarray(stored[position[wanted]]), shape, np.float32)
