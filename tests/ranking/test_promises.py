"""The statistics against their promises, by simulation of methods whose worth is known."""

import numpy as np
import pytest

from pretextbench.ranking import spread
from pretextbench.ranking.families import Family
from pretextbench.ranking.statistics import judge
from tests.ranking.simulation import drawn, promises

TIMES = 80  # comparisons per case; the limits are those that chance would pass once in 200 at exactly 5 %
LIMIT = 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / TIMES)


@pytest.mark.parametrize("rows", [2, 7, 20])
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_false_alarms_and_coverage(rows, seeds):
    """For seeds that differ by 0, 1, 3 and 5 points; with one seed the claim is about these encoders."""
    shares, times = [], TIMES if rows < 20 else TIMES // 2
    for points in (0, 1, 3, 5):
        alarms, covered = promises(times, [points] * rows, seeds)
        assert alarms <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / times), points
        shares.append(covered.mean(1))
    share = np.concatenate(shares)
    error = share.std() / np.sqrt(len(share))
    print(f"\nrows {rows} seeds {seeds}: coverage {share.mean():.3f} +- {error:.3f}")
    assert 0.93 - 2.6 * error <= share.mean() <= 0.97 + 2.6 * error


def test_the_leader_by_lucky_seeds_raises_no_false_alarms(monkeypatch):
    """Of equal methods the luckiest leads, and each is tested against it: as many alarms as for all pairs."""
    monkeypatch.setattr(spread, "ODD", 0.0)  # the spreads are equal here
    alarms = {}
    for selected in (True, False):
        count = 0
        for k in range(TIMES):
            count += lucky(k, selected)
        alarms[selected] = count / TIMES
    assert alarms[True] <= LIMIT < alarms[False]


def lucky(k, selected):
    """Whether a false alarm is raised in a comparison of forty methods that differ by luck alone."""
    generator = np.random.default_rng([3, k])
    truths = 0.7 + 0.05 * generator.standard_normal((40, 5))
    data, leader = drawn(generator, truths, 200), int(truths.mean(1).argmax())
    family = Family(tuple((leader, j) for j in range(40) if j != leader), selected)
    return bool(judge(data, 0.95, 100, generator, [family]).different.any())


def test_a_noisy_row_keeps_its_coverage(monkeypatch):
    times, noisy = 150, (0.3, 0.5, 0.8, 3.8)
    alarms, covered = promises(times, noisy, 3, n=2000)
    error = np.sqrt(0.05 * 0.95 / times)
    assert covered.mean(0).min() >= 0.93 - 2 * error
    assert alarms <= 0.06 + 2 * error
    monkeypatch.setattr(spread, "ODD", 0.0)
    assert promises(times, noisy, 3, n=2000)[1].mean(0).min() < 0.85, "one spread for all rows"


@pytest.mark.parametrize(("rows", "seeds", "confidence"), [(11, 3, 0.95), (15, 3, 0.99), (33, 5, 0.95)])
def test_a_large_gap_is_never_a_tie_for_want_of_resamples(rows, seeds, confidence):
    """85 points: the smallest p of 100 draws, times the number of pairs, is above the level."""
    generator = np.random.default_rng(rows)
    truths = 0.1 + 0.003 * generator.standard_normal((rows, seeds))
    truths[0] += 0.85
    results = judge(drawn(generator, truths, 1000), confidence, 100, generator)
    assert results.different[0, 1:].all()
