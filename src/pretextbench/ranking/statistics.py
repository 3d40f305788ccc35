"""Statistics of a comparison: intervals, paired tests of differences, correction for their number.

The data of row m is correct (S_m seeds, R redraws, n test examples); the accuracy is its mean. Three things would come
out differently another time, and each gets its own draw:

* test examples: a bootstrap of the examples, the same resample for every row, so that differences stay paired;
* pretraining seeds: two or three cannot be resampled (three have ten distinct resamples, and their spread comes out a
  third too small), so the mean moves by Student's t times its standard error;
* label redraws, shared by all rows: as the seeds, split into a part that moves all rows together, which cancels in
  differences, and a part of each row's own.

Three redraws say little about their spread, so intervals of label budgets err on the wide side (98 % instead of 95 %).
The spread over seeds is pooled over the rows (spread.py). Each seed was tested on the same finite images, which is in
that spread already, so that as much is taken off the part that is drawn for the images.

Fewer than twenty draws beyond a difference say little of its p value. Below that the tail is computed: a sum of random
signs has about normal tails (at most 3.2 times as heavy: Pinelis 1994), so that the difference is normal given the
spread of the seeds, and the p value its mean over the chi-squared distribution of that spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from pretextbench.ranking.families import Family, corrected, every_pair
from pretextbench.ranking.spread import Spread, redraw_components, seed_spread

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Parts = list[tuple[Floats, Floats]]  # (M,) variances of the means that seeds or redraws add, their degrees of freedom
BEYOND = 20  # draws, with fewer the tail is computed
QUANTILES = np.geomspace(1e-12, 1, 241)  # ends of the steps over which the chi-squared distribution is averaged
CHUNK = 2**22  # example weights drawn at once


@dataclass(frozen=True)
class Judgement:
    """The results for M rows, in their order."""

    accuracy: Floats  # (M,)
    low: Floats  # (M,) ends of the interval
    high: Floats
    difference: Floats  # (M, M): accuracy[i] - accuracy[j]
    p: Floats  # (M, M): two-sided, paired; 1 on the diagonal, nan for a pair that was not asked for
    corrected: Floats  # (M, M): after Holm within the family of the pair; nan as above
    spread: Spread  # over seeds
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
    groups: Indices | None = None,
) -> Judgement:
    """Intervals and paired comparisons of M rows.

    Args:
        correct: per row (S_m, R, n): 1 where the prediction is right, 0 where not (or the share of several that are);
            the same n examples and, for label budgets, the same R redraws in every row.
        confidence: of the intervals; 1 - confidence is the level of the tests.
        resamples: bootstrap resamples, and draws of each test.
        families: the pairs to test, by the index of their rows; without it all pairs, as one family.
        groups: (n,) the group of each example, such as a patient: then groups are resampled, and not examples.
    """
    shares = all(row.min() >= 0 and row.max() <= 1 for row in correct)  # accuracies, and not other measures
    correct = correct if groups is None else grouped(correct, groups)
    examples = np.stack([row.mean((0, 1)) for row in correct])  # (M, n)
    accuracy = examples.mean(1)
    spread = seed_spread([row.mean(1) for row in correct])
    shift, parts = _shifts(correct, spread, resamples, generator)  # (resamples, M)
    share = np.sqrt(_left(examples.var(1) / examples.shape[1], spread.doubled))
    draws = accuracy + (_bootstrap(examples, shares, resamples, generator) - accuracy) * share + shift
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    single = all(row.shape[:2] == (1, 1) and np.isin(row, (0, 1)).all() for row in correct)
    families = every_pair(len(examples)) if families is None else families
    distinct = sorted({tuple(sorted(pair)) for family in families for pair in family.pairs})
    pairs = np.array(distinct, np.int64).reshape(-1, 2).T
    p = np.full((len(examples), len(examples)), np.nan)
    np.fill_diagonal(p, 1.0)
    tested = _mcnemar(examples)[*pairs] if single else _randomised(examples, shift, parts, spread, pairs, generator)
    p[*pairs] = p.T[*pairs] = tested
    low = np.clip(low, 0, 1) if shares else low
    high, difference = np.minimum(high, 1), accuracy[:, None] - accuracy
    return Judgement(accuracy, low, high, difference, p, corrected(p, families), spread, 1 - confidence)


def grouped(correct: Sequence[Floats], groups: Indices) -> list[Floats]:
    """(S, R, n) -> (S, R, G) a value per group, so that their mean is that of the examples, and groups can be drawn.

    The mean is a ratio of sums over groups; its linear form is mean + G/n sum of (x - mean) over the group.
    """
    _, place = np.unique(groups, return_inverse=True)
    member = np.zeros((len(place), place.max() + 1))
    member[np.arange(len(place)), place] = 1
    ratio = member.shape[1] / len(place)
    return [row.mean(-1, keepdims=True) + (row - row.mean(-1, keepdims=True)) @ member * ratio for row in correct]


def _bootstrap(examples: Floats, shares: bool, resamples: int, generator: np.random.Generator) -> Floats:
    """(M, n) -> (resamples, M) means over resampled examples.

    Where the values are shares, two right and two wrong examples are added, so that an accuracy of 100 % does not get
    an interval without width (Agresti & Coull 1998); at n = 2000 this moves nothing by more than 0.1 points.
    """
    added = np.tile([0.0, 0.0, 1.0, 1.0], (len(examples), 1)) if shares else examples[:, :0]
    padded = np.concatenate([examples, added], 1)
    n, means, step = padded.shape[1], [], max(1, CHUNK // padded.shape[1])
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        index = generator.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(index.ravel(), minlength=size * n).reshape(size, n)
        means.append(weights.astype(np.float64) @ padded.T / n)
    return np.concatenate(means)


def _shifts(
    correct: Sequence[Floats],
    spread: Spread,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[Floats, Parts]:
    """(resamples, M) by how much seeds and redraws may have moved each mean, and the variances that were drawn from."""
    parts = []
    shift = np.zeros((resamples, len(correct)))
    if spread.known:
        variance = spread.variance / spread.seeds
        for alike in (np.flatnonzero(~spread.odd), *np.flatnonzero(spread.odd)[:, None]):
            if len(alike):
                draws = _student(generator, spread.freedom[alike[0]], (resamples, len(alike)))
                shift[:, alike] += draws * np.sqrt(variance[alike])
        parts.append((variance, spread.freedom))
    redraws = correct[0].shape[1]
    if redraws > 1:
        tables = np.stack([row.mean(0) for row in correct])  # (M, R, n)
        common, own = redraw_components(tables)
        shift += _student(generator, redraws - 1, (resamples, 1)) * np.sqrt(common / redraws)
        freedom_own = (redraws - 1) * max(len(correct) - 1, 1)
        shift += _student(generator, freedom_own, shift.shape) * np.sqrt(own / redraws)
        parts.append((np.full(len(correct), own / redraws), np.full(len(correct), float(freedom_own))))
    return shift, parts


def _student(generator: np.random.Generator, freedom: float, shape: tuple[int, int]) -> Floats:
    """Student's t in every column, with one denominator per row: the columns share one estimate of the spread."""
    denominator = np.sqrt(generator.chisquare(freedom, (shape[0], 1)) / freedom)
    return np.asarray(generator.standard_normal(shape) / denominator)


def _mcnemar(examples: Floats) -> Floats:
    """Exact two-sided p of every pair: the examples that one row alone gets right fall on either side alike."""
    right, wrong = examples, 1 - examples
    first = right @ wrong.T  # (M, M): right in i, wrong in j
    fewer = np.minimum(first, first.T)
    return np.asarray(np.minimum(1.0, 2 * special.bdtr(fewer, (first + first.T).astype(int), 0.5)))


def _randomised(
    examples: Floats, shift: Floats, parts: Parts, spread: Spread, pairs: Indices, generator: np.random.Generator
) -> Floats:
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
    variance = np.square(difference, dtype=np.float64).mean(0) / n
    share = _left(variance, spread.doubled[i] + spread.doubled[j])
    draws = np.abs(np.concatenate(null) * np.sqrt(share) + shift[:, i] - shift[:, j])
    seen = np.abs(difference.mean(0, dtype=np.float64))
    beyond = (draws >= seen - 1e-6).sum(0)
    tail = two_sided(seen, variance * share, [(v[side], f[side]) for v, f in parts for side in (i, j)])
    return np.where(beyond < BEYOND, np.minimum(tail, BEYOND / len(shift)), (1 + beyond) / (1 + len(shift)))


def _left(variance: Floats, doubled: Floats) -> Floats:
    """The share of the variance over images that the spread over seeds does not hold already."""
    return np.asarray(np.clip(1 - doubled / np.maximum(variance, np.finfo(float).tiny), 0, 1))


def two_sided(difference: Floats, variance: Floats, parts: Parts) -> Floats:
    """Two-sided p of (k,) differences with a known variance and parts whose variance is an estimate.

    One quantile of the chi-squared distribution for all parts: they are estimates of one spread, and where they are
    not, this errs on the side of large p values.
    """
    middle, weight = (QUANTILES[1:] + QUANTILES[:-1])[:, None] / 2, np.diff(QUANTILES, prepend=0.0)[1:, None]
    total = np.broadcast_to(variance, (len(middle), *np.shape(difference))).copy()
    for part, freedom in parts:
        known, place = np.unique(np.maximum(freedom, 1e-3), return_inverse=True)  # none comes with no variance
        total += part * (known / special.chdtri(known, 1 - middle))[:, place]
    size = np.abs(difference) / np.sqrt(np.maximum(total, np.finfo(float).tiny))
    return np.asarray((2 * special.ndtr(-size) * weight).sum(0) / weight.sum())
