"""The order at several budgets: planted reversals, the direction, the level, and methods that are equal."""

from dataclasses import replace
from itertools import product

import pytest

from pretextbench.errors import UserError
from pretextbench.params import Compare
from pretextbench.ranking.budget_orders import budget_orders
from tests.ranking.fakes import runs, unlabelled

PARAMS = Compare(resamples=300)


def methods(accuracies, seed=0, **more):
    return runs(accuracies, seed=seed, n=2000, **more)


def orders(*accuracies, budgets=(1000, 4000, 16_000), seeds=3, params=PARAMS, n=2000):
    made = (runs(a, seed=7, n=n, seeds=seeds, seed_sd=0.03) for a in accuracies)
    return budget_orders(dict(zip(budgets, made, strict=False)), params)


def test_two_methods_that_change_places_are_named_in_the_right_direction():
    found = orders({"a": 0.7, "b": 0.6, "c": 0.5}, {"a": 0.7, "b": 0.8, "c": 0.5})
    (turn,) = found.reversals
    assert (turn.first, turn.second, turn.small, turn.large) == ("a", "b", 1000, 4000)
    assert (found.kept, found.pairs) == (2, 3)
    assert found.taus == (pytest.approx(1 / 3),)  # of three pairs one is reversed
    assert [order.picked for order in found.orders] == ["a", "b"]


def test_budgets_are_in_the_order_of_their_size():
    small, large = ({"a": 0.7, "b": 0.6}, {"a": 0.7, "b": 0.8})
    found = orders(large, small, budgets=(4000, 1000))
    assert [order.images for order in found.orders] == [1000, 4000]
    assert [(turn.first, turn.small, turn.large) for turn in found.reversals] == [("a", 1000, 4000)]
    assert found.taus == ()  # of two methods it is 1 or -1


def test_a_budget_at_which_they_are_equal_is_passed_over():
    """Apart, equal, and apart the other way: they changed places between the first and the last."""
    found = orders({"a": 0.7, "b": 0.6}, {"a": 0.7, "b": 0.7}, {"a": 0.6, "b": 0.7})
    assert [(turn.small, turn.large) for turn in found.reversals] == [(1000, 16_000)]


def test_a_difference_within_the_error_is_no_order():
    found = orders({"a": 0.70, "b": 0.69}, {"a": 0.69, "b": 0.70}, n=300)
    assert (found.reversals, found.kept, found.pairs) == ((), 0, 1)


def test_equal_methods_rarely_change_places():
    """Thirty comparisons of four equal methods at three budgets; without the error all of them would."""
    found = 0
    for seed in range(30):
        names = ["".join(pair) for pair in product("abcd", "123")]
        every = runs(dict.fromkeys(names, 0.6), 3, 100, seed=seed)
        made = {b: [replace(run, name=run.name[0]) for run in every if run.name[1] == str(b)] for b in (1, 2, 3)}
        found += bool(budget_orders(made, Compare(resamples=100)).reversals)
    assert found <= 1


def test_a_method_without_predictions_at_one_budget_is_in_no_pair():
    made = {b: methods({"a": 0.7, "b": 0.6, "c": 0.5}) for b in (1, 2)}
    made[2] = [replace(run, predictions={}) if run.name == "c" else run for run in made[2]]
    found = budget_orders(made, PARAMS)
    assert found.pairs == 1
    assert "c" in found.orders[0].verdict.names
    assert "c" not in found.orders[1].verdict.names


@pytest.mark.parametrize("count", [0, 1])
def test_one_budget_has_no_order_to_compare(count):
    made = {b: methods({"a": 0.7, "b": 0.6}) for b in range(count)}
    assert budget_orders(made, PARAMS).orders == ()


def test_without_labels_there_is_no_order():
    made = {b: [unlabelled(run) for run in methods({"a": 0.7, "b": 0.6}, b)] for b in (1, 2)}
    assert budget_orders(made, PARAMS).orders == ()


def test_other_test_images_are_refused():
    first, second = (methods({"a": 0.7, "b": 0.6}, 1) for _ in range(2))
    data = {**second[0].metrics["data"], "fingerprint": "c" * 64}
    other = [replace(run, metrics={**run.metrics, "data": data}) for run in second]
    with pytest.raises(UserError, match="different test images"):
        budget_orders({1: first, 2: other}, PARAMS)
