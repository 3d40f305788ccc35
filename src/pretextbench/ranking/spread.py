"""How much accuracies vary from one pretraining seed, and from one subset of labels, to the next.

The spread over seeds is pooled over the rows, as in an analysis of variance: two or three seeds of one row know too
little of it. A row that looks noisier than the others (F test at 20 %) keeps its own. At 1 % the interval of a noisy
row covered 83 % instead of 95 %. Moderated variances (Smyth 2004) came to 84 %: a comparison has too few rows to
estimate how spreads vary. A row that no seed changes, such as `pixels` and `untouched`, says nothing of how pretraining
varies: it has no spread and is left out of the pool, which would come out too small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
ODD = 0.2  # level of the F test for a row that is noisier than the others
ODD_TO_PLAN = 0.05  # to plan comparisons to come: at 20 % every fifth row would be planned for as noisy, by chance
ODD_OF_TWO = 0.01  # for a row of two seeds, whose own interval has ends that are 13 standard errors away


@dataclass(frozen=True)
class Spread:
    """The spread over seeds in use for each of M rows. Variances are of the accuracy of one seed on the test images."""

    seeds: Floats  # (M,)
    variance: Floats  # (M,) with what the finite test set adds to it; nan where every row has one seed
    freedom: Floats  # (M,) its degrees of freedom
    odd: Bools  # (M,) whether the row keeps its own spread
    noise: Floats  # (M,) the part of the variance that the finite test set adds; 0 for a row of one seed
    raw: Floats  # (M,) variance of the row's own seeds, and
    own: Floats  # (M,) its degrees of freedom; 0 for a row of one seed or that no seed changes

    @property
    def known(self) -> bool:
        """Whether any row has several seeds."""
        return bool(np.isfinite(self.variance).all())

    @property
    def to_plan(self) -> "Spread":
        """The same for planning, where a row keeps its own spread only if it is plainly noisier."""
        variance, freedom, odd = _pooled(self.seeds, self.raw, self.own, ODD_TO_PLAN)
        return replace(self, variance=variance, freedom=freedom, odd=odd)

    @property
    def doubled(self) -> Floats:
        """(M,) variance of a row's mean that the spread over seeds and the variance over images both hold."""
        return np.asarray(self.noise / self.seeds)


def seed_spread(tables: Sequence[Floats]) -> Spread:
    """The spread over seeds of rows, each given as its (S, n) table."""
    seeds = np.array([float(len(table)) for table in tables])
    varies = np.array([len(table) > 1 and not bool((table == table[0]).all()) for table in tables])
    own, raw, noise = np.where(varies, seeds - 1, 0.0), np.zeros(len(tables)), np.zeros(len(tables))
    raw[varies] = [table.mean(1).var(ddof=1) for table, does in zip(tables, varies, strict=True) if does]
    noise[varies] = [finite_noise(table) for table, does in zip(tables, varies, strict=True) if does]
    return Spread(seeds, *_pooled(seeds, raw, own, ODD), noise, raw, own)


def _pooled(seeds: Floats, raw: Floats, own: Floats, level: float) -> tuple[Floats, Floats, Bools]:
    """(M,) variances in use, their degrees of freedom, and whether a row keeps its own, by an F test at `level`."""
    odd, total = np.zeros(len(raw), bool), own.sum()
    if not total:
        return np.full(len(raw), np.nan), own, odd
    other_freedom = total - own
    other_variance = ((raw * own).sum() - raw * own) / np.maximum(other_freedom, 1)
    testable = (own > 0) & (other_freedom > 0) & (other_variance > 0)
    p = special.fdtrc(own[testable], other_freedom[testable], raw[testable] / other_variance[testable])
    odd[testable] = p < np.where(own[testable] > 1, level, ODD_OF_TWO)
    pooled = (raw * own).sum() / total  # odd rows too: without the largest it would come out too small
    fixed = (seeds > 1) & (own == 0)
    return np.where(fixed, 0.0, np.where(odd, raw, pooled)), np.where(odd, own, total), odd


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
