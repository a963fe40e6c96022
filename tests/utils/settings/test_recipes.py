"""Recipes: settings in a file, under those of the command line."""

import pytest

from utils.runtime.errors import UserError
from utils.settings.recipes import arguments_of_recipe

KNOWN = {"epochs", "seeds", "overwrite", "width"}


def arguments_of(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(text)
    return arguments_of_recipe(tmp_path / "recipe.yaml", KNOWN)


def test_settings_become_arguments(tmp_path):
    """A recipe must mean what the same words on the command line mean."""
    text = "epochs: 3\nseeds: [0, 1]\noverwrite: true\nwidth: null\n"
    assert arguments_of(tmp_path, text) == ["--epochs", "3", "--seeds", "0", "1", "--overwrite"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epocs: 3", "names the unknown setting epocs; known are epochs, overwrite"),
        ("- epochs", "must map argument names to values, got list"),
        ("", "must map argument names to values, got NoneType"),
        ("a: [", "must be a YAML file"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(tmp_path, text, message):
    """A misspelt setting that is silently ignored makes a table of something else."""
    with pytest.raises(UserError, match=message) as error:
        arguments_of(tmp_path, text)
    assert "\n" not in str(error.value)
