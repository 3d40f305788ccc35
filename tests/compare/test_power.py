"""The data asked for against the power that they give."""

import numpy as np
import pytest
from scipy import stats

from pretextbench.compare.power import needs


def paired(gap, n):
    """Two (n,) rows whose mean difference is exactly `gap`."""
    first, second = np.zeros(n), np.zeros(n)
    apart = round(0.2 * n)  # examples on which they differ
    better = round((apart + gap * n) / 2)
    first[:better] = second[better:apart] = 1
    return first, second


def test_the_images_asked_for_give_the_power_promised():
    first, second = paired(0.02, 1000)
    results = needs(first, second, (np.nan, np.nan), 1, 0.05)
    n, rng = results.images, np.random.default_rng(0)
    counts = rng.multinomial(n, [np.mean(first > second), np.mean(first < second), np.mean(first == second)], 4000)
    mean, square = (counts[:, 0] - counts[:, 1]) / n, (counts[:, 0] + counts[:, 1]) / n
    z = mean / np.sqrt((square - mean**2) / n)
    assert np.mean(np.abs(z) > stats.norm.ppf(0.975)) == pytest.approx(0.8, abs=0.03)
    assert results.seeds is None, "with one seed the spread is not known"
    assert results.images > 1000


def test_what_is_detectable_shrinks_with_the_root_of_the_images():
    small = needs(*paired(0.02, 1000), (np.nan, np.nan), 1, 0.05).detectable
    large = needs(*paired(0.02, 4000), (np.nan, np.nan), 1, 0.05).detectable
    assert small / large == pytest.approx(2, rel=0.01)


def test_seeds_that_are_too_noisy_cannot_be_mended_by_images():
    results = needs(*paired(0.02, 1000), (0.05, 0.05), 3, 0.05)
    assert results.images is None
    more = needs(*paired(0.02, 10_000), (0.05, 0.05), 3, 0.05)
    assert more.seeds > 3


def test_no_difference_needs_no_number():
    results = needs(*paired(0.0, 1000), (0.01, 0.01), 3, 0.05)
    assert results.images is None
    assert results.seeds is None
