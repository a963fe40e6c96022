"""The digest depends on the code of a module and of its imports, not on comments or docstrings."""

import sys

import pytest

from utils.base.code_digest import code_digest


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """Return the name of a new package, and a function that writes its modules."""
    name = f"package_{abs(hash(request.node.name))}"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / name).mkdir()

    def write(**modules):
        for module, text in modules.items():
            (tmp_path / name / f"{module}.py").write_text(text)
        sys.path_importer_cache.clear()

    write(__init__="")
    return name, write


def test_code_changes_the_digest_and_comments_do_not(package):
    """A result of old code would be reused, or a new comment would cost a training."""
    name, write = package
    write(net="def build():\n    return 1\n")
    before = code_digest(f"{name}.net")
    write(net='"""New."""\n\n\ndef build():  # one\n    """Build."""\n\n    # why\n    return 1\n')
    assert code_digest(f"{name}.net") == before
    write(net="def build():\n    return 2\n")
    assert code_digest(f"{name}.net") != before


def test_imported_modules_of_the_same_package_change_the_digest(package):
    """A change in a module that the student's module imports would go unnoticed."""
    name, write = package
    write(
        net=f"from {name}.parts import layer\nfrom . import other\n",
        parts="layer = 1\n",
        other="x = 1\n",
        lone="y = 1\n",
    )
    before = code_digest(f"{name}.net")
    write(lone="y = 2\n")
    assert code_digest(f"{name}.net") == before
    write(parts="layer = 2\n")
    assert code_digest(f"{name}.net") != before
    write(parts="layer = 1\n", other="x = 2\n")
    assert code_digest(f"{name}.net") != before


def test_a_missing_module_is_an_error():
    """A misspelt module name would give a valid digest."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        code_digest("no_such_module")


def test_relative_imports_of_a_package_are_followed(package):
    """A student in the __init__.py of a package could not be used, or be reused after a change of its modules."""
    name, write = package
    write(__init__="from .layers import build", layers="build = 1")
    before = code_digest(name)
    write(layers="build = 2")
    assert code_digest(name) != before
