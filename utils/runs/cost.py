"""The cost of a teacher, which a table cannot measure if only its scores are given: the entry "cost" of scores.json."""

from collections.abc import Sequence
from pathlib import Path

from utils.base.schemas import Count, NonNegative, Schema, read_checked
from utils.runs.paths import record_path


class Cost(Schema):
    """The cost of a network: its parameters, multiply-accumulates per clip, and megabytes of its float32 weights."""

    parameters: Count
    multiply_accumulates: Count
    megabytes: NonNegative


class _About(Schema, extra="allow"):
    cost: Cost | None = None


def cost_of_weights(parameters: int, operations: int) -> Cost:
    """Return the cost of a network with this number of float32 parameters and multiply-accumulates per clip."""
    return Cost(parameters=parameters, multiply_accumulates=operations, megabytes=4 * parameters / 1e6)


def total_cost(costs: Sequence[Cost]) -> Cost:
    """Return the cost of several networks that are all run on each clip."""
    names = Cost.model_fields
    return Cost(**{name: sum(getattr(cost, name) for cost in costs) for name in names})


def stated_cost(path: Path, *, argument: str) -> Cost | None:
    """Return the cost in the .json next to a file of scores, None if there is none.

    Raises UserError that names `argument`, the .json and the first wrong field.
    """
    about_path = record_path(path)
    if not about_path.is_file():
        return None
    return read_checked(about_path, _About, what=f"{argument}: {about_path}").cost
