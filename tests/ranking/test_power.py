"""What the report says of power against the test itself: printed and simulated."""

import itertools

import numpy as np
import pytest
from scipy.special import ndtr

from pretextbench.ranking import power
from pretextbench.ranking.power import needs
from pretextbench.ranking.spread import seed_spread
from pretextbench.ranking.statistics import judge, two_sided
from tests.ranking.simulation import drawn

PRINTED = 50  # comparisons per case


def paired(gap, n):
    """Two (n,) rows whose mean difference is exactly `gap`."""
    first, second = np.zeros(n), np.zeros(n)
    apart = round(0.2 * n)  # examples on which they differ
    better = round((apart + gap * n) / 2)
    first[:better] = second[better:apart] = 1
    return first, second


def both(value):
    return np.full(2, value)


@pytest.mark.parametrize("seeds", [1, 2])
def test_below_three_seeds_nothing_is_planned(seeds):
    assert needs(*paired(0.02, 1000), both(np.nan), both(0.0), both(np.nan), 4, seeds, 0.05) is None


LEVEL = 0.05 / 3


def equal(generator, rows, seeds, spread, n):
    """Data of methods of 50 % whose seeds differ by so many points."""
    return drawn(generator, 0.5 + spread / 100 * generator.normal(size=(rows, seeds)), n)


def printed(data):
    """The difference of the first two rows that would be detected, as the report has it."""
    spread, rows, seeds = seed_spread([row.mean(1) for row in data]).to_plan, len(data), len(data[0])
    over = spread.variance[:2], spread.noise[:2], spread.freedom[:2]
    return needs(*(row.mean((0, 1)) for row in data[:2]), *over, rows, seeds, LEVEL).detectable


def criticals(comparisons):
    """(k,) differences of the first two rows from which on the test of each of k comparisons finds one."""
    known, variances, freedom = [], [], []
    for data in comparisons:
        spread, (first, second) = seed_spread([row.mean(1) for row in data]), (row.mean((0, 1)) for row in data[:2])
        known.append(max((first - second).var() / len(first) - spread.doubled[:2].sum(), 0.0))
        variances.append(spread.variance[:2] / spread.seeds[:2])
        freedom.append(spread.freedom[:2])
    parts = list(zip(np.transpose(variances), np.transpose(freedom), strict=True))
    low, high = np.zeros(len(known)), np.full(len(known), 50.0)
    for _ in range(30):
        middle = (low + high) / 2
        found = two_sided(middle, np.array(known, float), parts) < LEVEL
        low, high = np.where(found, low, middle), np.where(found, middle, high)
    return high


def test_the_critical_difference_is_that_of_the_test():
    generator, agreed = np.random.default_rng(5), []
    for _ in range(60):
        data = equal(generator, 3, 3, 1, 200)
        data[0] = np.maximum(data[0], generator.random(data[0].shape) < 0.3)  # near the border
        difference = abs(data[0].mean() - data[1].mean())
        found = judge(data, 0.95, 1000, generator).p[0, 1] < LEVEL
        agreed.append(found == (difference > criticals([data])[0]))
    assert np.mean(agreed) > 0.93, "resamples decide near the border"


@pytest.mark.slow
@pytest.mark.parametrize("rows", [3, 7])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_gap_that_is_printed_is_detected_four_times_out_of_five(monkeypatch, rows, seeds):
    """Each printed gap against the tests of other comparisons: the share that finds it, mean over the printed gaps.

    To five points over all spreads and numbers of images, to ten in each case of them.
    """
    monkeypatch.setattr(power, "_fewest", lambda *_: None)  # the counts of images and seeds are not looked at
    shares = []
    for n, spread in itertools.product((200, 2000), (0, 1, 3, 5)):
        generator = np.random.default_rng([rows, seeds, n, spread])
        comparisons = [equal(generator, rows, seeds, spread, n) for _ in range(PRINTED)]
        gaps, found_from = np.array([printed(data) for data in comparisons]), criticals(comparisons)
        error = np.std([data[0].mean() - data[1].mean() for data in comparisons])
        share = ndtr((gaps[:, None] - found_from) / error).mean(1)  # the difference that a comparison sees is normal
        print(f"\nrows {rows} seeds {seeds} images {n} spread {spread}: found {share.mean():.3f}")
        assert share.mean() == pytest.approx(0.8, abs=0.1)
        shares.extend(share)
    assert np.mean(shares) == pytest.approx(0.8, abs=0.05)


def test_what_is_detectable_shrinks_with_the_root_of_the_images():
    small = needs(*paired(0.02, 1000), both(0.0), both(0.0), both(8.0), 4, 3, 0.05).detectable
    large = needs(*paired(0.02, 4000), both(0.0), both(0.0), both(8.0), 4, 3, 0.05).detectable
    assert small / large == pytest.approx(2, rel=0.01)


def test_the_images_asked_for_detect_the_gap():
    few = needs(*paired(0.02, 1000), both(4e-6), both(0.0), both(10.0), 5, 3, 0.05)
    assert few.images > 1000
    assert needs(*paired(0.02, few.images), both(4e-6), both(0.0), both(10.0), 5, 3, 0.05).detectable == pytest.approx(
        0.02, rel=0.02
    )


def test_seeds_that_are_too_noisy_cannot_be_mended_by_images():
    results = needs(*paired(0.02, 1000), both(0.0025), both(0.0), both(8.0), 4, 3, 0.05)
    assert results.images is None
    more = needs(*paired(0.02, 10_000), both(0.0025), both(0.0), both(8.0), 4, 3, 0.05)
    assert more.seeds > 3


def test_no_difference_needs_no_number():
    results = needs(*paired(0.0, 1000), both(1e-4), both(0.0), both(8.0), 4, 3, 0.05)
    assert results.images is None
    assert results.seeds is None
