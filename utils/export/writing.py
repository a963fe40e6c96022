"""All files of an export: ONNX files are written by Keras, those of OpenVINO and LiteRT are converted SavedModels."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from utils.export import conversion, quantisation
from utils.export.folding import with_convolved_shifts, with_folded_poolings
from utils.export.operators import litert_operators
from utils.networks.export_record import ExportMetadata

Calibration = Callable[[], Iterator[np.ndarray]]


def write_files(
    model,
    names: Mapping[str, tuple[str, str]],
    folder: Path,
    *,
    metadata: ExportMetadata,
    calibration: Calibration | None,
) -> None:
    """Write the files `names` of a Keras model of logits to a folder.

    names: format and precision by file name; the float32 file of a format precedes its int8 file. calibration: returns
    the clips for int8. Raises UserError if a file cannot be written.
    """
    network = conversion.network_of(model, metadata.output, metadata.temperature)
    text = metadata.model_dump_json()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as work:
        saved_models = SavedModels(network, Path(work), text)
        floats = {}
        for name, (kind, precision) in names.items():
            print(f"writing {name}")
            path = folder / name
            with conversion.converting(f"--format {kind}: {name}", folder):
                if precision == "float32":
                    write_float(network, kind, path, text, saved_models)
                else:
                    write_int8(kind, floats[kind], path, text, saved_models, calibration)
                if kind == "litert":
                    litert_operators(path)  # refuses what only TensorFlow can run
            floats.setdefault(kind, path)


class SavedModels:
    """TensorFlow SavedModels of a network, each written when it is first needed."""

    def __init__(self, network, folder: Path, metadata: str):
        self.network, self.folder, self.metadata = network, folder, metadata

    def direct(self) -> Path:
        """Return the folder of the network as it is."""
        return self._written(self.folder / "direct", lambda network: network)

    def folded(self) -> Path:
        """Return the folder of the network with folded poolings; see folding.py."""
        return self._written(self.folder / "folded", with_folded_poolings)

    def for_integers(self) -> Path:
        """Return the folder of the network for OpenVINO with 8-bit integers; see folding.py."""
        return self._written(self.folder / "for_integers", with_convolved_shifts)

    def _written(self, path: Path, change: Callable) -> Path:
        if not path.exists():
            conversion.write_saved_model(change(self.network), path, self.metadata)
        return path


def write_float(network, kind: str, path: Path, metadata: str, saved_models: SavedModels) -> None:
    """Write the float32 file of a format."""
    if kind == "onnx":
        conversion.write_onnx(network, path, metadata)
    elif kind == "openvino":
        conversion.write_openvino(saved_models.direct(), path, metadata)
    elif kind == "litert":
        conversion.write_litert(saved_models.folded(), path, metadata)
    else:
        conversion.write_saved_model(network, path, metadata)


def write_int8(
    kind: str, source: Path, path: Path, metadata: str, saved_models: SavedModels, calibration: Calibration
) -> None:
    """Write the int8 file of a format, for ONNX from the float32 file `source`."""
    if kind == "onnx":
        quantisation.quantise_onnx(source, path, calibration(), metadata)
    elif kind == "openvino":
        quantisation.quantise_openvino(saved_models.for_integers(), path, calibration(), metadata)
    else:
        conversion.write_litert(saved_models.folded(), path, metadata, calibration)
