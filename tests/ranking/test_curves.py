"""Whether the order of methods is settled: by planted curves, by hand, and by simulation of chance."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from pretextbench.params import Compare
from pretextbench.ranking import curves as module
from pretextbench.ranking.comparison import compare
from pretextbench.ranking.curves import Curves, curve_of
from pretextbench.ranking.rows import row_of
from tests.ranking.curves import SHARES, curve, with_curves
from tests.ranking.fakes import runs

REACH = 1.96  # standard errors, of one pair at 95 %


def judged(*made, reach=REACH):
    pairs = list(combinations(made, 2))
    whole = Curves(tuple(made), 1000, pairs=len(pairs))
    return module._equal_work(module._order(whole, pairs, reach), pairs, reach)


@pytest.mark.parametrize(
    ("a", "b", "state", "late", "closing"),
    [
        ((0.40, 0.50, 0.60), (0.30, 0.38, 0.45), "settled", [], []),  # apart, and further apart
        ((0.50, 0.55, 0.60), (0.30, 0.40, 0.50), "settled", [], []),  # closer, but not passed within twice
        ((0.50, 0.55, 0.57), (0.30, 0.40, 0.52), "moving", [], [("b", "a")]),  # 15 points at half, 5 at the end
        ((0.30, 0.40, 0.52), (0.50, 0.55, 0.57), "moving", [], [("a", "b")]),
        ((0.50, 0.55, 0.57), (0.30, 0.40, 0.58), "moving", [], [("b", "a")]),  # passed within the error: about to
        ((0.50, 0.55, 0.57), (0.30, 0.40, 0.65), "moving", [("b", "a")], []),  # passed after half
        ((0.50, 0.40, 0.50), (0.30, 0.50, 0.60), "settled", [], []),  # passed before half
        ((0.40, 0.50, 0.60), (0.41, 0.49, 0.61), "short", [], []),  # within the error all along
        ((0.40, 0.50, 0.60), (0.39, 0.505, 0.50), "settled", [], []),  # parted at the end: no crossing in the error
        ((0.50, 0.52, 0.53), (0.47, 0.48, 0.505), "short", [], []),  # distinct at half, closing within the error
    ],
)
def test_the_state_of_two_curves(a, b, state, late, closing):
    result = judged(curve("a", a), curve("b", b))
    assert result.state == state
    assert [(turn.first, turn.second) for turn in result.turns if turn.late] == late
    assert list(result.closing) == closing


def test_a_crossing_lies_where_the_lines_between_the_points_cross():
    """On a logarithmic axis: gaps of 10 and -10 points at a quarter and at half cross at the root of their product."""
    (turn,) = judged(curve("a", (0.5, 0.4, 0.5)), curve("b", (0.4, 0.5, 0.6), per_image=3)).turns
    assert (turn.first, turn.second, turn.late) == ("b", "a", False)
    assert turn.images == pytest.approx(math.sqrt(250 * 500))
    assert turn.work == pytest.approx(3 * turn.images)
    assert turn.accuracy == pytest.approx(0.45)


def test_two_crossings_of_one_pair_are_both_named():
    shares = (0.125, 0.25, 0.5, 1.0)
    made = curve("a", (0.5, 0.3, 0.5, 0.5), shares=shares), curve("b", (0.3, 0.5, 0.3, 0.6), shares=shares)
    assert [(turn.first, turn.late) for turn in judged(*made).turns] == [("b", False), ("a", False), ("b", True)]


def test_a_difference_within_the_error_does_not_end_a_lead():
    shares = (0.125, 0.25, 0.5, 1.0)
    made = curve("a", (0.5, 0.5, 0.505, 0.6), shares=shares), curve("b", (0.4, 0.49, 0.51, 0.5), shares=shares)
    assert judged(*made).turns == ()


# --- Kendall's tau ------------------------------------------------------------------------------------------------


def test_tau_is_one_for_the_same_order_and_minus_one_for_the_reverse():
    made = [curve("a", (0.3, 0.5, 0.6)), curve("b", (0.4, 0.4, 0.5)), curve("c", (0.5, 0.3, 0.4))]
    assert module._taus(made) == ((0.25, -1.0), (0.5, 1.0))
    swapped = [curve("a", (0.5, 0.4, 0.6)), curve("b", (0.4, 0.5, 0.5)), curve("c", (0.3, 0.3, 0.4))]
    assert module._taus(swapped)[1] == (0.5, pytest.approx(1 / 3)), "one of three pairs is out of order"
    assert module._taus(made[:2]) == ()


# --- equal work ---------------------------------------------------------------------------------------------------


def test_the_order_at_equal_work_is_interpolated_on_the_dear_curve():
    """Rotation has twice the work per image: at the work of simclr it has seen half of its images."""
    dear = curve("rotation", (0.3, 0.4, 0.6), per_image=2)
    result = judged(dear, curve("simclr", (0.3, 0.4, 0.5)))
    (flip,) = result.flips
    assert (flip.images, flip.work, flip.seen, flip.spent) == ("rotation", "simclr", 1000, 1000)
    assert dear.at("work", 1000.0) == (pytest.approx(0.4), pytest.approx(0.01))
    assert dear.at("work", 1000 * math.sqrt(2)) == (pytest.approx(0.5), pytest.approx(0.01))
    assert judged(dear, curve("simclr", (0.3, 0.35, 0.39))).flips == ()
    assert judged(dear, curve("simclr", (0.3, 0.35, 0.41))).flips == (), "within the error"


def test_with_a_budget_of_work_the_order_at_equal_images_is_interpolated():
    """Both end at the work of 1000; the cheap one has seen twice the images."""
    cheap = curve("simclr", (0.3, 0.4, 0.6), per_image=1, end=1000)
    dear = curve("rotation", (0.3, 0.35, 0.5), per_image=2, end=500)
    (flip,) = judged(cheap, dear).flips
    assert (flip.images, flip.work, flip.seen, flip.spent) == ("rotation", "simclr", 500, 1000)


def test_work_before_the_first_snapshot_is_not_guessed():
    result = judged(curve("swav", (0.3, 0.4, 0.6), per_image=8), curve("simclr", (0.3, 0.4, 0.5)))
    assert (result.flips, result.unknown) == ((), (("swav", "simclr"),))
    idle = curve("a", (0.3, 0.4, 0.6), per_image=0), curve("b", (0.3, 0.4, 0.5), per_image=0)
    assert (judged(*idle).flips, judged(*idle).unknown) == ((), ())


# --- from runs ----------------------------------------------------------------------------------------------------

PLANTED = {"simclr": (0.3, 0.5, 0.6), "rotation": (0.4, 0.45, 0.5), "jigsaw": (0.2, 0.3, 0.4)}
ACCURACIES = {"simclr": 0.75, "rotation": 0.64, "jigsaw": 0.6, "random": 0.52, "supervised": 0.85}


@pytest.fixture(scope="module")
def plain():
    return runs(ACCURACIES, n=100)


def test_a_curve_is_at_the_layer_of_the_k_nn_column_with_binomial_errors(plain):
    group = [run for run in with_curves(plain, PLANTED, votes=400) if run.name == "simclr"]
    made = curve_of(row_of("simclr", group), group)
    assert made.accuracy == PLANTED["simclr"]
    assert made.images == (8000, 16000, 32000)
    assert made.work == tuple(13e6 * images for images in made.images)
    assert made.error == pytest.approx([math.sqrt(p * (1 - p) / 400) for p in PLANTED["simclr"]], rel=0.01)
    assert 0 < curve_of(row_of("simclr", group), with_curves(group, {"simclr": (1.0, 1.0, 1.0)})).error[0] < 0.01


def test_seeds_add_their_spread(plain):
    made = runs({"simclr": 0.7}, seeds=3, n=50)
    group = [with_curves([run], {"simclr": [0.4 + 0.1 * i] * 3})[0] for i, run in enumerate(made)]
    result = curve_of(row_of("simclr", group), group)
    assert result.accuracy == pytest.approx((0.5, 0.5, 0.5))
    assert result.error == pytest.approx([math.sqrt(0.25 / 1000 + 0.01 / 3)] * 3, rel=1e-3)
    other = [*group[:2], with_curves(group[2:], {"simclr": [0.4] * 3}, shares=(0.2, 0.5, 1.0))[0]]
    assert curve_of(row_of("simclr", other), other) is None, "other moments"


def test_controls_have_curves_and_no_part_in_the_order(plain):
    result = compare(with_curves(plain, {**PLANTED, "supervised": (0.5, 0.2, 0.1)}), Compare(resamples=50)).curves
    assert [made.name for made in result.rows] == ["supervised", "simclr", "jigsaw", "rotation"]
    assert [made.name for made in result.methods] == ["simclr", "jigsaw", "rotation"]
    assert (result.pairs, result.distinct, result.state) == (3, 3, "settled")
    assert [(turn.first, turn.second) for turn in result.turns] == [("simclr", "rotation")]
    assert [share for share, _ in result.taus] == [0.25, 0.5]
    assert [tau for _, tau in result.taus] == [pytest.approx(1 / 3), 1.0]


def test_without_curves_nothing_is_said(plain):
    assert compare(plain, Compare(resamples=50)).curves == Curves()
    empty = [replace(run, metrics={**run.metrics, "curve": {}}) for run in plain]
    assert compare(empty, Compare(resamples=50)).curves == Curves()


# --- chance -------------------------------------------------------------------------------------------------------


def drawn(rng, accuracies, votes):
    """A curve of binomial accuracies around the expected ones."""
    values = rng.binomial(votes, accuracies) / votes
    error = np.sqrt(np.clip(values * (1 - values), 1e-4, None) / votes)
    images = tuple(1000 * share for share in SHARES)
    return module.Curve(f"m{rng.integers(10**9)}", True, images, images, tuple(values), tuple(error))


@pytest.mark.parametrize(("methods", "votes"), [(2, 1000), (5, 300), (10, 1000)])
def test_equal_methods_are_seldom_called_settled_and_hardly_ever_moving(methods, votes):
    """Over all pairs and both moments: at 95 % five in a hundred comparisons may see a difference."""
    rng, expected, times = np.random.default_rng(methods), [0.4, 0.5, 0.55], 300
    reach = module.reach_of(0.95, math.comb(methods, 2))
    states = [judged(*(drawn(rng, expected, votes) for _ in range(methods)), reach=reach).state for _ in range(times)]
    assert states.count("settled") + states.count("moving") <= 0.07 * times
    assert states.count("moving") <= 0.03 * times


def test_curves_that_cross_by_ten_points_are_called_moving():
    rng = np.random.default_rng(0)
    slow, fast = [0.3, 0.4, 0.6], [0.4, 0.5, 0.5]
    states = [judged(drawn(rng, slow, 1000), drawn(rng, fast, 1000)).state for _ in range(200)]
    assert states.count("moving") >= 0.97 * 200
