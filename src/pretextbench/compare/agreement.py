"""How far the label-free measures rank these encoders as the labels do, so that people without labels know how far to
trust them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special, stats

BETTER = {"rankme": 1, "feature_std": 1, "alignment": -1, "uniformity": -1}  # the sign that is said to be good
FEWEST = 5  # encoders: with fewer the interval would be all of [-1, 1]


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the orders by a measure and by accuracy: 1 the same, 0 unrelated, -1 reversed."""

    measure: str
    tau: float
    low: float  # ends of the interval
    high: float
    p: float  # exact, two-sided, of no agreement


def agreement(
    measure: str, values: Sequence[float], accuracies: Sequence[float], confidence: float
) -> Agreement | None:
    """Of one measure over M encoders; None with fewer than five, or where all values are one.

    The interval treats the encoders as a sample of those one might have compared: artanh(tau) is about normal with
    variance 0.437 / (M - 4) (Fieller, Hartley & Pearson 1957). Its centre has one pair in order and one out of order
    added, as artanh(1) is infinite; without them it covered 83 % instead of 95 % where few encoders agree strongly.
    """
    count = len(values)
    if count < FEWEST:
        return None
    found = stats.kendalltau([BETTER[measure] * value for value in values], accuracies)
    if math.isnan(found.statistic):
        return None
    pairs = count * (count - 1) / 2
    centre = math.atanh(found.statistic * pairs / (pairs + 2))
    reach = float(special.ndtri((1 + confidence) / 2)) * math.sqrt(0.437 / (count - 4))
    low, high = math.tanh(centre - reach), math.tanh(centre + reach)
    return Agreement(measure, float(found.statistic), low, high, float(found.pvalue))
