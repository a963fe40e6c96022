"""Recipes: arguments from a YAML file."""

import pytest

from utils.runtime.errors import UserError
from utils.settings.recipes import arguments_of_recipe

KNOWN = {"epochs", "seeds", "overwrite", "width"}


def arguments_of(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    return arguments_of_recipe(tmp_path / "recipe.yaml", KNOWN)


def test_settings_become_arguments(tmp_path):
    """A recipe would differ from the same arguments on the command line."""
    text = "epochs: 3\nseeds: [0, 1]\noverwrite: true\nwidth: null\n"
    assert arguments_of(tmp_path, text) == ["--epochs", "3", "--seeds", "0", "1", "--overwrite"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocs: 3", "has the unknown setting epocs, expected one of epochs, overwrite"),
        ("- epochs", "must map argument names to values, got list"),
        ("", "must map argument names to values, got NoneType"),
        ("a: [", "must be a YAML file"),
    ],
)
def test_an_invalid_recipe_is_rejected(tmp_path, text, message):
    """A misspelt setting would be silently ignored."""
    with pytest.raises(UserError, match=message) as error:
        arguments_of(tmp_path, text)
    assert "\n" not in str(error.value)
