"""The spread over seeds: a row that no seed changes is left out of the pool, and has none itself."""

import numpy as np
import pytest

from pretextbench.ranking.spread import ODD, Spread, _pooled, seed_spread


def tables(seeds: int, rows: int, n: int = 400) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(rng.random((seeds, n)) < rng.uniform(0.4, 0.6, (seeds, 1))).astype(float) for _ in range(rows)]


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("place", [0, 2])
def test_a_row_that_no_seed_changes_moves_the_spread_of_no_other(seeds: int, place: int) -> None:
    varied = tables(seeds, 4)
    fixed = np.repeat(varied[0][:1], seeds, 0)
    alone, together = seed_spread(varied), seed_spread([*varied[:place], fixed, *varied[place:]])
    others = np.arange(5) != place
    for field in ("variance", "freedom", "noise", "odd"):
        np.testing.assert_array_equal(getattr(together, field)[others], getattr(alone, field))
    assert (together.variance[place], together.noise[place], together.odd[place]) == (0, 0, False)
    assert together.known


def test_where_no_row_varies_the_spread_is_unknown() -> None:
    fixed = np.repeat(tables(1, 1)[0], 3, 0)
    assert not seed_spread([fixed, fixed]).known


def test_planning_takes_a_row_for_noisy_only_where_it_plainly_is() -> None:
    """Variances against those of the others: p = 0.12, and below 0.001."""
    own, raw = np.full(4, 2.0), np.array([3.0, 1.0, 1.0, 1.0])
    for factor, odd, planned in ((1, True, False), (10, True, True)):
        variances = raw * [factor, 1, 1, 1]
        spread = Spread(own + 1, *_pooled(own + 1, variances, own, ODD), np.zeros(4), variances, own)
        assert (spread.odd[0], spread.to_plan.odd[0]) == (odd, planned)
        assert spread.to_plan.variance[1] == pytest.approx(variances.mean())
        assert spread.to_plan.variance[0] == pytest.approx(variances[0] if planned else variances.mean())
        assert spread.to_plan.freedom[0] == (2 if planned else 8)
