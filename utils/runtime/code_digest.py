"""Digests of Python code: part of what identifies a result that the code computes."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from utils.runtime.files import digest


def code_digest(*modules: str) -> str:
    """SHA-256 of the code of `modules` and of the modules that they import from their own top-level package.

    Comments, docstrings and formatting do not change it. Raises ModuleNotFoundError if a module has no source file.
    """
    found, waiting = {}, list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            tree = ast.parse(module_file(name).read_bytes())
            waiting += imported_siblings(tree, name)
            remove_docstrings(tree)
            found[name] = ast.unparse(tree)
    return digest("\n".join(f"{name}\n{found[name]}" for name in sorted(found)).encode())


def module_file(name: str) -> Path:
    """The source file of a module, found without running it (packages above it are imported)."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # raised by a package above it
        spec = None
    if spec is None or not spec.has_location:
        raise ModuleNotFoundError(name)
    return Path(spec.origin)


def imported_siblings(tree: ast.AST, name: str) -> Iterator[str]:
    """Modules that the module `name` imports from its own top-level package."""
    package = name.partition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), name.rpartition(".")[0])
            else:
                base = node.module
            candidates = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        else:
            continue
        for candidate in candidates:
            if candidate.partition(".")[0] == package and is_module(candidate):
                yield candidate


def is_module(name: str) -> bool:
    """Whether `name` is a module with a source file, not an attribute of one."""
    try:
        module_file(name)
    except ModuleNotFoundError:
        return False
    return True


def remove_docstrings(tree: ast.AST) -> None:
    """Remove the docstrings from a syntax tree."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
