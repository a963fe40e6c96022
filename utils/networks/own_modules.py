"""Modules that register layers with Keras: those of `models`, and modules of the user."""

import importlib
import os
import pkgutil
import sys
import traceback
from pathlib import Path

import models
from utils.base.errors import UserError

OWN_MODULES = "STUDENT_MODULES"  # environment variable: modules that register layers of your own, separated by spaces


def register_layers() -> None:
    """Import all modules of `models`, and those that STUDENT_MODULES names. Raises UserError if one cannot be."""
    for module in pkgutil.iter_modules(models.__path__, "models."):
        importlib.import_module(module.name)
    for name in os.environ.get(OWN_MODULES, "").split():
        import_own(name, argument=OWN_MODULES)


def import_own(name: str, *, argument: str):
    """Import a module, also from the current folder. Raises UserError that starts with `argument` if that fails."""
    look_in_current_folder()
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"{argument}: importing {name} failed {place_of(error)}") from error


def look_in_current_folder() -> None:
    """Append the current folder to the import path, at the end, so that it hides no installed module."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def place_of(error: Exception) -> str:
    """Return file, line, type and message of an error as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    place = f"({Path(outside[-1].filename).name}, line {outside[-1].lineno})" if outside else ""
    text = str(error).strip().splitlines() or [""]
    return f"{place}: {type(error).__name__}: {text[0]}".lstrip()
