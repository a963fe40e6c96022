"""The installed package: the same commands and names as the clone, and no clash with other packages."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

import video_action_distillation as package
from tests.scripts import PROJECT, run_script
from utils import __version__


def test_public_names_exist():
    """A program of a user would fail after a name moves within the project."""
    found = {name: getattr(package, name) for name in package.PUBLIC}
    assert found.pop("__version__") == __version__
    assert all(item.__name__ == name for name, item in found.items())
    with pytest.raises(AttributeError, match="no attribute 'trian_student'"):
        _ = package.trian_student


def test_the_documented_names_are_public():
    """A user would build on a name that the next version may move."""
    text = (PROJECT / "docs/python.md").read_text()
    imported = {name for names in re.findall(r"import ([\w, ]+)$", text, re.M) for name in names.split(", ")} - {"Path"}
    assert len(imported) > 5
    assert imported <= set(package.PUBLIC)
    assert set(package.PUBLIC) - {"__version__"} <= set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize("script", package.COMMANDS.values())
def test_each_script_states_its_version(script, tmp_path):
    """A bug report could not say which version it is about."""
    printed = run_script(script, "--version", cwd=tmp_path, clears_keras=False)
    assert printed.endswith(f" {__version__}\n")


def test_changelog_and_citation_are_of_this_version():
    """A reader would cite, or look for the changes of, another version."""
    versions = re.findall(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == __version__
    assert f"version = {{{__version__}}}" in (PROJECT / "README.md").read_text()
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert (citation["version"], citation["cff-version"]) == (__version__, "1.2.0")


@pytest.mark.slow
def test_an_installed_package_has_the_commands_and_nothing_at_top_level(tmp_path):
    """`pip install .` would give commands that fail, or a `utils` that replaces the one of another package."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, PROJECT]
    subprocess.run(build, check=True, capture_output=True, timeout=200)
    venv.create(tmp_path / "venv", with_pip=False)
    (wheel,) = tmp_path.glob("*.whl")
    python = tmp_path / "venv/bin/python"
    install = [*pip, "--python", python, "install", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=200)
    (site,) = (tmp_path / "venv/lib").glob("*/site-packages")
    assert {path.name.partition("-")[0] for path in site.iterdir()} == {"video_action_distillation"}
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))
    for name in ("utils", "models"):  # of another project, in the working directory
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('of another project')")

    def run(*command):
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    for command, script in package.COMMANDS.items():
        assert run(python.parent / command, "--version").split()[-1] == __version__, script
    assert "recipes" in run(python.parent / "kd-reproduce", "--help")
    code = "import video_action_distillation as v; print(v.DataOptions('x/frames.npy').annotations, v.__file__)"
    printed = run(python, "-c", code).split()
    assert printed[0] == "x/labels.npy"
    assert Path(printed[1]).is_relative_to(site)
