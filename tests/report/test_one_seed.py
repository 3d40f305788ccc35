"""With one seed per row every text is about these encoders; with several it is about the methods."""

import re

import pytest

from pretextbench.ranking.comparison import compare
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_md
from tests.ranking.fakes import runs
from tests.ranking.page import PARAMS, PLAIN, Page, report

CLAIM = re.compile(r"\b(use|leads|beats|best|better|above|below|distinguished|shaded|worth|recommend\w*)\b", re.I)
ABOUT_ENCODERS = re.compile(r"\b(encoders?|seeds?|controls?|share a letter|budget|largest|class(es)?)\b", re.I)
NOT_SHOWN = "1 seed, so the method is not yet shown to be better"


def sentences(text):
    """Of prose and lists, without tables."""
    lines = [line for line in text.splitlines() if not line.startswith(("|", "#"))]
    return [sentence for line in lines for sentence in re.split(r"(?<=[.;])\s+", line) if sentence.strip("-* ")]


def claims(text):
    """The sentences that compare rows and do not say that they mean encoders."""
    return [line for line in sentences(text) if CLAIM.search(line) and not ABOUT_ENCODERS.search(line)]


@pytest.mark.parametrize("seed", range(3))
def test_of_two_equal_methods_no_sentence_claims_a_method(seed):
    """Methods of equal worth, whose seeds differ: the two encoders are often distinguished, the methods never."""
    results = runs({"simclr": 0.6, "rotation": 0.6, "random": 0.3}, n=2000, seed=seed, seed_sd=0.3)
    comparison = compare(results, PARAMS)
    answer, board = recommendation_md(comparison), leaderboard_md(comparison)
    page = Page(report(results, comparison))
    for text in (answer, board, page.sections["board"].partition("Shaded")[2], page.sections["reasons"]):
        assert not claims(text), claims(text)
        assert "Use " not in text
    assert NOT_SHOWN in answer
    assert "compare.seeds: [0, 1, 2]" in answer.partition("\n## ")[0]
    assert NOT_SHOWN in page.sections[None].replace("\u00a0", " ")
    assert board.splitlines()[2].startswith("**One seed per row: this ranks these encoders, not the methods.**")


def test_the_seeds_above_differ_enough_to_tell_equal_methods_apart():
    leads = []
    for seed in range(6):
        results = runs({"simclr": 0.6, "rotation": 0.6, "random": 0.3}, n=2000, seed=seed, seed_sd=0.3)
        leads.append(recommendation_md(compare(results, PARAMS)).splitlines()[2].split(";")[0])
    assert {"encoder did best here" in lead for lead in leads} == {True, False}
    assert {"cannot be distinguished here" in lead for lead in leads} == {True, False}


@pytest.mark.parametrize(
    ("accuracies", "texts"),
    [
        (PLAIN, f"**Provisional: simclr's encoder did best here; {NOT_SHOWN}.**"),
        (PLAIN, "simclr's encoder is "),
        (PLAIN, "points above rotation's encoder, the next one (p"),
        ({**PLAIN, "supervised": 0.5}, "The best encoder without labels beats it"),
        (
            {"simclr": 0.5, "rotation": 0.5, "random": 0.52},
            "**Open: no encoder is shown to be better than an untrained one.**",
        ),
        ({"simclr": 0.7}, "**Provisional: simclr is the only method here.**"),
    ],
)
def test_the_answer_of_one_seed(accuracies, texts):
    assert texts in recommendation_md(compare(runs(accuracies, n=2000), PARAMS))


def test_advice_keeps_the_seed_that_is_there():
    results = runs(PLAIN)
    for run in results:
        object.__setattr__(run, "seed", 7)
    assert "compare.seeds: [7, 8, 9]" in recommendation_md(compare(results, PARAMS))


def test_several_seeds_speak_of_methods():
    results = runs(PLAIN, seeds=3, n=2000)
    comparison = compare(results, PARAMS)
    answer, page = recommendation_md(comparison), Page(report(results, comparison))
    assert "**Shown: use simclr.**" in answer
    assert "encoder did best" not in answer
    assert "compare.seeds" not in answer
    assert "One seed" not in leaderboard_md(comparison)
    assert "Shaded: the method to use." in page.sections["board"]
