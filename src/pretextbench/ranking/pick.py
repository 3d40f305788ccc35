"""The method that validation picks. Test accuracies play no part in it: they judge the method that was picked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pretextbench.ranking.rows import Row
from pretextbench.ranking.statistics import Floats


@dataclass(frozen=True)
class Pick:
    """The method with the largest validation accuracy of the linear probe, at its row's layer, over its seeds."""

    name: str
    accuracies: Mapping[str, float]  # method -> validation accuracy, a fraction; best first
    images: int  # labelled validation images
    error: float  # standard error of the gap between the first two, a fraction; 0 with one method

    @property
    def gap(self) -> float:
        """How far the method is above the next, a fraction; 1 with one method."""
        first, *others = self.accuracies.values()
        return first - others[0] if others else 1.0

    @property
    def clear(self) -> bool:
        """Whether the gap is larger than its standard error; where not, these images are too few to pick."""
        return self.gap > self.error


def pick(methods: Sequence[Row], images: int) -> Pick | None:
    """Of the methods that have predictions; None without one. The first of equals, in the order given."""
    if not methods:
        return None
    first_best = sorted(methods, key=lambda row: -float(np.mean(row.validation)))
    accuracies = {row.name: float(np.mean(row.validation)) for row in first_best}
    error = math.sqrt(sum(_variance(row, images) for row in first_best[:2])) if len(methods) > 1 else 0.0
    return Pick(first_best[0].name, accuracies, images, error)


def expected_anew(methods: Sequence[Row], test: Mapping[str, Floats]) -> float | None:
    """Test accuracy to expect of a new pretraining of the method that is picked, a fraction.

    Seeds that were lucky on validation are lucky on test, so that the mean over the seeds by which a method was picked
    is too high for a new one. Here each seed in turn takes no part in the pick, and judges the method that is picked
    without it. A bootstrap varies less, but is up to 0.7 points off where one method is far ahead.

    Args:
        methods: rows with their validation accuracies, one per seed.
        test: method -> (S,) test accuracies of the same seeds.

    Returns:
        The mean over the seeds left out; None where a method has one seed, or no test accuracies.
    """
    if not methods or min(len(row.validation) for row in methods) < 2 or any(row.name not in test for row in methods):
        return None
    methods = sorted(methods, key=lambda row: row.name)  # an order by test would select among equals
    judged = []
    for fold in range(max(len(row.validation) for row in methods)):
        kept = [float(np.mean(np.delete(row.validation, fold % len(row.validation)))) for row in methods]
        chosen = methods[int(np.argmax(kept))]
        judged.append(test[chosen.name][fold % len(chosen.validation)])
    return float(np.mean(judged))


def widened(interval: tuple[float, float], accuracy: float, anew: float) -> tuple[float, float]:
    """The interval of the picked method, of that accuracy, for a new pretraining: its lower end falls as far as that.

    Its upper end stays: moved as a whole it covers less, because the expected accuracy varies more than the mean does.
    """
    low, high = interval
    return max(low + min(anew - accuracy, 0.0), 0.0), high


def _variance(row: Row, images: int) -> float:
    """Variance of a validation accuracy over images (binomial: the same for every seed) and, where known, seeds.

    Of other measures the error over images was measured.

    The two methods see the same images, which makes the gap a little surer than this says.
    """
    mean, seeds = float(np.mean(row.validation)), len(row.validation)
    between = float(np.var(row.validation, ddof=1)) / seeds if seeds > 1 else 0.0
    within = max(row.validation_error) ** 2 if row.validation_error else mean * (1 - mean) / images
    return within + between
