"""How much accuracies vary from one pretraining seed, and from one subset of labels, to the next.

The spread over seeds is pooled over the rows, as in an analysis of variance: two or three seeds of one row know too
little of it. A row that looks noisier than the others (F test at 20 %) keeps its own. At 1 % the interval of a noisy
row covered 83 % instead of 95 %. Moderated variances (Smyth 2004) came to 84 %: a comparison has too few rows to
estimate how spreads vary. A row that no seed changes, such as `pixels` and `untouched`, says nothing of how pretraining
varies: it has no spread and is left out of the pool, which would come out too small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
ODD = 0.2  # level of the F test for a row that is noisier than the others
ODD_OF_TWO = 0.01  # for a row of two seeds, whose own interval has ends that are 13 standard errors away


@dataclass(frozen=True)
class Spread:
    """The spread over seeds in use for each of M rows. Variances are of the accuracy of one seed on the test images."""

    seeds: Floats  # (M,)
    variance: Floats  # (M,) with what the finite test set adds to it; nan where every row has one seed
    freedom: Floats  # (M,) its degrees of freedom
    noise: Floats  # (M,) the part that the finite test set adds; 0 for a row of one seed
    odd: Bools  # (M,) whether the row keeps its own spread

    @property
    def known(self) -> bool:
        """Whether any row has several seeds."""
        return bool(np.isfinite(self.variance).all())

    @property
    def doubled(self) -> Floats:
        """(M,) variance of a row's mean that the spread over seeds and the variance over images both hold."""
        return np.asarray(self.noise / self.seeds)


def seed_spread(tables: Sequence[Floats]) -> Spread:
    """The spread over seeds of rows, each given as its (S, n) table."""
    seeds = np.array([float(len(table)) for table in tables])
    fixed = np.array([len(table) > 1 and bool((table == table[0]).all()) for table in tables])
    freedom, odd, noise = np.where(fixed, 0.0, seeds - 1), np.zeros(len(tables), bool), np.zeros(len(tables))
    if not freedom.any():
        return Spread(seeds, np.full(len(tables), np.nan), freedom, noise, odd)
    several = freedom > 0
    raw = np.array([table.mean(1).var(ddof=1) if len(table) > 1 else 0.0 for table in tables])
    noise[several] = [finite_noise(table) for table, varies in zip(tables, several, strict=True) if varies]
    other_freedom = freedom.sum() - freedom
    other_variance = ((raw * freedom).sum() - raw * freedom) / np.maximum(other_freedom, 1)
    testable = several & (other_freedom > 0) & (other_variance > 0)
    ratio = raw[testable] / other_variance[testable]
    odd[testable] = special.fdtrc(freedom[testable], other_freedom[testable], ratio) < np.where(
        freedom[testable] > 1, ODD, ODD_OF_TWO
    )
    pooled = (raw * freedom).sum() / freedom.sum()  # odd rows too: without the largest it would come out too small
    variance = np.where(fixed, 0.0, np.where(odd, raw, pooled))
    return Spread(seeds, variance, np.where(odd, freedom, freedom.sum()), noise, odd)


def redraw_components(tables: Floats) -> tuple[float, float]:
    """Variance over redraws that all rows of (M, R, n) share, and that of a row of its own."""
    together, rows = tables.mean(0), len(tables)
    own = float(np.mean([_component(table - together) for table in tables])) * rows / max(rows - 1, 1)
    return max(_component(together), 0.0), max(own, 0.0)


def _component(table: Floats) -> float:
    """Variance of the level means of (L, n) that is not due to the finite n; may be below 0."""
    return float(table.mean(1).var(ddof=1)) - finite_noise(table)


def finite_noise(table: Floats) -> float:
    """Variance of the level means of (L, n) that is due to the finite n: the interaction of levels and examples."""
    means = table.mean(1)
    residual = table - means[:, None] - table.mean(0) + means.mean()
    levels, n = table.shape
    return float((residual**2).sum() / max((levels - 1) * (n - 1), 1) / n)
