"""The first lines: what is shown, provisional or open, and rows to look at twice."""

from dataclasses import replace

import numpy as np
import pytest

from pretextbench.ranking.comparison import compare
from pretextbench.ranking.pick import expected_anew
from pretextbench.ranking.protocols import LINEAR
from pretextbench.report.headline import headline
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.sections import winners
from pretextbench.report.tables import percent
from tests.ranking.fakes import runs
from tests.ranking.page import PARAMS

TIED = {"simclr": 0.655, "rotation": 0.65, "random": 0.3}
CLEAR = {"simclr": 0.75, "rotation": 0.64, "random": 0.5}


def start(accuracies, seeds=3, **changes):
    """Runs in which the row `untouched` is the control of that name."""
    made = runs(accuracies, seeds=seeds, n=2000)
    return [replace(run, kind="control", images_seen=0) if run.name == "untouched" else run for run in made]


def first(results, **params):
    return headline(compare(results, PARAMS.model_copy(update=params)))[0]


@pytest.mark.parametrize(
    ("accuracies", "seeds", "lead"),
    [
        (
            CLEAR,
            1,
            "**Provisional: simclr's encoder did best here; 1 seed, so the method is not yet shown",
        ),
        (CLEAR, 2, "**Provisional: simclr did best here; 2 seeds, so the method is not yet shown to be better.**"),
        (CLEAR, 3, "**Shown: use simclr.**"),
        ({"simclr": 0.75, "rotation": 0.64}, 3, "**Provisional: use simclr.**"),  # above nothing that was not trained
        ({"simclr": 0.75, "random": 0.5}, 3, "**Shown: simclr helps, and is the only method here.**"),
        ({"simclr": 0.75, "random": 0.5}, 1, "**Provisional: simclr is the only method here.**"),
        ({"simclr": 0.5, "rotation": 0.49, "random": 0.5}, 3, "**Open: no method is shown to help.**"),
    ],
)
def test_the_first_line_names_the_tier(accuracies, seeds, lead):
    assert first(runs(accuracies, seeds=seeds, n=2000)).startswith(lead)


def test_a_tie_says_what_would_decide():
    text = first(runs(TIED, seeds=3, n=2000))
    assert text.startswith("**Provisional: use ")
    assert ": they cannot be distinguished here.**" in text
    assert "To detect the observed" in text or "no difference to detect" in text


@pytest.mark.parametrize(
    ("seeds", "cost"),
    [(1, "2 more seeds take about 3 minutes of pretraining"), (2, "1 more seed takes about 83 seconds of pretraining")],
)
def test_few_seeds_say_what_more_would_cost(seeds, cost):
    """A seed of simclr and rotation takes 82 s here."""
    text = first(runs(CLEAR, seeds=seeds, n=2000))
    assert "`compare.seeds: [0, 1, 2]`" in text
    assert cost in text
    assert "compare.seeds" not in first(runs(CLEAR, seeds=3, n=2000))


def test_where_test_contradicts_validation_nothing_is_recommended():
    results = runs(CLEAR, seeds=3, n=2000)
    for run in results:
        for layer in run.metrics["linear"]["layers"].values():
            layer["val"] = 0.9 if run.name == "rotation" else 0.5
    text = first(results)
    assert text.startswith("**Open: validation picked rotation, and on test simclr did better.**")
    assert "Use" not in text


@pytest.mark.parametrize(
    ("untouched", "lead"),
    [
        (0.76, "**Open: no method is shown to be better than the start weights. Until one is, use them as they are.**"),
        (0.6, "**Shown: use simclr.**"),
    ],
)
def test_start_weights_that_nothing_beats_are_the_answer(untouched, lead):
    assert first(start({**CLEAR, "untouched": untouched})).startswith(lead)


def test_validation_that_is_too_small_to_pick_says_so():
    results = runs(TIED, seeds=3, n=2000)
    for run in results:
        run.metrics["data"]["val"] = run.metrics["data"]["val_labelled"] = 20
    assert "20 images are too few to pick" in first(results)


@pytest.mark.parametrize(("seed", "side"), [(2, "below"), (0, "same")])
def test_a_new_pretraining_is_judged_by_seeds_that_did_not_pick(seed, side):
    made = {"simclr": 0.6, "rotation": 0.6, "jigsaw": 0.6, "random": 0.3}
    comparison = compare(runs(made, seeds=3, n=500, seed=seed, seed_sd=0.3), PARAMS)
    best, verdict, text = comparison.leader.name, comparison.verdicts[LINEAR], headline(comparison)[0]
    anew, accuracy = expected_anew(comparison.contenders, verdict.by_seed), verdict.accuracy(best)
    (low, high), lower = verdict.interval(best), max(accuracy - anew, 0)
    assert (anew < accuracy - 0.001) == (side == "below")
    said = f"a new pretraining is expected to give {percent(anew)} %." in text
    assert said == (side == "below")
    assert f"(95 % interval {percent(low - lower)} to {percent(high)})" in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_say_nothing_of_a_new_pretraining(seeds):
    assert "a new pretraining" not in first(runs(TIED, seeds=seeds, n=500, seed_sd=0.3))


def test_a_row_that_could_be_guessing_is_named():
    results = runs({"simclr": 0.75, "rotation": 0.1, "random": 0.5}, seeds=3, n=2000)
    text = recommendation_md(compare(results, PARAMS)).partition("## Rows to look at twice")[2].partition("\n## ")[0]
    largest = 100 * np.unique(results[0].predictions["label"], return_counts=True)[1].max() / 2000
    assert "- rotation: linear probe 10" in text or "- rotation: linear probe 9" in text
    assert f"always naming the largest class ({largest:.1f} %)" in text
    assert "simclr" not in text
    assert "look at twice" not in recommendation_md(compare(runs(CLEAR, seeds=3, n=2000), PARAMS))


def test_a_row_that_did_not_move_from_its_start_weights_is_named():
    results = start({**CLEAR, "untouched": 0.6})
    for run in results:
        run.metrics["labelfree"]["rankme"] = {"simclr": 31.0, "untouched": 31.0}.get(run.name, 40.0)
    text = recommendation_md(compare(results, PARAMS))
    assert "- simclr: its features equal those of the start weights" in text
    assert "- rotation: its features" not in text


def test_a_protocol_without_the_picked_method_has_no_test_of_the_others():
    plain = runs({"simclr": 0.75, "rotation": 0.64, "denoising": 0.6, "random": 0.5}, seeds=3)
    poor = [
        replace(run, predictions={k: v for k, v in run.predictions.items() if not k.startswith("robust")})
        if run.name == "simclr"
        else run
        for run in plain
    ]
    assert "(not tested: simclr has no result here)" in recommendation_md(compare(poor, PARAMS))


def test_a_pick_that_is_second_on_test_has_a_difference_to_detect():
    made = {"simclr": 0.575, "rotation": 0.57, "colorization": 0.52, "random": 0.42}
    comparison = compare(runs(made, seeds=3, n=2000, seed_sd=0.05), PARAMS)
    assert [row.name for row in comparison.rows[:2]] == ["simclr", "rotation"]
    assert comparison.leader.name == "rotation"
    gap = 100 * (comparison.cell(LINEAR, "simclr") - comparison.cell(LINEAR, "rotation"))
    sentence = f"To detect the observed {gap:.1f} points four times out of five, about "
    assert recommendation_md(comparison).count(sentence) == 2, "below the first line, and where more data is advised"


@pytest.mark.parametrize(
    ("n", "seed", "lead", "others"),
    [
        (250, 0, "use simclr or rotation: they cannot be distinguished here.", "jigsaw cannot"),
        (150, 10, "use simclr.", "rotation and jigsaw cannot"),
    ],
)
def test_a_method_that_ties_but_is_not_shown_to_help_is_not_recommended(n, seed, lead, others):
    accuracies = {"simclr": 0.66, "rotation": 0.58, "jigsaw": 0.55, "random": 0.5}
    comparison = compare(
        runs(accuracies, seeds=3, n=n, seed=seed, seed_sd=0.05), PARAMS.model_copy(update={"resamples": 300})
    )
    assert {"simclr", "rotation", "jigsaw"} == {row.name for row in comparison.tied}
    text = headline(comparison)[0]
    assert text.startswith(f"**Provisional: {lead}**")
    assert f"{others} be distinguished from simclr either, but" in text
    assert "not shown to be better than an untrained encoder." in text
    assert winners(comparison) == [name for name in ("simclr", "rotation", "jigsaw") if name in lead]
