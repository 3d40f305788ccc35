"""The sentences, the figure and the table of the learning curves."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.report import learning
from pretextbench.report.html import report_html
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.svg import styles
from tests.ranking.curves import with_curves
from tests.ranking.fakes import runs, unlabelled

PARAMS = Compare(resamples=50)
ACCURACIES = {"simclr": 0.75, "rotation": 0.64, "random": 0.52, "supervised": 0.85}
THREE = {**ACCURACIES, "jigsaw": 0.5}
UP, FLAT = (0.3, 0.45, 0.6), (0.4, 0.42, 0.44)  # they cross before half of the budget
LATE = (0.4, 0.5, 0.52), (0.3, 0.4, 0.65)


def section(results):
    return "\n\n".join(learning.settled(results))


def judged(curves, accuracies=ACCURACIES, seeds=1, **changes):
    made = [replace(run, **changes.get(run.name, {})) for run in runs(accuracies, seeds=seeds, n=100)]
    return compare(with_curves(made, curves), PARAMS)


def test_a_settled_order_is_said_to_be():
    text = section(judged({"simclr": UP, "rotation": (0.2, 0.25, 0.3)}))
    assert text.startswith(
        "**Settled.** At the end the two encoders differ by more than the error of k-NN on 1,000 validation images. "
        "None has passed another since 50 % of the budget, and none is about to. Kendall's tau between the order at a "
        "snapshot and at the end needs three encoders or more."
    )
    assert "At equal work instead of equal images no order would turn" in text


def test_an_order_that_is_known_in_part_is_settled_in_part():
    """Of three pairs two differ: rotation and jigsaw are within the error all along."""
    curves = {"simclr": UP, "rotation": (0.2, 0.25, 0.3), "jigsaw": (0.21, 0.24, 0.31)}
    assert section(judged(curves, THREE)).startswith(
        "**Settled for 2 of 3 pairs.** At the end the encoders of 2 of 3 pairs"
    )


def test_the_order_by_knn_is_not_taken_for_that_of_the_recommendation():
    sentence = "it puts rotation's encoder first, and the linear probe simclr's encoder. Kendall's tau"
    assert sentence in section(judged({"simclr": (0.2, 0.25, 0.3), "rotation": UP}))
    assert "the order by k-NN" not in section(judged({"simclr": UP, "rotation": (0.2, 0.25, 0.3)}))


def test_curves_that_crossed_late_are_never_called_settled():
    text = section(judged({"simclr": LATE[0], "rotation": LATE[1]}))
    assert "Settled" not in text
    assert text.startswith(
        "**Still moving.** Since 50 % of the budget rotation's encoder has passed simclr's encoder. Compare at a larger"
    )


def test_an_order_that_would_turn_within_twice_the_budget_is_named():
    curves = {"simclr": (0.5, 0.55, 0.57), "rotation": (0.2, 0.35, 0.5)}
    text = section(judged(curves, seeds=3))
    assert "At the pace since 50 % of the budget, rotation would pass simclr within twice the budget." in text


def test_curves_within_their_error_are_too_short():
    text = section(judged({"simclr": (0.3, 0.4, 0.5), "rotation": (0.31, 0.39, 0.51)}))
    assert text.startswith(
        "**Too short to say.** At the end no two encoders differ by more than the error of k-NN on 1,000 validation "
        "images."
    )
    assert "no order would turn" not in text, "there is none"


def test_tau_is_of_three_methods_or_more_and_says_the_share():
    curves = {"simclr": (0.2, 0.45, 0.6), "rotation": (0.3, 0.4, 0.5), "jigsaw": (0.4, 0.3, 0.4)}
    text = section(judged(curves, THREE, seeds=3))
    assert "At the end the methods of 3 of 3 pairs differ" in text
    assert (
        "the 3 methods at a snapshot and at the end (1: the same, -1: reversed): -1.00 at 25 %, 1.00 at 50 %." in text
    )


@pytest.mark.parametrize("share", [0.4, 0.95])
def test_equal_work_is_warned_of_with_the_pair_and_the_work(share):
    """Rotation has twice the work per image of simclr, so that it is judged at half of its budget."""
    dear = {"rotation": {"training_multiply_adds": 26_000_000}}
    curves = {"rotation": (0.3, 0.4, 0.6), "simclr": (0.3, share * 0.5, 0.5)}
    text = section(judged(curves, **dear))
    assert (
        "**Equal work would change the order:** rotation's encoder is above simclr's encoder at 32,000 images each, "
        "and below it at 416 G multiply-adds each (k-NN on validation, interpolated)." in text
    )
    plain = section(judged({**curves, "simclr": (0.2, 0.25, 0.3)}, **dear))
    assert "Equal work would" not in plain
    swav = section(judged(curves, rotation={"training_multiply_adds": 13_000_000 * 8}))
    assert (
        "Not compared at equal work: simclr and rotation; this needs a smaller share in `pretrain.snapshots`." in swav
    )


def test_one_method_or_no_labels_or_no_curves_have_their_words():
    assert section(judged({"simclr": UP}, {"simclr": 0.7, "random": 0.5})) == ""
    none = judged({})
    assert section(none).startswith("Not known: fewer than two methods have a learning curve (`pretrain.snapshots`).")
    assert learning.figure(none, styles(none.rows)) is None
    assert learning.curves_csv(none).splitlines() == ["name,images_seen,total_gmacs,accuracy,error,colour"]
    made = [unlabelled(run) for run in runs(ACCURACIES, n=100)]
    blind = compare(made, PARAMS)
    assert "There are no learning curves either" in recommendation_md(blind)
    assert 'id="curves"' not in report_html(blind, made, recommendation_md(blind))


def test_the_figure_has_a_line_for_every_row_and_a_ring_for_every_crossing():
    results = judged({"simclr": UP, "rotation": FLAT, "supervised": (0.5, 0.7, 0.8)})
    looks = styles(results.rows)
    (turn,) = results.curves.turns
    assert learning.crossings(results) == [f"simclr passes rotation at about {turn.images:,.0f} images"]
    drawn = learning.figure(results, looks)
    for name in ("simclr", "rotation", "supervised"):
        assert f">{name}</text>" in drawn
    assert "stroke: var(--ink)" in drawn
    assert "stroke: var(--ink)" not in learning.figure(judged({"simclr": UP}), looks)
    answer = recommendation_md(results)
    assert "## Is the order settled?\n\n**Settled.** " in answer
    page = report_html(results, with_curves(runs(ACCURACIES, n=100), {}), answer)
    assert f"Rings: simclr passes rotation at about {turn.images:,.0f} images." in page
    assert "validation k-NN (%)" in page


def test_with_a_budget_of_work_the_axis_and_the_crossings_are_of_work():
    given = {name: {"budget_multiply_adds": 4e11} for name in ACCURACIES}
    results = judged({"simclr": UP, "rotation": FLAT}, **given)
    (turn,) = results.curves.turns
    assert learning.crossings(results) == [f"simclr passes rotation at about {turn.work / 1e9:,.0f} G multiply-adds"]
    assert "G multiply-adds" in learning.figure(results, styles(results.rows))
    assert "At equal images instead of equal work no order would turn" in section(results)


def test_the_table_has_every_moment():
    lines = list(csv.DictReader(io.StringIO(learning.curves_csv(judged({"simclr": UP, "rotation": FLAT})))))
    assert [line["name"] for line in lines] == ["simclr"] * 3 + ["rotation"] * 3
    assert [float(line["accuracy"]) for line in lines[:3]] == list(UP)
    assert [line["images_seen"] for line in lines[:3]] == ["8000", "16000", "32000"]
    assert float(lines[2]["total_gmacs"]) == 416.0
    np.testing.assert_allclose([float(line["error"]) for line in lines[:1]], np.sqrt(0.3 * 0.7 / 1000), rtol=0.01)
