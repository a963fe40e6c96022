"""Bad values of every argument of every script."""

import pytest

from tests.bad_input.calls import VALID, bad_calls, unchanged
from tests.scripts import run_script


@pytest.mark.parametrize("script", VALID)
def test_bad_values_of_each_argument_are_rejected(workplace, script):
    """A typing error would end in a traceback, cost a file, or start hours of work with other settings."""
    problems, count = [], 0
    with unchanged(workplace):
        for name, call in bad_calls(script):
            count += 1
            shown = " ".join(part if len(part) < 60 else f"{part[:50]}..." for part in call)
            try:
                error = run_script(script, *call, cwd=workplace, expect=2, clears_keras=False)
            except BaseException as problem:
                problems.append(f"{shown}\n    {type(problem).__name__}: {problem}")
                continue
            lines = error.splitlines()
            if len(lines) != 1 or not error.startswith("error: ") or name.strip("-") not in error or len(error) > 600:
                problems.append(f"{shown}\n    {error}")
    assert not problems, f"{len(problems)} of {count} calls:\n" + "\n".join(problems)
