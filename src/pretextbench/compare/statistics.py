"""Statistics of a comparison: intervals, paired tests of differences, correction for their number.

The data of row m is correct (S_m seeds, R redraws, n test examples); the accuracy is its mean. Three things would come
out differently another time, and each gets its own draw:

* test examples: a bootstrap of the examples, the same resample for every row, so that differences stay paired;
* pretraining seeds: two or three cannot be resampled (three have ten distinct resamples, and their spread comes out a
  third too small), so the mean moves by Student's t times its standard error;
* label redraws, shared by all rows: as the seeds, split into a part that moves all rows together, which cancels in
  differences, and a part of each row's own.

Three redraws say little about their spread, so intervals of label budgets err on the wide side (98 % instead of 95 %).
The spread over seeds is pooled over the rows, as in an analysis of variance: one row's two or three seeds know too
little of it. A row that is plainly noisier than the others (F test at 1 %) keeps its own. What the finite test set adds
to the spread of the seeds is taken off, since the bootstrap has it already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pretextbench.compare.families import Family, corrected, every_pair

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
CHUNK = 2**22  # example weights drawn at once
ODD = 0.01  # level of the F test for a row that is noisier than the others


@dataclass(frozen=True)
class Judgement:
    """The results for M rows, in their order."""

    accuracy: Floats  # (M,)
    low: Floats  # (M,) ends of the interval
    high: Floats
    difference: Floats  # (M, M): accuracy[i] - accuracy[j]
    p: Floats  # (M, M): two-sided, paired; 1 on the diagonal, nan for a pair that was not asked for
    corrected: Floats  # (M, M): after Holm within the family of the pair; nan as above
    spread: Floats  # (M,) standard deviation over seeds in use; nan where every row has one seed
    level: float  # below which a corrected p is a difference

    @property
    def different(self) -> Bools:
        """(M, M): pairs that differ significantly; never one that was not asked for."""
        return np.asarray(self.corrected < self.level)


def judge(
    correct: Sequence[Floats],
    confidence: float,
    resamples: int,
    generator: np.random.Generator,
    families: Sequence[Family] | None = None,
) -> Judgement:
    """Intervals and paired comparisons of M rows.

    Args:
        correct: per row (S_m, R, n): 1 where the prediction is right, 0 where not (or the share of several that are);
            the same n examples and, for label budgets, the same R redraws in every row.
        confidence: of the intervals; 1 - confidence is the level of the tests.
        resamples: bootstrap resamples, and draws of each test.
        families: the pairs to test, by the index of their rows; without it all pairs, as one family.
    """
    examples = np.stack([row.mean((0, 1)) for row in correct])  # (M, n)
    accuracy = examples.mean(1)
    shift, spread = _shifts(correct, resamples, generator)  # (resamples, M)
    draws = _bootstrap(examples, resamples, generator) + shift
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    single = all(row.shape[:2] == (1, 1) and np.isin(row, (0, 1)).all() for row in correct)
    families = every_pair(len(examples)) if families is None else families
    distinct = sorted({tuple(sorted(pair)) for family in families for pair in family.pairs})
    pairs = np.array(distinct, np.int64).reshape(-1, 2).T
    p = np.full((len(examples), len(examples)), np.nan)
    np.fill_diagonal(p, 1.0)
    p[*pairs] = p.T[*pairs] = _mcnemar(examples)[*pairs] if single else _randomised(examples, shift, pairs, generator)
    low, high, difference = np.clip(low, 0, 1), np.clip(high, 0, 1), accuracy[:, None] - accuracy
    return Judgement(accuracy, low, high, difference, p, corrected(p, families), spread, 1 - confidence)


def _bootstrap(examples: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """(M, n) -> (resamples, M) means over resampled examples.

    Two right and two wrong examples are added, so that an accuracy of 100 % does not get an interval without width
    (Agresti & Coull 1998); at n = 2000 this moves nothing by more than 0.1 points.
    """
    padded = np.concatenate([examples, np.tile([0.0, 0.0, 1.0, 1.0], (len(examples), 1))], 1)
    n, means, step = padded.shape[1], [], max(1, CHUNK // padded.shape[1])
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        index = generator.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(index.ravel(), minlength=size * n).reshape(size, n)
        means.append(weights.astype(np.float64) @ padded.T / n)
    return np.concatenate(means)


def _shifts(correct: Sequence[Floats], resamples: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """(resamples, M) by how much seeds and redraws may have moved each mean, and the (M,) spreads over seeds."""
    spread, freedom, odd = seed_spread([row.mean(1) for row in correct])
    seeds = np.array([len(row) for row in correct])
    shift = np.zeros((resamples, len(correct)))
    if np.isfinite(spread).all():
        for alike in (np.flatnonzero(~odd), *np.flatnonzero(odd)[:, None]):
            scale = spread[alike] / np.sqrt(seeds[alike])
            shift[:, alike] += _student(generator, freedom[alike[0]], (resamples, len(alike))) * scale
    redraws = correct[0].shape[1]
    if redraws > 1:
        tables = np.stack([row.mean(0) for row in correct])  # (M, R, n)
        common, own = _redraw_components(tables)
        shift += _student(generator, redraws - 1, (resamples, 1)) * np.sqrt(common / redraws)
        freedom_own = (redraws - 1) * max(len(correct) - 1, 1)
        shift += _student(generator, freedom_own, shift.shape) * np.sqrt(own / redraws)
    return shift, spread


def _student(generator: np.random.Generator, freedom: float, shape: tuple[int, int]) -> Floats:
    """Student's t in every column, with one denominator per row: the columns share one estimate of the spread."""
    denominator = np.sqrt(generator.chisquare(freedom, (shape[0], 1)) / freedom)
    return np.asarray(generator.standard_normal(shape) / denominator)


def _redraw_components(tables: Floats) -> tuple[float, float]:
    """Variance over redraws that all rows of (M, R, n) share, and that of a row of its own."""
    together, rows = tables.mean(0), len(tables)
    own = float(np.mean([_component(table - together) for table in tables])) * rows / max(rows - 1, 1)
    return max(_component(together), 0.0), max(own, 0.0)


def seed_spread(tables: Sequence[Floats]) -> tuple[Floats, Floats, Bools]:
    """Standard deviation over seeds (nan if all have one), its degrees of freedom, and which rows are on their own.

    Each row is given as its (S, n) table.
    """
    freedom, odd = np.array([len(table) - 1.0 for table in tables]), np.zeros(len(tables), bool)
    if not freedom.any():
        return np.full(len(tables), np.nan), freedom, odd
    raw = np.array([table.mean(1).var(ddof=1) if len(table) > 1 else 0.0 for table in tables])
    net = np.array([_component(table) if len(table) > 1 else 0.0 for table in tables])
    other_freedom = freedom.sum() - freedom
    other_variance = ((raw * freedom).sum() - raw * freedom) / np.maximum(other_freedom, 1)
    testable = (freedom > 0) & (other_freedom > 0) & (other_variance > 0)
    odd[testable] = (
        special.fdtrc(freedom[testable], other_freedom[testable], raw[testable] / other_variance[testable]) < ODD
    )
    pooled = (net * freedom).sum() / freedom.sum()  # odd rows too: without the largest it would come out too small
    total = (raw * freedom).sum() / freedom.sum()
    variance = np.maximum(np.where(odd, net, pooled), 0)
    share = variance / np.maximum(np.where(odd, raw, total), np.finfo(float).tiny)
    # What is left after a subtraction is known less well than what was measured (Satterthwaite 1946). The share is an
    # estimate itself, so it takes half at most; the simulations in the tests hold this to its promises.
    known = np.where(odd, freedom, freedom.sum()) * np.maximum(share**2, 0.5)
    return np.sqrt(variance), known, odd


def _component(table: Floats) -> float:
    """Variance of the level means of (L, n) that is not due to the finite n; may be below 0."""
    means = table.mean(1)
    residual = table - means[:, None] - table.mean(0) + means.mean()
    levels, n = table.shape
    noise = (residual**2).sum() / max((levels - 1) * (n - 1), 1) / n
    return float(means.var(ddof=1) - noise)


def _mcnemar(examples: Floats) -> Floats:
    """Exact two-sided p of every pair: the examples that one row alone gets right fall on either side alike."""
    right, wrong = examples, 1 - examples
    first = right @ wrong.T  # (M, M): right in i, wrong in j
    fewer = np.minimum(first, first.T)
    return np.asarray(np.minimum(1.0, 2 * special.bdtr(fewer, (first + first.T).astype(int), 0.5)))


def _randomised(examples: Floats, shift: Floats, pairs: Indices, generator: np.random.Generator) -> Floats:
    """Two-sided p of each of the (2, k) pairs: signs of the differences flipped at random, plus draws of the seeds.

    With one seed and one redraw this is McNemar's test.
    """
    n, (i, j) = examples.shape[1], pairs
    difference = (examples[i] - examples[j]).T.astype(np.float32)  # (n, pairs)
    null, step = [], max(1, CHUNK // n)
    for start in range(0, len(shift), step):
        size = min(step, len(shift) - start)
        bits = np.frombuffer(generator.bytes(size * (-(-n // 8))), np.uint8).reshape(size, -1)
        signs = np.unpackbits(bits, axis=1, count=n).astype(np.float32) * 2 - 1  # (size, n)
        null.append(signs @ difference / n)
    draws = np.abs(np.concatenate(null) + shift[:, i] - shift[:, j])
    seen = np.abs(difference.mean(0, dtype=np.float64))
    return np.asarray((1 + (draws >= seen - 1e-6).sum(0)) / (1 + len(shift)))
