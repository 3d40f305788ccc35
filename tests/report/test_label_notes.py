"""Notes to the columns for few labels: below the tables, and in the recommendation."""

from dataclasses import replace

import pytest

from pretextbench.compare.comparison import compare
from pretextbench.params import Compare
from pretextbench.report.html import report_html
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_md
from tests.compare.fakes import runs

PARAMS = Compare(resamples=200)
PLAIN = {"simclr": 0.75, "rotation": 0.64, "random": 0.52, "supervised": 0.85}


@pytest.fixture(scope="module")
def plain():
    return runs(PLAIN)


def texts(results):
    """Leaderboard, recommendation and page."""
    comparison = compare(results, PARAMS)
    recommendation = recommendation_md(comparison)
    return leaderboard_md(comparison), recommendation, report_html(comparison, results, recommendation, None, None, {})


def test_a_choice_that_the_labels_could_not_make_is_noted(plain):
    budgets = plain[0].metrics["budgets"]
    fixed = {**budgets, "1%": {**budgets["1%"], "fixed": "3 labels are too few; the last layer was fixed"}}
    changed = [replace(run, metrics={**run.metrics, "budgets": fixed}) for run in plain]
    for with_note, without in zip(texts(changed), texts(plain), strict=True):
        assert "1 % labels: 3 labels are too few; the last layer was fixed." in with_note
        assert "too few; the last layer" not in without
