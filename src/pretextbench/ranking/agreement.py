"""The measures that need no labels, and how well their order of the encoders agrees with that by the linear probe."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special


@dataclass(frozen=True)
class Measure:
    """A measure of features that needs no labels, and how it is written for people."""

    title: str  # in report.html
    name: str  # in the sentences of recommendation.md
    meaning: str
    sign: int  # 1 where higher is reported to be better, -1 where lower


LABEL_FREE = {  # key in metrics.json and in the CSV -> measure, in the order of the report
    "rankme": Measure("RankMe", "RankMe", "effective dimensions in use; higher is reported better", 1),
    "feature_std": Measure("feature spread", "feature std", "0 is a collapsed encoder; higher is reported better", 1),
    "alignment": Measure("alignment", "alignment", "distance of two views of an image; lower is reported better", -1),
    "uniformity": Measure("uniformity", "uniformity", "spread over the sphere; lower is reported better", -1),
}
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
    from scipy import stats  # 1 s to import, and a small comparison does not come here

    result = stats.kendalltau([LABEL_FREE[measure].sign * value for value in values], accuracies)
    if math.isnan(result.statistic):
        return None
    pairs = count * (count - 1) / 2
    centre = math.atanh(result.statistic * pairs / (pairs + 2))
    reach = float(special.ndtri((1 + confidence) / 2)) * math.sqrt(0.437 / (count - 4))
    low, high = math.tanh(centre - reach), math.tanh(centre + reach)
    return Agreement(measure, float(result.statistic), low, high, float(result.pvalue))
