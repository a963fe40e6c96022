"""The packages of conversions, and what runs exported files without this project: predict.pyz and requirements.txt."""

import importlib.metadata
import importlib.util
import zipfile
from collections.abc import Iterable
from pathlib import Path

from utils.base.errors import UserError
from utils.base.export_options import ExportOptions
from utils.networks.formats.format import INSTALL
from utils.networks.formats.opening import format_of

OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")
PROGRAM = ("av", "numpy", "psutil", "pydantic", "PyYAML", "tqdm", "xxhash")  # of predict.pyz, besides OpenCV
PROJECT = Path(__file__).parents[2]
PARTS = ("models", *(f"utils/{name}" for name in ("base", "data", "networks", "prediction", "runs", "video")))
REQUIREMENTS_START = "# What predict.pyz, example.py and the exported files need; written by export.py."


def require_packages(options: ExportOptions) -> None:
    """Raise UserError if a package is missing that a conversion needs."""
    for kind in options.formats:
        needed = format_of(kind).modules + (format_of(kind).modules_int8 if options.int8 else ())
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise UserError(f"--format {kind}: needs the package {missing[0]}, which is missing: {INSTALL}")


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Return the installed versions of packages by name, without those that are not installed."""
    found = {name: list(importlib.metadata.distributions(name=name)) for name in names}
    return {name: distributions[0].version for name, distributions in found.items() if distributions}


def requirements(kinds: Iterable[str], existing: str = "") -> str:
    """Return a requirements.txt of exact pins for predict.pyz, files of the given formats, and those of `existing`."""
    opencv = next(iter(versions_of(OPENCV)), OPENCV[0])
    lines = [line for line in existing.splitlines() if "==" in line]
    pins = dict(line.split("==", 1) for line in lines)
    pins |= versions_of([*PROGRAM, opencv, *(format_of(kind).runtime for kind in kinds)])
    return "\n".join([REQUIREMENTS_START, *(f"{name}=={version}" for name, version in sorted(pins.items()))]) + "\n"


def write_program(path: Path) -> None:
    """Write predict.py and the packages of PARTS to a file that Python runs and imports from."""
    files = [PROJECT / "utils/__init__.py", *(file for part in PARTS for file in (PROJECT / part).rglob("*.py"))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(PROJECT / "predict.py", "__main__.py")
        for file in sorted(files):
            archive.write(file, file.relative_to(PROJECT))
