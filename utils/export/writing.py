"""All files of an export, written by the modules of their formats."""

import contextlib
import errno
import io
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from utils.base.devices import native_output_held_back
from utils.base.errors import UserError, first_line, out_of_memory
from utils.base.run_log import log_only
from utils.networks.export_record import ExportMetadata
from utils.networks.formats.format import INPUT, INSTALL, Calibration
from utils.networks.formats.opening import format_of

NEARLY_FULL = 2**20  # bytes left on a disk


def write_files(
    model,
    names: Mapping[str, tuple[str, str]],
    folder: Path,
    *,
    metadata: ExportMetadata,
    calibration: Calibration | None,
) -> None:
    """Write the files `names` of a Keras model of logits to a folder.

    names: format and precision by file name; the float32 file of a format precedes its int8 file. calibration: the
    clips for int8. Raises UserError if a file cannot be written.
    """
    network = network_of(model, metadata.output, metadata.temperature)
    text, floats = metadata.model_dump_json(), {}
    for name, (kind, precision) in names.items():
        print(f"writing {name}")
        path = folder / name
        with converting(f"--format {kind}: {name}", folder):
            if precision == "float32":
                floats[kind] = path
                format_of(kind).write(network, path, text)
            else:
                format_of(kind).write_int8(network, path, text, calibration, floats[kind])


def network_of(model, output: str, temperature: float):
    """Return a Keras model that maps clips to the `output` of a model of logits.

    "probabilities" are softmax(logits / temperature); "logits" are unchanged. Input and output have these names.
    """
    import keras

    clips = keras.Input(model.input_shape[1:], name=INPUT)
    scores = model(clips)
    if output == "probabilities":
        scores = keras.layers.Softmax()(keras.layers.Rescaling(1 / temperature)(scores))
    return keras.Model(clips, {output: scores})


@contextlib.contextmanager
def converting(what: str, folder: Path) -> Iterator[None]:
    """Hold back what converters print, and turn their exceptions, which are of many types, into a UserError.

    `what` names the argument, the format and the file, which is written to `folder`. Whole messages are written to the
    log of the run. A lack of memory is raised as it is.
    """
    problem = None
    with native_output_held_back(shown=False), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ModuleNotFoundError as error:
            problem = UserError(f"{what} needs the package {error.name}, which is missing: {INSTALL}")
        except Exception as error:
            full = os.strerror(errno.ENOSPC)
            is_full = full in str(error) or shutil.disk_usage(folder).free < NEARLY_FULL  # OpenVINO gives no reason
            if not is_full and out_of_memory(error):
                raise
            log_only(f"{what}: {type(error).__name__}: {error}")
            problem = UserError(f"{what} could not be written: {full if is_full else first_line(error)}")
    if problem is not None:
        raise problem
