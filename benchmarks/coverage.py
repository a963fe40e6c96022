"""How often the 95 % intervals of eval.py and reproduce.py cover the true value when clips come in groups.

    python benchmarks/coverage.py --simulations 100

Prints a Markdown table by number of groups: the mean and the lowest share of simulations in which the interval covers
the true accuracy or difference, over settings with 4 to 50 clips per group and weak to strong dependence within groups,
and how often two equally accurate models are called different. For comparison, the mean for intervals that treat clips
as independent.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.base import argument_types, cli
from utils.base.parser import ArgumentParser

GROUPS = (2, 3, 4, 5, 6, 8, 10, 20, 40)
SIZES = ((4, 9), (30, 50))  # clips per group, from and below


def accuracies(generator, count: int):
    """Yield for each setting the true accuracy and a function that draws correct predictions of clips of groups.

    The accuracy of a group has a beta distribution; `correlation` is that of two clips of a group.
    """
    for (low, high), mean, correlation in itertools.product(SIZES, (0.5, 0.65, 0.9), (0.01, 0.15, 0.3, 0.6)):
        scale = (1 - correlation) / correlation

        def draw(low=low, high=high, mean=mean, scale=scale):
            groups = np.repeat(np.arange(count), generator.integers(low, high, count))
            rates = generator.beta(mean * scale, (1 - mean) * scale, count)
            return (generator.random(len(groups)) < rates[groups],), groups

        yield mean, draw


def differences(generator, count: int):
    """Yield for each setting the true difference and a function that draws correct predictions of two models.

    A clip is recognised if the sum of normal terms is positive: of group, clip, group and model, clip and model.
    """
    for (low, high), shared, own, shift in itertools.product(SIZES, (0.0, 1.5), (0.0, 0.5, 1.0), (0.0, 0.8)):
        deviation = np.sqrt(shared**2 + own**2 + 2)

        def draw(low=low, high=high, shared=shared, own=own, shift=shift):
            groups = np.repeat(np.arange(count), generator.integers(low, high, count))
            hardness = shared * generator.normal(size=count)[groups] + generator.normal(size=len(groups))
            own_terms = (own * generator.normal(size=count)[groups] + generator.normal(size=len(groups)) for _ in "ab")
            return tuple(0.4 + s + hardness + term > 0 for s, term in zip((shift, 0), own_terms)), groups

        yield stats.norm.cdf((0.4 + shift) / deviation) - stats.norm.cdf(0.4 / deviation), draw


def main() -> None:
    parser = ArgumentParser(__doc__.splitlines()[0])
    parser.add_argument(
        "--simulations", type=argument_types.positive_int, default=100, help="simulations per setting and group count"
    )
    simulations = parser.parse_args().simulations
    from utils.evaluation.intervals import accuracy_interval, compare

    print("| groups | accuracy | lowest | as if independent | difference | lowest | as if independent | false alarms |")
    print(f"|{'---:|' * 8}")
    for count in GROUPS:
        cells, alarms = [str(count)], []
        for settings, make in ((accuracies, accuracy_interval), (differences, compare)):
            shares = []
            for truth, draw in settings(np.random.default_rng(0), count):
                covered = []
                for _ in range(simulations):
                    correct, groups = draw()
                    found = [make(*correct, each) for each in (groups, None)]
                    intervals = [each if make is accuracy_interval else each.difference for each in found]
                    covered.append([each.low <= truth <= each.high for each in intervals])
                    if make is compare and truth == 0:
                        alarms.append(found[0].verdict == "significant")
                shares.append(np.mean(covered, axis=0))
            (mean, plain), (lowest, _) = np.mean(shares, axis=0), np.min(shares, axis=0)
            cells += [f"{100 * share:.0f} %" for share in (mean, lowest, plain)]
        print(f"| {' | '.join([*cells, f'{100 * np.mean(alarms):.0f} %'])} |", flush=True)


if __name__ == "__main__":
    cli.run(main)
