"""Tuning in the report: what was tried, gained and spent, in a sentence, a table, a figure and the CSV file."""

import csv
from dataclasses import replace

import pytest

from pretextbench.params import Compare
from pretextbench.ranking.comparison import Comparison, compare
from pretextbench.report import tuning
from pretextbench.report.html import report_html
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_csv
from pretextbench.tune.summary import Row, Summary
from tests.ranking.fakes import runs, unlabelled

OWN = Row(0, {"optimizer.lr": 0.006}, (0.40, 0.42), 400, 10.0, "finished", "", False)
BEST = Row(1, {"optimizer.lr": 0.018}, (0.41, 0.45), 400, 11.0, "finished", "", True)
WORSE = Row(2, {"optimizer.lr": 0.002}, (0.3,), 100, 3.0, "stopped", "", False)
LOST = Row(3, {"optimizer.lr": 6.0}, (), 20, 1.0, "lost", "Method 'simclr' diverged", False)
TUNED = Summary("", {"optimizer.lr": 0.018}, 0.03, (OWN, BEST, WORSE, LOST))
KEPT = Summary("", {}, 0.0, (OWN, replace(BEST, chosen=False), WORSE, LOST))
UNLABELLED = Summary("there are no labels", {}, None)
ALL_LOST = Summary("all trials were lost", {}, None, (LOST,) * 4)


def compared(tried: dict[str, Summary], labelled: bool = True) -> Comparison:
    few = runs({"simclr": 0.7, "rotation": 0.6, "random": 0.4, "supervised": 0.8}, n=200)
    return replace(compare(few if labelled else [unlabelled(run) for run in few], Compare(resamples=50)), tuning=tried)


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ({}, "Nothing was tuned: each method has its default parameters, or those of `methods` in `params.yaml`"),
        (
            {"simclr": TUNED, "rotation": KEPT},
            "Each method was tuned on validation with 4 trials, which saw 920 images in all and took 25 s, and gained",
        ),
        (
            {"simclr": TUNED, "rotation": TUNED},
            "took 25 s, and gained 3.0 points there. Trained controls were not tuned.",
        ),
        (
            {
                "simclr": TUNED,
                "rotation": Summary("methods.rotation in params.yaml sets all that is searched", {}, None),
            },
            "25 s, and gained 3.0 points there. Kept its own parameters: rotation (methods.rotation",
        ),
        (
            {"simclr": UNLABELLED, "rotation": UNLABELLED},
            "Nothing was tuned, because there are no labels: each method has its own parameters.",
        ),
        (
            {"simclr": ALL_LOST, "rotation": TUNED},
            "3.0 points there. Kept its own parameters: simclr (all trials were lost).",
        ),
    ],
)
def test_the_recommendation_says_how_parameters_were_chosen(tried: dict[str, Summary], expected: str) -> None:
    text = recommendation_md(compared(tried))
    assert f"## Equal chances\n\n{expected}" in text or expected in text.partition("## Equal chances")[2]
    assert "`tune.trials`" in text or tried, "an untuned comparison says how to tune"


def test_without_labels_too() -> None:
    assert "Nothing was tuned, because there are no labels" in recommendation_md(
        compared({"simclr": UNLABELLED, "rotation": UNLABELLED}, labelled=False)
    )


def test_without_labels_tuning_is_not_offered() -> None:
    text = recommendation_md(compared({}, labelled=False))
    assert "Tuning needs labels" in text
    assert "tune.trials" not in text


def test_the_leaderboard_has_the_cost_of_tuning() -> None:
    rows = {row["name"]: row for row in csv.DictReader(leaderboard_csv(compared({"simclr": TUNED})).splitlines())}
    columns = ("tuning_trials", "tuning_images", "tuning_seconds", "tuning_gain")
    assert [rows["simclr"][name] for name in columns] == ["4", "920", "25.0", "0.03"]
    assert [rows["supervised"][name] for name in columns] == ["0", "0", "0.0", ""]


def test_the_page_draws_the_trials_and_names_what_was_chosen() -> None:
    comparison = compared({"simclr": TUNED, "rotation": ALL_LOST})
    few = runs({"simclr": 0.7, "rotation": 0.6, "random": 0.4, "supervised": 0.8}, n=200)
    page = report_html(comparison, few, recommendation_md(comparison))
    section = page.partition('<section id="tuning">')[2].partition("</section>")[0]
    cells = "optimizer.lr 0.018</td><td>3.0</td><td>4</td><td>1</td><td>920</td><td>25</td>"
    assert cells in section
    assert "its own: all trials were lost" in section
    assert section.count("<svg") == 1, "of rotation there is nothing to draw"
    assert "Accuracy on validation of each trial of simclr, by round" in section
    plain = report_html(compared({}), few, recommendation_md(comparison))
    assert 'id="tuning"' not in plain


def test_the_figure_shows_every_trial_that_has_a_score() -> None:
    section = tuning.section(compared({"simclr": TUNED}), {"simclr": _look()})
    assert section is not None
    assert section["figures"]["simclr"].count("<path") > 3


def _look():
    from pretextbench.report.svg import Style

    return Style("hue0", "text0")
