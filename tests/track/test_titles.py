"""Titles of metrics: known ones for each measure, few per run, with characters that MLflow accepts."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pretextbench.base.measure import MEASURES
from pretextbench.track import stage_records, titles

ACCEPTED = re.compile(r"[\w\-. /]+")


def evaluation(task: str) -> dict[str, Any]:
    """Metrics of an evaluation with every protocol, as metrics.json has them."""
    key = MEASURES[task].key
    probe = {"best": "layer2", "last": "layer3"}
    probe["layers"] = {"layer2": {"val": 0.9, "test": {key: 0.5}}, "layer3": {"val": 0.1, "test": {key: 0.7}}}
    return {
        **{"labelled": True, "linear": probe, "knn": probe, "task": {"name": task}},
        "budgets": {"5": {key: 0.1, "labels": 50}, "10%": {key: 0.2, "labels": 60}, "1%": {key: None, "reason": "few"}},
        "finetune": {"10%": {key: 0.3}},
        "robustness": {"clean": 0.5, "mean": [0.4, 0.2], "corruptions": {"noise": [0.4, 0.2]}},
        "labelfree": {"stage": "layer3", "rankme": 40.0, "alignment": 0.1, "uniformity": -1.0, "feature_std": 0.5},
    }


def test_the_titles_of_classes() -> None:
    assert titles.evaluation(evaluation("class")) == {
        "Linear probe accuracy": 0.5,  # of the layer that validation chose
        "k-NN accuracy": 0.5,
        "Accuracy with 5 labels per class": 0.1,
        "Accuracy with 10 pct labels": 0.2,
        "Fine-tuned accuracy with 10 pct labels": 0.3,
        "Accuracy on corrupted images": pytest.approx(0.3),
        "Effective rank of the features": 40.0,
    }


@pytest.mark.parametrize(
    ("task", "linear", "few"),
    [
        ("number", "Linear probe R2", "R2 with 10 pct labels"),
        ("multi-label", "Linear probe mAP", "mAP with 10 pct labels"),
        ("mask", "Linear probe mean IoU", "Mean IoU with 10 pct labels"),
    ],
)
def test_the_titles_name_the_measure_of_the_task(task: str, linear: str, few: str) -> None:
    named = titles.evaluation(evaluation(task))
    assert (named[linear], named[few]) == (0.5, 0.2)
    assert not [title for title in named if "ccuracy" in title]


def test_without_labels_there_are_the_label_free_measures() -> None:
    free = {"labelled": False, "reason": "no labels", "labelfree": {"rankme": 3, "alignment": 0.1, "uniformity": -1.0}}
    assert list(titles.evaluation(free)) == ["Effective rank of the features", "Alignment", "Uniformity"]


@pytest.mark.parametrize("task", MEASURES)
def test_a_run_has_few_charts_of_one_bar(task: str, trained: Path, evaluated: Path) -> None:
    default = ["5", "20", "1%", "10%"]
    metrics = evaluation(task) | {"retrieval": {"map": 0.5}}
    metrics["budgets"] = {budget: {MEASURES[task].key: 0.1} for budget in default}
    (evaluated / "metrics.json").write_text(json.dumps(metrics))
    pretrained, judged = stage_records.pretrained(trained, trained), stage_records.evaluated(evaluated, trained)
    numbers = pretrained.metrics | judged.metrics
    assert len(numbers) == len(pretrained.metrics) + len(judged.metrics) <= 15
    assert all(ACCEPTED.fullmatch(title) for title in numbers)
    assert judged.measure == task


def test_the_memory_is_that_of_the_device_where_there_is_one() -> None:
    card = {"seconds": 1, "images_per_second": 2, "peak_memory_bytes": 2**20, "parameters": 5}
    assert titles.cost(card | {"peak_device_memory_bytes": 0})["Peak memory in MiB"] == 1
    assert titles.cost(card | {"peak_device_memory_bytes": 2**21})["Peak memory in MiB"] == 2


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("train/loss", "Training/Loss"),
        ("train/lr", "Training/Learning rate"),
        ("train/images_per_second", "Training/Images per second"),
        ("train/seconds", None),
        ("train/images", None),
        ("health/projection_std", "Training health/Projection std"),
        ("health/a:b", "Training health/A_b"),
        ("monitor/knn", "Training/k-NN on validation"),
        ("system/cpu", "system/cpu"),
        ("k-NN on validation", "k-NN on validation"),
    ],
)
def test_the_titles_of_curves(name: str, title: str | None) -> None:
    assert titles.curve(name) == title


def test_a_part_of_a_loss_has_a_curve_of_its_own() -> None:
    assert titles.curve("monitor/knn") == f"Training/{titles.VALIDATION}"
    assert titles.curve("train/knn") == "Training/Knn"
    assert titles.curve("train/lr") == "Training/Learning rate"


def test_without_labels_no_seed_is_the_best(tmp_path: Path) -> None:
    for name, metrics in {"simclr-0": {}, "simclr-1": evaluation("class")}.items():
        (tmp_path / name).mkdir()
        card = {"method": "simclr", "control": False, "row": "", "seed": name[-1]}
        (tmp_path / name / "encoder.json").write_text(json.dumps(card))
        (tmp_path / name / "metrics.json").write_text(json.dumps(metrics))
    assert stage_records.chosen([tmp_path / "simclr-0"]) == {}
    assert [card["seed"] for card in stage_records.chosen(sorted(tmp_path.iterdir())).values()] == ["1"]
