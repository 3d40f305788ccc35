"""Named streams of randomness: pinned values, independence, and no order of consumption."""

import numpy as np
import pytest

from pretextbench.base.seed import Seed


def test_known_keys() -> None:
    """The first 63 bits of `printf 0/order/3 | sha256sum`; another value would change every result reported so far."""
    assert Seed(0).key("order", 3) == 2723741169552378311
    assert Seed(1).key("weights") == 5164344575451445340


def test_known_draws() -> None:
    assert Seed(0).numpy("order", 0).permutation(8).tolist() == [3, 6, 0, 1, 2, 7, 4, 5]


def test_keys_fit_a_seed_of_torch_and_numpy() -> None:
    keys = [Seed(root).key("step", step) for root in range(4) for step in range(250)]
    assert all(0 <= key < 2**63 for key in keys)
    assert len(set(keys)) == 1000
    assert max(keys) > 2**62  # the range is used


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (Seed(0).key("order"), Seed(1).key("order")),
        (Seed(0).key("order"), Seed(0).key("weights")),
        (Seed(0).key("step", 1), Seed(0).key("step", 2)),
        (Seed(0).key("step", 1, 2), Seed(0).key("step", 12)),
        (Seed(1).key("1"), Seed(11).key()),
    ],
)
def test_another_name_is_another_stream(a: int, b: int) -> None:
    assert a != b


def test_equal_names_give_equal_streams_whatever_was_drawn_before() -> None:
    seed = Seed(7)
    first = seed.numpy("a").random(5)
    seed.numpy("b").random(1000)
    np.testing.assert_array_equal(seed.numpy("a").random(5), first)
    np.testing.assert_array_equal(Seed(7).numpy("a").random(5), first)


def test_streams_are_independent() -> None:
    """Neighbouring names are uncorrelated: |r| below 4 / sqrt(n)."""
    draws = np.stack([Seed(0).numpy("step", step).normal(size=4000) for step in range(8)])
    correlations = np.corrcoef(draws)[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 4 / 4000**0.5
