"""A recogniser on disk: NAME.keras or NAME.h5 with its record NAME.json, or an exported file."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.base.devices import jit_compile
from utils.base.errors import UserError, first_line
from utils.base.files import file_fingerprint, written_beside
from utils.base.formats import is_exported
from utils.base.options import INPUT_SCALES, ViewOptions
from utils.data.batches import batch_loop, clip_batches, clip_reader
from utils.data.class_scores import SMALLEST_PROBABILITY, are_probabilities
from utils.data.clips import ClipDataset
from utils.networks.export_record import ExportMetadata
from utils.networks.exported import open_exported
from utils.networks.formats.format import files_of
from utils.networks.model_file import load_checked
from utils.runs.paths import record_path
from utils.runs.record import Record, read_record
from utils.runs.run import Run


@dataclass(frozen=True)
class Recognizer:
    """A network that maps RGB clips 0..255 `(B, *input_shape)` to logits `(B, C)`, with its file and its record.

    record: that of NAME.json, that of its source for an exported file, or None for a model of another project.
    export: what the export states about an exported file, None for Keras files and for files of other projects.
    """

    path: Path
    model: object
    record: Record | None
    export: ExportMetadata | None = field(default=None, kw_only=True)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return tuple(self.model.input_shape[1:])

    @property
    def num_classes(self) -> int:
        return self.model.output_shape[-1]

    @property
    def class_names(self) -> tuple[str, ...] | None:
        if self.record:
            return tuple(self.record.class_names)
        return tuple(self.export.class_names) if self.export and self.export.class_names else None

    @property
    def run(self) -> Run | None:
        """The training of the model, if it has a record."""
        return None if self.record is None else Run(self.path, self.record)

    @property
    def is_exported(self) -> bool:
        """Whether the file is run without Keras."""
        return is_exported(self.path)

    @property
    def temperature(self) -> float:
        """The temperature of the calibration, by the export or the record; 1 without one."""
        if self.export is not None:
            return self.export.temperature
        calibration = self.record and self.record.calibration
        return 1.0 if calibration is None else calibration.temperature

    @property
    def megabytes(self) -> float:
        """Size of the file, and of the weights next to an OpenVINO model."""
        return sum(file.stat().st_size for file in files_of(self.path)) / 1e6

    def logits(
        self,
        dataset: ClipDataset,
        rows: np.ndarray,
        *,
        batch_size: int = 16,
        view: int = 0,
        options: ViewOptions | None = None,
    ) -> np.ndarray:
        """Return logits for view `view`, as `options` define it, of the clips `rows`: float32 `(len(rows), C)`."""
        reader = clip_reader(dataset, self.input_shape, options)
        batches = clip_batches(reader, rows, batch_size=batch_size, view=view)
        logits = []
        with contextlib.closing(batches), batch_loop() as check:
            for clips in batches:
                logits.append(np.asarray(self.model.predict_on_batch(clips)))
                check()
        return np.concatenate(logits).astype(np.float32)


def save_model(model, path: str | os.PathLike) -> str:
    """Write a functional Keras model to .keras or .h5 atomically, without its optimiser; return its fingerprint.

    For a compiled model both formats include the optimiser's variables, which triple the file size.
    """
    import keras

    network = keras.Model(model.inputs[0], model.outputs[0], name=model.name)  # shares the layers, but is not compiled
    with written_beside(path) as temporary:
        if temporary.suffix == ".h5":
            temporary.write_bytes(hdf5_bytes(network))
        else:
            network.save(temporary)
        return file_fingerprint(temporary)


def hdf5_bytes(model) -> bytes:
    """Return the content of a model's .h5 file, created in memory, because HDF5 crashes if the disk is full."""
    import h5py

    class InMemory(h5py.File):
        def __str__(self):  # Keras accepts an open file, and infers the format from the suffix of this string
            return self.filename

    with InMemory("model.h5", "w", driver="core", backing_store=False) as file:
        model.save(file)
        return file.id.get_file_image()


def load_recognizer(
    path: str | os.PathLike,
    *,
    argument: str,
    channels: str = "rgb",
    input_scale: str = "0..255",
    threads: int | None = None,
    precision: str = "float32",
) -> Recognizer:
    """Load a model file of this or another project; see `open_network` and, for exported files, `open_exported`.

    `argument` is the command-line argument that error messages name. `threads` is the number of threads of an exported
    file, by default one per core, `precision` its number format. TensorFlow is imported for Keras files only.
    Raises UserError if the file is not a model of clips, if its record belongs to another file, or if a model with a
    record is given `channels` or `input_scale`.
    """
    if is_exported(path):
        model, export, record = open_exported(
            path, argument=argument, channels=channels, input_scale=input_scale, threads=threads, precision=precision
        )
        if record is not None:
            check_model_of_record(model, record, what=f"{argument}: the record of the source of {path}")
        return Recognizer(Path(path), model, record, export=export)
    if precision == "bfloat16":
        raise UserError(f"--precision: must be float32 or auto for the Keras file {path}, got bfloat16")
    record = read_record(path, file_fingerprint, argument=argument)
    if record is not None and (channels, input_scale) != ("rgb", "0..255"):
        raise UserError(
            f"--channels and --input_scale are for models without a record, but {path} has one and takes RGB 0..255"
        )
    return open_network(path, record, argument=argument, channels=channels, input_scale=input_scale)


def open_network(
    path: str | os.PathLike, record: Record | None, *, argument: str, channels: str, input_scale: str
) -> Recognizer:
    """Load a model file as a model that takes RGB clips 0..255 and returns logits.

    Without a record, probabilities become logits (see `with_logits`), and the input is converted to the `channels`
    ("rgb" or "bgr") and the `input_scale` (a key of INPUT_SCALES) that the model expects; prints what its outputs are.
    Raises UserError if the file is not a Keras model of clips.
    """
    try:
        model = load_checked(path)
    except Exception as error:  # Keras raises many types for a file that is not a model
        reason = first_line(error)
        raise UserError(f"{argument}: {path} must be a complete Keras model, but loading it failed: {reason}") from None
    input_shape, output_shape = model.input_shape, model.output_shape
    if not isinstance(input_shape, tuple) or len(input_shape) != 5 or input_shape[-1] != 3 or None in input_shape[1:]:
        raise UserError(f"{argument}: {path} must take clips (B, T, H, W, 3) of a fixed size, takes {input_shape}")
    if not isinstance(output_shape, tuple) or len(output_shape) != 2:
        raise UserError(f"{argument}: {path} must output class scores (B, C), outputs {output_shape}")
    if record is not None:
        check_model_of_record(model, record, what=f"{argument}: {record_path(path)}")
    else:
        model, outputs = with_logits(model)
        print(f"{path}: {outputs}")
        model = with_conventions(model, channels, input_scale)
    model.jit_compile = jit_compile()
    return Recognizer(Path(path), model, record)


def check_model_of_record(model, record: Record, *, what: str) -> None:
    """Raise UserError that starts with `what` if the record describes another input or number of classes."""
    shape, classes = list(model.input_shape[1:]), model.output_shape[-1]
    if record.input.shape != shape:
        raise UserError(f"{what}: input.shape must be {shape}, as the model's, found {record.input.shape}")
    if len(record.class_names) != classes:
        raise UserError(
            f"{what}: class_names must name the {classes} classes of the model, found {len(record.class_names)}"
        )


def with_logits(model):
    """Return a model that outputs logits, and a description of what the given model outputs.

    A final softmax is removed. Other probabilities, such as those of a nested softmax, are recognised by the outputs
    for two random clips (see `are_probabilities`) and inverted by a logarithm. It differs from the logits by a constant
    per row, which a softmax ignores.
    """
    import keras

    description, last = "logits", model.layers[-1]
    is_softmax = getattr(last, "activation", None) is keras.activations.softmax
    if isinstance(last, keras.layers.Softmax) or (isinstance(last, keras.layers.Activation) and is_softmax):
        model, description = keras.Model(model.inputs[0], last.input), "probabilities, final softmax removed"
    elif is_softmax:
        last.activation, description = keras.activations.linear, "probabilities, final softmax removed"
    probe = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:])).astype(np.float32)
    scores = np.asarray(model(probe, training=False))
    if are_probabilities(scores):
        clips = keras.Input(model.input_shape[1:])
        outputs = keras.ops.cast(model(clips), "float32")
        logits = keras.ops.log(keras.ops.maximum(outputs, SMALLEST_PROBABILITY))
        return keras.Model(clips, logits), "probabilities, log taken"
    return model, description


def with_conventions(model, channels: str, input_scale: str):
    """Return the model with its input converted from RGB 0..255 to its own channel order and value range."""
    import keras

    if (channels, input_scale) == ("rgb", "0..255"):
        return model
    scale, offset = INPUT_SCALES[input_scale]
    clips = keras.Input(model.input_shape[1:])
    x = keras.ops.flip(clips, axis=-1) if channels == "bgr" else clips
    return keras.Model(clips, model(keras.layers.Rescaling(scale, offset)(x)))
