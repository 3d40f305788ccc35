"""What the report leaves out: a section without data is absent, a cell without a number says why."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pretextbench.report.sentences import points
from tests.ranking.fakes import runs, unlabelled
from tests.ranking.page import PLAIN, Page, report

BEYOND = ("robustness", "retrieval", "transfer", "finetune")  # parts that not every evaluation has


def test_sections_without_data_are_absent():
    results = [replace(run, metrics={k: v for k, v in run.metrics.items() if k not in BEYOND}) for run in runs(PLAIN)]
    for run in results:
        run.metrics["linear"]["layers"] = {
            k: {**v, "test": {**v["test"], "per_class": []}} for k, v in run.metrics["linear"]["layers"].items()
        }
    there = set(filter(None, Page(report(results)).sections))
    assert there == {"board", "reasons", "pairs", "labels", "cost", "others", "layers", "labelfree", "more"}


def test_without_labels():
    results = [unlabelled(run) for run in runs(PLAIN)]
    page = Page(report(results))
    assert set(filter(None, page.sections)) == {"board", "more"}
    assert "Open: no recommendation, because no training image has a label." in page.sections[None]
    assert "RankMe" in page.sections["board"]
    assert "linear probe" not in page.sections["board"]


def test_a_row_without_predictions_says_why():
    results = [
        replace(run, predictions={}, missing="predictions.npz is gone") if run.name == "rotation" else run
        for run in runs(PLAIN)
    ]
    page = Page(report(results))
    for section in ("board", "others", "more"):
        assert "predictions.npz is gone" in page.sections[section]
    assert "rotation" not in page.sections["pairs"]
    gone = [replace(run, predictions={}, missing="gone") for run in results]
    assert "No accuracies: no row has predictions" in Page(report(gone)).sections["board"]


def test_a_budget_that_could_not_be_granted_says_why():
    poor = []
    for run in runs(PLAIN):
        predicted = {key: value for key, value in run.predictions.items() if key not in ("budget.1%", "finetune.100%")}
        budgets = {"1%": {"top1": None, "reason": "class 2 has 3"}, "10%": {"labels": 600, "top1": 0.5}}
        metrics = {**run.metrics, "budgets": budgets, "finetune": {"100%": {"reason": "no time"}}}
        poor.append(replace(run, predictions=predicted, metrics=metrics))
    page = Page(report(poor))
    assert page.sections["board"].count("class 2 has 3") == 4
    assert page.sections["others"].count("no time") == 4
    assert "class 2" not in page.sections["others"]
    assert "labels" not in page.sections


def test_a_difference_is_that_of_the_numbers_shown():
    """56.249 and 51.151 are shown as 56.2 and 51.2: 5.0 points, and not 5.1."""
    verdict = SimpleNamespace(accuracy={"a": 0.56249, "b": 0.51151}.get)
    assert points(verdict, "a", "b") == pytest.approx(5.0)


def test_one_method():
    there = set(filter(None, Page(report(runs({"simclr": 0.7}))).sections))
    assert {"board", "labels", "layers", "classes"} <= there
    assert not {"pairs", "cost"} & there


def test_without_a_table_in_the_metrics_mistakes_are_counted_from_predictions():
    results = runs(PLAIN, classes=1200, n=2400)
    for run in results:
        run.metrics["linear"]["layers"]["layer3"]["test"]["per_class"] = [0.5] * 1200
        label = run.predictions["label"]
        label[:] = np.arange(2400) % 1200
        run.predictions["linear.layer3"] = np.where(label == 7, 3, label)
    classes = Page(report(results)).sections["classes"]
    assert "class7 for class3 (100 %)" in classes
    assert "Confusion matrices are left out" in classes


def test_many_classes_are_cut_to_those_that_differ_most():
    results = runs(PLAIN, classes=120)
    for run in results:
        spread = np.where(np.arange(120) % 12 == 5, 0.5 if run.name == "simclr" else 0.1, 0.3).tolist()
        run.metrics["linear"]["layers"]["layer3"]["test"]["per_class"] = spread
        run.predictions["linear.layer3"] = run.predictions["label"]  # no mistakes: their classes would be named too
    page = Page(report(results))
    classes = page.sections["classes"]
    assert re.findall(r"class(\d+)", classes) == [str(i) for i in range(120) if i % 12 == 5]
    assert "the 10 classes of 120" in classes
    assert "Confusion matrices are left out" in classes
    assert sum(tag == "rect" for tag, _ in page.tags) < 60
