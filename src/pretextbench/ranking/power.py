"""The data that it takes to distinguish two rows: the smallest difference that would be detected, images, seeds.

"Four times out of five" is said of comparisons yet to be made. Two things are drawn for it: the true spread over seeds,
of which these seeds give an estimate (its degrees of freedom say how rough), and the spread that the test of such a
comparison would estimate.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pretextbench.ranking import spread
from pretextbench.ranking.statistics import two_sided

Floats = npt.NDArray[np.float64]
POWER = 0.8  # probability of finding a difference that is there (Cohen's convention)
FEWEST = 3  # seeds: with two, what is detected depends on an estimate of the spread that is too rough to plan with
MOST_IMAGES, MOST_SEEDS = 10_000_000, 1000
STEPS, DRAWS = 20, 128  # of a bisection; of true and estimated spreads
LOWEST, HIGHEST = 0.5, 1000.0  # ends of the search for a critical difference, in standard errors
CRITICAL_STEPS = 12  # of it, to 0.2 %


@dataclass(frozen=True)
class Needs:
    """To find the difference seen between two rows with 80 % probability, by the test that is in use."""

    detectable: float  # smallest difference found with 80 % probability as things are
    images: int | None  # test images needed at these seeds, at least those there are; None where no number would do
    seeds: int | None  # seeds needed at these test images, likewise


@dataclass(frozen=True)
class Design:
    """What is known of a difference of two rows: the parts of its variance, and how sure the part of the seeds is."""

    n: int  # test images of which the next two are
    images: float  # variance of one image, that no seed changes
    variance: Floats  # (2,) of one seed of each row on n images
    noise: Floats  # (2,) the part of it that the n images add
    freedom: Floats  # (2,) degrees of freedom of `variance`
    seeds: int  # of each row
    others: int  # rows besides the two, from which the spread is estimated too
    level: float

    def power(self, images: int, seeds: int) -> Callable[[float], float]:
        """The probability that the test finds a true difference, as a function of it.

        The test is that of statistics.py: the spreads that it would estimate are drawn, with its choice of a row's own
        spread or the pooled one, and each draw has its own critical difference.
        """
        true, variances, freedom = self._spreads(images, seeds)
        known = np.full(DRAWS, self.images / images)
        root = np.sqrt(np.maximum(known + true.sum(1) / seeds, np.finfo(float).tiny))
        parts = [(variances[:, k] / seeds, freedom[:, k]) for k in (0, 1)]
        low, high = LOWEST * root, HIGHEST * root
        for _ in range(CRITICAL_STEPS):
            middle = np.sqrt(low * high)
            enough = two_sided(middle, known, parts) < self.level
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return lambda gap: float((special.ndtr((gap - high) / root) + special.ndtr((-gap - high) / root)).mean())

    def _spreads(self, images: int, seeds: int) -> tuple[Floats, Floats, Floats]:
        """(DRAWS, 2) true variances over seeds; those that the test would estimate, and their degrees of freedom."""
        own, many = seeds - 1, self.others * (seeds - 1)
        one, two, rest, first, second = _strata(5)
        if (self.freedom > self.seeds - 1).all():
            second = first  # one estimate for both
        ends = np.minimum(self.variance, self.noise)
        fixed = self.variance - ends + ends * self.n / images
        true = fixed * self.freedom / special.chdtri(self.freedom, np.stack([first, second], 1))
        raw = true * special.chdtri(own, np.stack([one, two], 1)) / own
        squares = (true.min(1) * special.chdtri(many, rest) if many else np.zeros(DRAWS))[:, None]
        other = (own * raw[:, ::-1] + squares) / (own + many)
        odd = special.fdtrc(own, own + many, raw / np.maximum(other, np.finfo(float).tiny)) < spread.ODD
        pooled = (own * raw.sum(1, keepdims=True) + squares) / (2 * own + many)
        return true, np.where(odd, raw, pooled), np.where(odd, float(own), float(2 * own + many))


def _strata(count: int) -> Floats:
    """(count, DRAWS) numbers between 0 and 1, evenly spaced in each row: a Latin hypercube, always that one."""
    generator = np.random.default_rng(0)
    return (np.stack([generator.permutation(DRAWS) for _ in range(count)]) + 0.5) / DRAWS


def needs(
    first: Floats,
    second: Floats,
    variance: Floats,
    noise: Floats,
    freedom: Floats,
    rows: int,
    seeds: int,
    level: float,
) -> Needs | None:
    """Data needed to distinguish two rows, from their (n,) accuracies per test example, averaged over seeds.

    Args:
        variance: (2,) of one seed of each row, with what the finite test set adds to it (`Spread.to_plan`).
        noise: (2,) that part of it.
        freedom: (2,) degrees of freedom of the variances; more than those of one row mean one estimate for both.
        rows: of the comparison, the two included.
        seeds: pretraining seeds of each row. Fewer than three give None: nothing can be planned with them.
        level: of a two-sided test.
    """
    if seeds < FEWEST:
        return None
    difference, n = first - second, len(first)
    gap = abs(float(difference.mean()))
    images = max(float(difference.var(ddof=1)) - n * float(noise.sum()) / seeds, 0.0)
    design = Design(n, images, variance, noise, freedom, seeds, rows - 2, level)
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
        middle = int((low * high) ** 0.5)
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high
