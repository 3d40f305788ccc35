"""What the report says of power against the test itself: printed and simulated."""

import numpy as np
import pytest

from pretextbench.compare.power import needs
from pretextbench.compare.spread import seed_spread
from pretextbench.compare.statistics import judge
from tests.compare.simulation import drawn


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
    assert needs(*paired(0.02, 1000), both(np.nan), both(0.0), 4, seeds, 0.05) is None


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0, 1, 3])
def test_the_gap_that_is_printed_is_detected_four_times_out_of_five(seeds, spread):
    """The mean over comparisons of the printed gap, then how often the test finds a gap of that size."""
    generator, n, rows = np.random.default_rng([seeds, spread]), 500, 3
    printed = []
    for _ in range(7):
        data = drawn(generator, np.full((rows, seeds), 0.7) + spread / 100 * generator.normal(size=(rows, seeds)), n)
        over = seed_spread([row.mean(1) for row in data])
        examples = [row.mean((0, 1)) for row in data[:2]]
        printed.append(needs(*examples, over.variance[:2], over.noise[:2], rows, seeds, 0.05 / 3).detectable)
    gap, hits, count = float(np.median(printed)), 0, 200
    for _ in range(count):
        truth = np.full((rows, seeds), 0.7) + spread / 100 * generator.normal(size=(rows, seeds))
        truth[0] += gap
        data = drawn(generator, truth, n)
        hits += judge(data, 0.95, 100, generator).p[0, 1] < 0.05 / 3
    assert hits / count == pytest.approx(0.8, abs=0.05 + 2 * np.sqrt(0.16 / count))


def test_what_is_detectable_shrinks_with_the_root_of_the_images():
    small = needs(*paired(0.02, 1000), both(0.0), both(0.0), 4, 3, 0.05).detectable
    large = needs(*paired(0.02, 4000), both(0.0), both(0.0), 4, 3, 0.05).detectable
    assert small / large == pytest.approx(2, rel=0.01)


def test_the_images_asked_for_detect_the_gap():
    few = needs(*paired(0.02, 1000), both(4e-6), both(0.0), 5, 3, 0.05)
    assert few.images > 1000
    assert needs(*paired(0.02, few.images), both(4e-6), both(0.0), 5, 3, 0.05).detectable == pytest.approx(
        0.02, rel=0.02
    )


def test_seeds_that_are_too_noisy_cannot_be_mended_by_images():
    results = needs(*paired(0.02, 1000), both(0.0025), both(0.0), 4, 3, 0.05)
    assert results.images is None
    more = needs(*paired(0.02, 10_000), both(0.0025), both(0.0), 4, 3, 0.05)
    assert more.seeds > 3


def test_no_difference_needs_no_number():
    results = needs(*paired(0.0, 1000), both(1e-4), both(0.0), 4, 3, 0.05)
    assert results.images is None
    assert results.seeds is None
