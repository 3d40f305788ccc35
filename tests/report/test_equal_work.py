"""A comparison of equal work: it is no comparison of unequal budgets, and every text says what was equal."""

import csv
import io
import re
from dataclasses import replace

import pytest

from pretextbench.errors import UserError
from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.report.cost_figure import costs
from pretextbench.report.html import report_html
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.svg import styles
from pretextbench.report.tables import leaderboard_csv, leaderboard_md
from tests.ranking.fakes import runs

PARAMS = Compare(resamples=200)


@pytest.fixture(scope="module")
def plain():
    return runs({"simclr": 0.75, "rotation": 0.64, "random": 0.52, "supervised": 0.85})


def table(comparison):
    return {line["name"]: line for line in csv.DictReader(io.StringIO(leaderboard_csv(comparison)))}


def of_equal_work(plain, **budgets):
    """Runs whose images differ as their work per image does; `budgets` of some rows are other ones."""
    images = {"simclr": 32_000, "rotation": 16_000, "supervised": 64_000, "random": 0}
    cost = {"simclr": 10**7, "rotation": 2 * 10**7, "supervised": 5 * 10**6, "random": 0}
    return [
        replace(r, images_seen=images[r.name], training_multiply_adds=cost[r.name], budget_multiply_adds=given)
        for r in plain
        for given in [budgets.get(r.name, 3.2e11)]
    ]


def test_rows_of_one_budget_of_work_are_ranked_whatever_they_have_seen(plain):
    results = compare(of_equal_work(plain), PARAMS)
    assert (results.work, results.unequal) == (3.2e11, False)
    board, text = leaderboard_md(results), recommendation_md(results)
    assert "Budget: equal work. Every training was given 3.2e+11 multiply-adds" in board
    assert "different numbers of images**" not in board + text
    assert "twice the budget (`pretrain.multiply_adds`)" in text
    assert {float(line["total_gmacs"]) for name, line in table(results).items() if name != "random"} == {320.0}
    page = report_html(results, plain, text)
    assert "3.2e+11 multiply-adds in each pretraining, up to 64,000 images seen" in page
    assert compare(plain, PARAMS).work is None
    assert "Budget: equal work" not in leaderboard_md(compare(plain, PARAMS))


@pytest.mark.parametrize("other", [None, 1e12])
def test_rows_of_other_budgets_are_refused(plain, other):
    with pytest.raises(UserError, match=r"budgets differ.*`pretrain.multiply_adds`, or set"):
        compare(of_equal_work(plain, rotation=other), PARAMS)


def test_there_is_a_front_for_time_and_one_for_work(plain):
    """Rotation is the faster of the two here and has more work per image."""
    fast = [replace(r, seconds=1.0) if r.name == "rotation" else r for r in plain]
    costly = [replace(r, training_multiply_adds=10**9) if r.name == "rotation" else r for r in fast]
    results = compare(costly, PARAMS)
    assert (results.front, results.work_front) == (("random", "rotation", "simclr"), ("random", "simclr"))
    flags = {name: (line["on_cost_front"], line["on_work_front"]) for name, line in table(results).items()}
    assert (flags["rotation"], flags["simclr"]) == (("1", "0"), ("1", "1"))
    drawn = {word: figure for word, _, figure in costs(results, styles(results.rows))}
    hollow = {word: len(re.findall(r"fill: var\(--paper\)", figure)) for word, figure in drawn.items()}
    assert hollow["multiply-adds"] > hollow["time"] > 0, "supervised alone is off the front of time"
    assert "in both multiply-adds and accuracy (random, simclr)" in report_html(results, costly, "# ")
