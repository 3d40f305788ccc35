"""References and untouched start weights: ranked, and in no test and no sentence of methods."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from pretextbench.params import Compare
from pretextbench.ranking.comparison import Comparison, compare
from pretextbench.ranking.protocols import LINEAR
from pretextbench.ranking.runs import read
from pretextbench.report.html import Appendix
from pretextbench.report.output import write
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_csv, leaderboard_md
from tests.ranking.fakes import on_disk, runs

PARAMS = Compare(resamples=1000)
RATES = {"simclr": 0.75, "rotation": 0.64, "random": 0.52, "wide": 0.9}


def with_reference(rates=RATES, **options):
    """Runs of which `wide` is a reference: another encoder, one seed, never trained."""
    idle = {"kind": "reference", "encoder": "timm/wide", "images_seen": 0, "seconds": 0.0, "views": 0}
    made = runs(rates, **options)
    return [replace(r, **idle) if r.name == "wide" else r for r in made if r.name != "wide" or r.seed == 0]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(with_reference(), PARAMS)


def test_a_reference_is_ranked_with_its_interval_and_no_letter(comparison: Comparison) -> None:
    assert [row.name for row in comparison.rows] == ["wide", "simclr", "rotation", "random"]
    assert [row.letters for row in comparison.rows] == ["", "a", "", ""]
    line = next(csv.DictReader(io.StringIO(leaderboard_csv(comparison))))
    assert (line["name"], line["kind"], line["tie_group"]) == ("wide", "reference", "")
    assert float(line["linear_low"]) < float(line["linear"]) < float(line["linear_high"])
    assert "wide (reference)" in leaderboard_md(comparison)


def test_a_reference_changes_no_number_of_the_others(comparison: Comparison) -> None:
    """One family of tests per encoder: the p values are corrected for the pairs of the others alone."""
    without = compare([run for run in with_reference() if run.name != "wide"], PARAMS)
    for protocol, verdict in without.verdicts.items():
        same = comparison.verdicts[protocol]
        assert same.names == verdict.names
        np.testing.assert_array_equal(same.judgement.corrected, verdict.judgement.corrected)
        np.testing.assert_array_equal(same.judgement.low, verdict.judgement.low)
    assert without.agreements == comparison.agreements
    assert without.front == comparison.front


def test_a_reference_may_have_one_seed_and_no_budget() -> None:
    ranked = compare(with_reference(seeds=3), PARAMS)
    assert {row.name: len(row.seeds) for row in ranked.rows} == {"wide": 1, "simclr": 3, "rotation": 3, "random": 3}
    assert "seeds per row: 3." in leaderboard_md(ranked)


def test_the_advice_on_seeds_is_about_the_trained_rows() -> None:
    results = [run if run.kind == "reference" else replace(run, seed=5) for run in with_reference()]
    assert "`compare.seeds: [5, 6, 7]`" in recommendation_md(compare(results, PARAMS))


def test_the_words_name_its_architecture_and_recommend_a_method(comparison: Comparison) -> None:
    text = recommendation_md(comparison)
    assert text.index("**Provisional: simclr's encoder did best here") < text.index(
        "## Encoders of others, as they are"
    )
    assert "- wide (timm/wide, 312,000 parameters, 6 million multiply-adds per image): " in text
    assert "above wide" not in text
    assert "below wide" not in text


@pytest.mark.parametrize(
    ("rate", "answer"), [(0.45, "is shown to help with simclr"), (0.9, "not shown to help: use the start weights")]
)
def test_continued_training_is_held_against_the_start_weights(rate: float, answer: str) -> None:
    results = runs({"simclr": 0.75, "rotation": 0.6, "untouched": rate}, seeds=3)
    idle = {"kind": "control", "images_seen": 0, "seconds": 0.0}
    ranked = compare([replace(r, **idle) if r.name == "untouched" else r for r in results], PARAMS)
    text = recommendation_md(ranked)
    assert answer in text.partition("## Against the start weights as they are")[2].partition("\n## ")[0]
    assert ranked.verdicts[LINEAR].p("simclr", "untouched") < 0.05


def test_start_weights_are_held_against_training_from_scratch() -> None:
    """Row by row of one method; a row from scratch is no continued training."""
    rates = {"simclr": 0.75, "plain": 0.6, "rotation": 0.65, "untouched": 0.55}
    own = {"plain": {"method": "simclr", "from_scratch": True}}
    idle = {"kind": "control", "images_seen": 0, "seconds": 0.0}
    results = [replace(r, **(own.get(r.name) or {"method": r.name})) for r in runs(rates, seeds=3)]
    text = recommendation_md(compare([replace(r, **idle) if r.name == "untouched" else r for r in results], PARAMS))
    heads, lines = "## Start weights against training from scratch", text.splitlines()
    (line,) = [line for line in text.partition(heads)[2].partition("\n## ")[0].splitlines() if line]
    assert line.startswith("- simclr is ")
    assert re.search(r"points above plain, from scratch \(p (=|<) 0\.00\d after correction\)", line)
    continued = text.partition("## Against the start weights as they are")[2].partition("\n## ")[0]
    assert "shown to help with simclr or rotation." in continued
    assert not any(line.startswith("- plain is") for line in continued.splitlines())
    assert heads in lines


def test_the_page_shows_it_and_it_comes_back_from_disk(comparison: Comparison, tmp_path) -> None:
    results = with_reference()
    again = read(tmp_path, [on_disk(run, tmp_path) for run in results])
    assert {run.name: run.kind for run in again}["wide"] == "reference"
    write(compare(again, PARAMS), again, tmp_path / "reports", Appendix())
    page = (tmp_path / "reports/report.html").read_text()
    assert '<span class="tag">reference</span>' in page
