"""The data that it takes to distinguish two rows: the smallest difference that would be detected, images, seeds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pretextbench.compare import spread
from pretextbench.compare.statistics import two_sided

Floats = npt.NDArray[np.float64]
POWER = 0.8  # probability of finding a difference that is there (Cohen's convention)
FEWEST = 3  # seeds: with two, what is detected depends on an estimate of the spread that is too rough to plan with
MOST_IMAGES, MOST_SEEDS = 10_000_000, 1000
STEPS, DRAWS = 20, 64  # of a bisection; of the spreads that a test would estimate


@dataclass(frozen=True)
class Needs:
    """To find the difference seen between two rows with 80 % probability, by the test that is in use."""

    detectable: float  # smallest difference found with 80 % probability as things are
    images: int | None  # test images needed at these seeds, at least those there are; None where no number would do
    seeds: int | None  # seeds needed at these test images, likewise


@dataclass(frozen=True)
class Design:
    """The parts of the variance of a difference of two rows; those of the seeds for each of the two."""

    images: float  # of one image, that no seed changes
    both: Floats  # (2,) of one image and seed
    seeds: Floats  # (2,) of one seed
    others: int  # rows besides the two, from which the spread is estimated too
    level: float

    def power(self, images: int, seeds: int) -> Callable[[float], float]:
        """The probability that the test finds a true difference, as a function of it.

        The test is that of statistics.py: the spreads that it would estimate are drawn, with its choice of a row's own
        spread or the pooled one, and each draw has its own critical difference.
        """
        known, fixed = self.images / images, self.seeds + self.both / images
        root = float(known + fixed.sum() / seeds) ** 0.5
        variances, freedom = self._estimates(fixed, seeds)
        parts = [(variances[:, k] / seeds, freedom[:, k]) for k in (0, 1)]
        low, high = np.zeros(DRAWS), np.full(DRAWS, 200.0 * root)
        for _ in range(STEPS):
            middle = (low + high) / 2
            enough = two_sided(middle, np.full(DRAWS, known), parts) < self.level
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        scale = max(root, np.finfo(float).tiny)
        return lambda gap: float((special.ndtr((gap - high) / scale) + special.ndtr((-gap - high) / scale)).mean())

    def _estimates(self, variance: Floats, seeds: int) -> tuple[Floats, Floats]:
        """(DRAWS, 2) variances over seeds as the test would estimate them, and their degrees of freedom."""
        generator, own, many = np.random.default_rng(0), seeds - 1, self.others * (seeds - 1)
        raw = variance * generator.chisquare(own, (DRAWS, 2)) / own
        rest = variance.min() * (generator.chisquare(many, (DRAWS, 1)) if many else np.zeros((DRAWS, 1)))
        other = (own * raw[:, ::-1] + rest) / (own + many)
        ratio = raw / np.maximum(other, np.finfo(float).tiny)
        odd = special.fdtrc(own, own + many, ratio) < spread.ODD
        pooled = (own * raw.sum(1, keepdims=True) + rest) / (2 * own + many)
        return np.where(odd, raw, pooled), np.where(odd, float(own), float(2 * own + many))


def needs(
    first: Floats, second: Floats, variance: Floats, noise: Floats, rows: int, seeds: int, level: float
) -> Needs | None:
    """Data needed to distinguish two rows, from their (n,) accuracies per test example, averaged over seeds.

    Args:
        variance: (2,) of one seed of each row, with what the finite test set adds to it (spread.py).
        noise: (2,) that part of it.
        rows: of the comparison, the two included.
        seeds: pretraining seeds of each row. Fewer than three give None: nothing can be planned with them.
        level: of a two-sided test.
    """
    if seeds < FEWEST:
        return None
    difference, n = first - second, len(first)
    gap = abs(float(difference.mean()))
    images = max(float(difference.var(ddof=1)) - n * float(noise.sum()) / seeds, 0.0)
    design = Design(images, n * noise, np.maximum(variance - noise, 0.0), rows - 2, level)
    power, low, high = design.power(n, seeds), 0.0, 2.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return Needs(
        detectable=high,
        images=_fewest(lambda count: design.power(count, seeds)(gap) >= POWER, MOST_IMAGES, n),
        seeds=_fewest(lambda count: design.power(n, count)(gap) >= POWER, MOST_SEEDS, seeds),
    )


def _fewest(enough: Callable[[int], bool], most: int, least: int) -> int | None:
    """About the smallest count from `least` that is enough; None where not even `most` is."""
    if not enough(most):
        return None
    low, high = least, most
    while high - low > 0.01 * high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
