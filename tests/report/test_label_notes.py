"""Notes to the columns for few labels: below the tables, and in the recommendation."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest

from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.report.html import report_html
from pretextbench.report.label_notes import MARK
from pretextbench.report.output import budgets_csv
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_csv, leaderboard_md
from tests.ranking.fakes import runs

PARAMS = Compare(resamples=200)
PLAIN = {"simclr": 0.75, "rotation": 0.64, "random": 0.52, "supervised": 0.85}


@pytest.fixture(scope="module")
def plain():
    return runs(PLAIN)


def texts(results):
    """Leaderboard, recommendation and page."""
    comparison = compare(results, PARAMS)
    recommendation = recommendation_md(comparison)
    return leaderboard_md(comparison), recommendation, report_html(comparison, results, recommendation)


def test_a_choice_that_the_labels_could_not_make_is_noted(plain):
    budgets = plain[0].metrics["budgets"]
    fixed = {**budgets, "1%": {**budgets["1%"], "fixed": "3 labels are too few; the last layer was fixed"}}
    changed = [replace(run, metrics={**run.metrics, "budgets": fixed}) for run in plain]
    for with_note, without in zip(texts(changed), texts(plain), strict=True):
        assert "1 % labels: 3 labels are too few; the last layer was fixed." in with_note
        assert "too few; the last layer" not in without


def cells(table):
    """Row -> heading -> cell of the leaderboard."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}


def test_numbers_that_took_all_labels_are_marked_where_few_were_granted(plain):
    board, _, page = texts(plain)
    marked = {(row, heading) for row, line in cells(board).items() for heading, cell in line.items() if MARK in cell}
    assert marked == {("supervised (control)", "1 % labels %"), ("supervised (control)", "10 % labels %")}
    assert f"{MARK} The encoder of supervised was trained with all labels" in board
    assert "was not run: `evaluate.scratch` names the budgets" in board
    assert "The encoder of supervised was trained with all labels" in page
    assert f"supervised {MARK}" in page, "in the figure"
    comparison = compare(plain, PARAMS)
    notes = {line["name"]: line["notes"] for line in csv.DictReader(io.StringIO(leaderboard_csv(comparison)))}
    assert {name for name, note in notes.items() if "trained with all labels" in note} == {"supervised"}
    curve = csv.DictReader(io.StringIO(budgets_csv(comparison, plain)))
    assert {line["name"] for line in curve if line["note"]} == {"supervised"}


def test_no_sentence_compares_the_supervised_control_at_few_labels(plain):
    few = recommendation_md(compare(plain, PARAMS)).split("## With few labels")[1].split("##")[0]
    assert "simclr" in few
    assert "supervised" not in few


def test_without_a_row_that_took_all_labels_nothing_is_marked(plain):
    board, recommendation, page = texts([run for run in plain if run.name != "supervised"])
    assert not any(MARK in text for text in (board, recommendation, page))


def with_scratch(results):
    """The runs of `random` with predictions of the network trained on the 60 labels of 1 %: half of them right."""
    changed = []
    for run in results:
        if run.name == "random":
            label = run.predictions["label"]
            half = np.where(np.arange(len(label)) % 2 == np.arange(3)[:, None] % 2, label, (label + 1) % 10)
            metrics = {**run.metrics, "scratch": {"1%": {"labels": 60, "top1": 0.5}, "10%": {"reason": "diverged"}}}
            run = replace(run, metrics=metrics, predictions={**run.predictions, "scratch.1%": half})
        changed.append(run)
    return changed


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_network_trained_on_the_few_labels_alone_has_a_line(seeds):
    results = with_scratch(runs(PLAIN, seeds=seeds))
    board, recommendation, page = texts(results)
    line = cells(board)["from scratch"]
    assert line["1 % labels %"] == "50.0"
    assert {cell for heading, cell in line.items() if heading not in ("", "1 % labels %")} == {""}
    assert "`from scratch`: the same network, not pretrained" in board
    assert "was not run" not in board
    assert re.search(
        r"1 % labels \(60 labels\): .*; the same network trained from scratch on .* 50\.0 % \(", recommendation
    )
    assert not re.search(r"10 % labels.*from scratch", recommendation)
    assert page.count("from scratch</th>") == 2
    assert "from scratch</text>" in page, "in the figure"
    curve = csv.DictReader(io.StringIO(budgets_csv(compare(results, PARAMS), results)))
    (last,) = (line for line in curve if line["name"] == "from scratch")
    assert (last["labels"], float(last["accuracy"])) == ("60", 0.5)
    assert float(last["low"]) < 0.5 < float(last["high"])


def test_the_line_moves_no_other_number(plain):
    with_line, without = (compare(results, PARAMS) for results in (with_scratch(plain), plain))
    assert leaderboard_csv(with_line) == leaderboard_csv(without)
