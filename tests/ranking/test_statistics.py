"""The statistics against independent computations and against their own promises, by simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pretextbench.ranking import statistics
from pretextbench.ranking.spread import seed_spread
from pretextbench.ranking.statistics import judge
from tests.ranking.fakes import correctness


def rng(seed=0):
    return np.random.default_rng(seed)


def test_one_seed_is_mcnemars_exact_test():
    rows = correctness(rng(), [0.7, 0.75, 0.72], 1, 300)
    results = judge(rows, 0.95, 500, rng())
    for i, j in itertools.combinations(range(3), 2):
        a, b = rows[i][0, 0], rows[j][0, 0]
        first, second = int((a > b).sum()), int((a < b).sum())
        assert results.p[i, j] == pytest.approx(stats.binomtest(first, first + second).pvalue)
    assert (np.diag(results.p) == 1).all()


def test_the_randomised_test_is_mcnemars_where_both_apply():
    rows = np.concatenate(correctness(rng(3), [0.7, 0.75], 1, 200))[:, 0]  # (2, n)
    exact = statistics._mcnemar(rows)[0, 1]
    (drawn,) = statistics._randomised(
        rows, np.zeros((40_000, 2)), [], seed_spread(rows[:, None]), np.array([[0], [1]]), rng()
    )
    assert drawn == pytest.approx(exact, abs=0.01)


def test_equal_predictions_are_never_different():
    row = correctness(rng(), [0.7], 2, 200)[0]
    results = judge([row, row.copy()], 0.95, 500, rng())
    assert results.p[0, 1] == 1
    assert judge([row[:1], row[:1].copy()], 0.95, 500, rng()).p[0, 1] == 1


def test_the_bootstrap_has_the_standard_error_of_the_mean():
    row = correctness(rng(), [0.7], 1, 2000)[0]
    results = judge([row], 0.95, 10_000, rng())
    half = 1.96 * np.sqrt(row.mean() * (1 - row.mean()) / 2000)
    assert results.low[0] == pytest.approx(row.mean() - half, abs=0.002)
    assert results.high[0] == pytest.approx(row.mean() + half, abs=0.002)


def test_a_perfect_score_has_an_interval():
    results = judge([np.ones((1, 1, 50))], 0.95, 2000, rng())
    assert results.accuracy[0] == results.high[0] == 1
    assert 0.85 < results.low[0] < 0.97


def test_the_spread_over_seeds_is_pooled_without_what_the_test_set_adds():
    rows = correctness(rng(), [0.7] * 40, 5, 2000, seed_sd=0.1)
    spread = seed_spread([row.mean(1) for row in rows])
    slope = stats.norm.pdf(stats.norm.ppf(0.7)) / np.sqrt(2.01) * 0.1  # accuracy per unit of the latent scale
    assert np.sqrt(spread.variance - spread.noise).min() == pytest.approx(slope, rel=0.12)
    assert spread.freedom.max() == 160
    assert spread.odd.sum() <= 14, "one in five looks odd by chance"
    assert spread.variance.min() == pytest.approx(np.mean([row.mean((1, 2)).var(ddof=1) for row in rows]))
    assert spread.noise.mean() == pytest.approx(0.7 * 0.3 / 2000 * 0.66, rel=0.1), "what images and seeds share"


def test_a_row_that_is_plainly_noisier_is_judged_by_its_own_spread():
    rows = correctness(rng(1), [0.7] * 4, 3, 2000, seed_sd=0.02)
    rows += correctness(rng(2), [0.7], 3, 2000, seed_sd=1.0)
    spread = seed_spread([row.mean(1) for row in rows])
    assert spread.odd.tolist() == [False] * 4 + [True]
    assert spread.variance[4] > 4 * spread.variance[0]


def test_seeds_widen_the_interval():
    calm = judge(correctness(rng(0), [0.7, 0.7, 0.7], 3, 2000, seed_sd=0.0), 0.95, 4000, rng())
    wild = judge(correctness(rng(0), [0.7, 0.7, 0.7], 3, 2000, seed_sd=0.3), 0.95, 4000, rng())
    assert (wild.high - wild.low).mean() > 2 * (calm.high - calm.low).mean()


def test_redraws_widen_intervals_more_than_differences():
    rows = correctness(rng(5), [0.7, 0.6, 0.65], 1, 2000, redraws=3, redraw_sd=0.0)
    shared = rng(6).random((1, 3, 2000)) < np.array([0.0, 0.1, 0.2])[None, :, None]  # a bad draw is bad for everyone
    moved = [np.where(shared, 0, row) for row in rows]
    still, moving = judge(rows, 0.95, 4000, rng()), judge(moved, 0.95, 4000, rng())
    assert (moving.high - moving.low)[0] > 3 * (still.high - still.low)[0]
    assert moving.p[0, 1] < 0.05


def test_the_same_seed_gives_the_same_judgement():
    rows = correctness(rng(), [0.7, 0.72], 3, 500, seed_sd=0.1)
    first, second = (judge(rows, 0.95, 1000, rng(4)) for _ in range(2))
    assert np.array_equal(first.p, second.p)
    assert np.array_equal(first.low, second.low)


def promises(count, rows, seeds, n, seed_sd, redraws=1, redraw_sd=0.0, start=0):
    """Share of simulated comparisons of equal rows with any false alarm; share of intervals that cover."""
    alarms, covered = 0, 0.0
    for k in range(count):
        generator = np.random.default_rng([start, k])
        data = correctness(generator, [0.75] * rows, seeds, n, seed_sd, redraws, redraw_sd)
        results = judge(data, 0.95, 1000, generator)
        alarms += bool(results.different.any())
        covered += float(np.mean((results.low <= 0.75) & (results.high >= 0.75)))
    return alarms / count, covered / count


@pytest.mark.slow
def test_false_alarms_and_coverage_of_redrawn_labels():
    count = 300  # of which the planted faults below are told from chance
    alarms, covered = promises(count, 4, 3, 400, 0.1, redraws=3, redraw_sd=0.1)
    print(f"\nfamily-wise false alarms {alarms:.3f}, coverage {covered:.3f}")
    assert alarms <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / count)
    assert 0.93 <= covered <= 0.99, "three redraws say little: the interval errs on the wide side"


@pytest.mark.slow
def test_a_test_that_ignores_the_seeds_would_be_caught(monkeypatch):
    monkeypatch.setattr(statistics, "_shifts", lambda c, s, r, g: (np.zeros((r, len(c))), []))
    alarms, covered = promises(100, 4, 3, 400, 0.15)
    assert alarms > 0.15
    assert covered < 0.9


@pytest.mark.slow
def test_uncorrected_comparisons_would_be_caught(monkeypatch):
    monkeypatch.setattr(statistics, "corrected", lambda p, families: p)
    assert promises(100, 6, 1, 400, 0.0)[0] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.05)])
def test_power_at_three_points(seeds, seed_sd):
    results, count = 0, 60
    for k in range(count):
        generator = np.random.default_rng([7, k])
        data = correctness(generator, [0.73, 0.70, 0.60, 0.50], seeds, 2000, seed_sd)
        results += bool(judge(data, 0.95, 1000, generator).different[0, 1])
    print(f"\npower for 3 points, 2,000 examples, {seeds} seed(s), seed sd {seed_sd}: {results / count:.2f}")
    assert results / count > 0.3
