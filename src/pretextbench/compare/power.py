"""The data that it takes to distinguish two rows: the smallest difference that would be detected, images, seeds."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
POWER = 0.8  # probability of finding a difference that is there (Cohen's convention)


@dataclass(frozen=True)
class Needs:
    """To find the difference seen between two rows with 80 % probability; a normal approximation, for planning."""

    detectable: float  # smallest difference found with 80 % probability as things are
    images: int | None  # test images needed at these seeds; None where no number would do
    seeds: int | None  # seeds needed at these test images; None where no number would do, or the spread is not known


def needs(first: Floats, second: Floats, spread: tuple[float, float], seeds: int, level: float) -> Needs:
    """Data needed to distinguish two rows, from their (n,) accuracies per test example, averaged over seeds.

    Args:
        spread: standard deviation over seeds of each row; nan where there is one seed and it is not known.
        seeds: pretraining seeds of each row.
        level: of a two-sided test.
    """
    difference, n = first - second, len(first)
    gap = abs(float(difference.mean()))
    z = float(special.ndtri(1 - level / 2) + special.ndtri(POWER))
    examples = float(difference.var(ddof=1))  # of one example
    known = bool(np.isfinite(spread).all())
    own = float(np.sum(np.square(spread))) if known else 0.0  # of one seed, both rows
    allowed = (gap / z) ** 2  # variance of the difference that would do
    return Needs(
        detectable=z * math.sqrt(examples / n + own / seeds),
        images=_enough(examples, allowed - own / seeds),
        seeds=_enough(own, allowed - examples / n) if known else None,
    )


def _enough(variance: float, left: float) -> int | None:
    return max(1, math.ceil(variance / left)) if left > 0 else None
