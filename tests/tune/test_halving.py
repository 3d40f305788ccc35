"""Successive halving against counts by hand: who stays, who is lost, and that all methods get the same."""

import numpy as np
import pytest

from pretextbench.tune.halving import Outcome, Round, Trial, best, error, gain, halve, kept, rounds, winner

NINE = [{"x": i} for i in range(9)]


@pytest.mark.parametrize(
    ("trials", "eta", "expected"),
    [
        (2, 3, [(2, 100)]),
        (3, 3, [(3, 100)]),
        (4, 3, [(4, 100), (2, 300)]),
        (9, 3, [(9, 100), (3, 300)]),
        (10, 3, [(10, 100), (4, 300), (2, 900)]),
        (27, 3, [(27, 100), (9, 300), (3, 900)]),
        (8, 2, [(8, 100), (4, 200), (2, 400)]),
    ],
)
def test_rounds_by_hand(trials: int, eta: int, expected: list[tuple[int, int]]) -> None:
    assert rounds(trials, 100, eta) == [Round(*each) for each in expected]


@pytest.mark.parametrize("trials", range(2, 60))
@pytest.mark.parametrize("eta", [2, 3, 5])
def test_each_round_has_fewer_trials_and_two_remain_to_compare(trials: int, eta: int) -> None:
    plan = rounds(trials, 10, eta)
    counts = [step.trials for step in plan]
    assert counts == sorted(set(counts), reverse=True)
    assert 2 <= counts[-1] <= eta
    assert [step.images for step in plan] == [10 * eta**i for i in range(len(plan))]


def test_the_best_stay_and_the_first_with_them() -> None:
    """Oracle: an order by NumPy. The scores are drawn, and some are equal."""
    for seed in range(50):
        scores = np.random.default_rng(seed).integers(0, 6, 12) / 10
        trials = [Trial(i, {}, [Outcome(10, 1.0, float(score))]) for i, score in enumerate(scores)]
        best_first = [0, *(1 + np.argsort(-scores[1:], kind="stable"))]
        assert [trial.number for trial in kept(trials, 4)] == sorted(best_first[:4])


def measured(scores: dict[int, float | None]):
    """A measure by table, a little better with more images, and the calls that it gets."""
    calls: list[tuple[int, int]] = []

    def measure(number, setting, images):
        calls.append((number, images))
        assert setting == NINE[number]
        score = scores.get(number, 0.1)
        if score is None:
            return Outcome(images, 1.0, None, "diverged")
        return Outcome(images, 1.0, score + images / 10_000)

    return measure, calls


def test_the_winner_has_the_best_score_of_the_last_round() -> None:
    measure, calls = measured({4: 0.9, 7: 0.5, 2: 0.4})
    trials = halve(NINE, rounds(9, 100, 3), measure)
    assert calls == [*((i, 100) for i in range(9)), (0, 300), (4, 300), (7, 300)]
    assert [trial.state for trial in trials] == [
        "finished" if trial.number in (0, 4, 7) else "stopped" for trial in trials
    ]
    top = winner(trials, 100)
    assert top is not None
    assert top.number == 4
    assert gain(trials) == pytest.approx(0.8)


def test_every_method_gets_the_same_whatever_its_scores() -> None:
    plan, seen = rounds(9, 100, 3), set()
    for seed in range(20):
        scores = dict(enumerate(np.random.default_rng(seed).random(9)))
        measure, calls = measured(scores)
        halve(NINE, plan, measure)
        seen.add((len(calls), sum(images for _, images in calls)))
    assert seen == {(12, 9 * 100 + 3 * 300)}


def test_the_methods_own_parameters_win_where_nothing_is_better() -> None:
    measure, _ = measured({})
    trials = halve(NINE, rounds(9, 100, 3), measure)
    assert winner(trials, 100) is trials[0]
    assert gain(trials) == 0


@pytest.mark.parametrize(
    ("lost", "states", "number", "measured_gain"),
    [
        ({3}, {"lost": 1, "stopped": 5, "finished": 3}, 8, 0.7),  # a trial is lost, and not the method
        ({0}, {"lost": 1, "stopped": 5, "finished": 3}, 8, None),  # nothing is known of a gain
        ({0, 1, 2, 3, 4, 5, 6, 7}, {"lost": 8, "finished": 1}, 8, None),
        (set(range(9)), {"lost": 9}, None, None),
    ],
)
def test_trials_that_diverge_are_lost(
    lost: set[int], states: dict[str, int], number: int | None, measured_gain: float | None
) -> None:
    scores = {i: None if i in lost else 0.1 for i in range(9)} | ({8: 0.8} if 8 not in lost else {})
    trials = halve(NINE, rounds(9, 100, 3), measured(scores)[0])
    names = [trial.state for trial in trials]
    assert {name: names.count(name) for name in dict.fromkeys(names)} == states
    top = winner(trials, 100)
    assert (top.number if top else None) == number
    assert gain(trials) == (measured_gain if measured_gain is None else pytest.approx(measured_gain))


def test_a_trial_that_is_lost_in_the_last_round_does_not_win() -> None:
    def measure(number, setting, images):
        score = None if number == 4 and images == 300 else 0.9 if number == 4 else 0.1
        return Outcome(images, 1.0, score)

    trials = halve(NINE, rounds(9, 100, 3), measure)
    assert trials[4].state == "lost"
    assert winner(trials, 100) is trials[0]
    with pytest.raises(ValueError, match="trial 4 has no score"):
        _ = trials[4].score


def test_a_gain_within_the_error_of_the_validation_images_keeps_the_methods_own() -> None:
    trials = halve(NINE, rounds(9, 100, 3), measured({0: 0.47, 4: 0.5})[0])  # + .03 in the last round: .5 and .53
    assert best(trials) is trials[4]
    assert error(trials, 500) == pytest.approx((0.53 * 0.47 / 500 * 2) ** 0.5)
    assert error(trials, 500) == pytest.approx(0.0316, abs=1e-4)  # above the gain of .03
    assert winner(trials, 500) is trials[0]
    assert winner(trials, 600) is trials[4]  # .0288


def test_trials_that_are_equal_seldom_replace_the_methods_own() -> None:
    """Nine settings of one accuracy, 1,000 images each: the best of the last round is another in most draws."""
    replaced, above = 0, 0
    for seed in range(300):
        draws = np.random.default_rng(seed)
        trials = halve(NINE, rounds(9, 100, 3), lambda *_: Outcome(1, 1.0, draws.binomial(1000, 0.4) / 1000))  # noqa: B023
        replaced += winner(trials, 1000) is not trials[0]
        above += best(trials) is not trials[0]
    assert above > 150
    assert replaced < 0.3 * 300
