"""The table of private parts of libraries in CONTRIBUTING.md."""

import ast
import re
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PRIVATE = re.compile("_[a-z]")


def names_in(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Return the attributes that a module uses, and the names that it defines."""
    used, defined = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
    return used, defined


def test_private_parts_of_libraries_are_listed():
    """A new version of Keras would break what nobody knows to depend on it."""
    listed = (
        (PROJECT / "CONTRIBUTING.md").read_text().partition("## Private parts of libraries")[2].partition("\n## ")[0]
    )
    rows = [row for row in listed.splitlines() if row.startswith("| `")]
    assert len(rows) <= 8
    files = [*PROJECT.glob("*.py"), *PROJECT.glob("models/*.py"), *PROJECT.glob("utils/**/*.py")]
    found = {file: names_in(ast.parse(file.read_text())) for file in files}
    defined = {name for _, names in found.values() for name in names} | {"_exit"}  # os._exit is documented
    for file, (used, _) in found.items():
        for name in filter(PRIVATE.match, used - defined):
            assert any(f"{name}`" in row and file.name in row for row in rows), f"{file}: {name}"
