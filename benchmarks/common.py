"""What several benchmarks share."""

from collections.abc import Callable, Mapping


def in_turn(ways: Mapping[str, Callable], rounds: int) -> dict[str, list]:
    """Call each of `ways` once per round, so that other work on the machine slows all of them; return their results."""
    results = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            results[name].append(run())
    return results
