"""Digests of Python source code, for the keys of results that the code computes."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from utils.base.files import digest


def code_digest(*modules: str) -> str:
    """Return the SHA-256 of the code of `modules` and of every module that they import from their top-level package.

    Imports are followed recursively. Comments, docstrings and formatting do not affect the digest.
    Raises ModuleNotFoundError if one of `modules` has no source file.
    """
    for name in modules:
        if source_file(name) is None:
            raise ModuleNotFoundError(name)
    code, pending = {}, list(modules)
    while pending:
        name = pending.pop()
        if name in code or (path := source_file(name)) is None:  # no file: an imported function or class
            continue
        tree = ast.parse(path.read_bytes())
        pending += imported_names(tree, name if path.name == "__init__.py" else name.rpartition(".")[0], name)
        remove_docstrings(tree)
        code[name] = ast.unparse(tree)
    return digest("\n".join(f"{name}\n{code[name]}" for name in sorted(code)).encode())


def source_file(name: str) -> Path | None:
    """Return the source file of a module, or None if there is none.

    The module is not executed, but its parent packages are imported.
    """
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # raised by a parent package
        return None
    return Path(spec.origin) if spec is not None and spec.has_location else None


def imported_names(tree: ast.AST, package: str, module: str) -> Iterator[str]:
    """Yield the full names that `module` imports from its top-level package: modules and their attributes.

    `package` is what relative imports refer to: the package of the module, or the module if it is a package.
    """
    top_level = module.partition(".")[0]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module
            if node.level:
                base = importlib.util.resolve_name("." * node.level + (base or ""), package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.partition(".")[0] == top_level)


def remove_docstrings(tree: ast.AST) -> None:
    """Remove the docstrings from a syntax tree, in place."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
