"""The settings of export.py: each field states name, default, help and type of the argument that sets it."""

from dataclasses import dataclass
from pathlib import Path

from utils.base.argument_types import output_folder, positive_int
from utils.base.formats import FORMATS, NOT_QUANTISED, QUANTISED
from utils.base.setting import setting


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and how it is verified and measured. `threads` None stands for one per core."""

    formats: tuple[str, ...] = setting(
        ("onnx",), "formats to write", flag="--format", nargs="+", choices=tuple(FORMATS)
    )
    output: str = setting(
        "probabilities",
        "output of the files: probabilities, calibrated if the record has a calibration, or logits",
        choices=("probabilities", "logits"),
    )
    int8: bool = setting(
        False,
        "also write files quantised to 8-bit integers, calibrated on training clips of --data",
        action="store_true",
    )
    compared_clips: int = setting(100, "number of clips on which files are compared with Keras", type=positive_int)
    calibration_clips: int = setting(100, "number of training clips on which --int8 is calibrated", type=positive_int)
    measure: bool = setting(True, "measure latency and memory of each file", action="store_true")
    threads: int | None = setting(
        None, "number of threads of the second latency, by default one per core", type=positive_int
    )
    output_path: Path = setting(Path("exported"), "folder of the exported files", type=output_folder)
    overwrite: bool = setting(False, "replace files exported from another model of this name", action="store_true")


def exported_names(stem: str, options: ExportOptions) -> dict[str, tuple[str, str]]:
    """Return the name of each exported file or folder with its format and precision, float32 before int8."""
    found = {}
    for kind in dict.fromkeys(options.formats):
        found[f"{stem}{FORMATS[kind]}"] = (kind, "float32")
        if options.int8 and kind not in NOT_QUANTISED:
            found[f"{stem}{QUANTISED}{FORMATS[kind]}"] = (kind, "int8")
    return found
