"""The evaluation by several labels, a number and a mask: what chooses, what is kept, and the comparison of two rows."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from pretextbench.base.measure import MEASURES
from pretextbench.data.targets import Targets
from pretextbench.evaluate.evaluation import save
from pretextbench.evaluate.protocol import evaluate
from pretextbench.evaluate.subject import Snapshots, Subject
from pretextbench.params import Compare, Evaluate
from pretextbench.ranking.comparison import compare
from pretextbench.ranking.protocols import KNN, LINEAR, Protocol
from pretextbench.ranking.runs import Run
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_md
from tests.evaluate.fakes import FakeData, FakeViews, TinyEncoder
from tests.ranking.page import report

CPU = torch.device("cpu")
PARAMS = Evaluate.model_validate(
    {"budgets": ["5", "50%", "100%"], "redraws": 2, "map_images": 0, "linear_l2": [1e-3, 1e-1]}
)
NAMES = {"multi-label": ["red", "green", "blue"], "number": ["redness"], "mask": ["dark", "bright"]}
SIDE = 8


class FakeTask(FakeData):
    """Images whose labels are of a task: the colours that are strong, the amount of red, or the bright pixels."""

    def __init__(self, task, shuffled=False, grouped=False, **sizes):
        super().__init__(**sizes)
        self.task, self.classes, self.grouped = task, [], grouped
        draws = np.random.default_rng(5)
        self.values = {}
        for split, images in self._images.items():
            values = self.target(images.astype(float))
            self.values[split] = draws.permutation(values) if shuffled else values
            self._labels[split] = np.full(len(images), -1)
        self.values["train"][3] = {"multi-label": -1, "number": np.nan, "mask": 255}[task]

    def target(self, images):
        colours = images.mean((1, 2))
        if self.task == "number":
            return colours[:, 0] * 2 - colours[:, 1]
        if self.task == "multi-label":
            return (colours > np.median(colours, 0)).astype(np.int8)
        rows = np.arange(SIDE)[:, None] * 25 < colours[:, 0, None, None]  # the upper part, by the amount of red
        return np.broadcast_to(rows, images.shape[:3]).astype(np.uint8).copy()

    def targets(self, split):
        if split == "test":
            callers = {frame.f_globals["__name__"] for frame in frames()}
            assert "pretextbench.evaluate.task_scoring" in callers, "test targets are read by the scoring alone"
        return Targets(self.task, NAMES[self.task], self.values[split])

    def groups(self, split):
        return np.arange(len(self._images[split])) // 8 if self.grouped else None


def frames():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


@pytest.fixture(scope="module", params=["multi-label", "number", "mask"])
def judged(request):
    data = FakeTask(request.param)
    snapshot = TinyEncoder()
    subject = Subject(
        TinyEncoder(), PARAMS, CPU, FakeViews(data), snapshots=Snapshots([(50, snapshot)], 100), untrained=True
    )
    return data, evaluate(subject, data)


def test_the_probe_learns_and_its_measures_are_kept(judged):
    data, result = judged
    metrics, measure = result.metrics, MEASURES[data.task]
    json.dumps(metrics, allow_nan=False)
    assert metrics["task"]["name"] == data.task
    assert metrics["data"]["train_labelled"] == 119
    best = metrics["linear"]["layers"][metrics["linear"]["best"]]
    assert measure.of(best["test"]) > metrics["task"]["chance"] + 0.2
    assert measure.of(best["test"]) == pytest.approx(result.predictions[f"linear.{metrics['linear']['best']}"].mean())
    assert best["val"] == max(layer["val"] for layer in metrics["linear"]["layers"].values())
    assert 0 < best["val_error"] < 0.2
    assert set(metrics["knn"]["layers"]) == set(metrics["linear"]["layers"]) == {"one", "two", "three"}


def test_few_labels_corrupted_images_and_a_curve(judged):
    data, result = judged
    budgets, key = result.metrics["budgets"], MEASURES[data.task].key
    assert "needs one class per image" in budgets["5"]["reason"]
    assert budgets["50%"]["labels"] == 60
    assert budgets["50%"][key] == pytest.approx(result.predictions["budget.50%"].mean())
    assert budgets["50%"][key] > result.metrics["task"]["chance"] + 0.1
    assert result.predictions["budget.100%"].shape == (1, 80)
    robust = result.metrics["robustness"]
    assert set(robust["corruptions"]) == {"bright", "mirror"}
    assert result.predictions[f"robust.{robust['layer']}.bright"].shape == (2, 27)
    curve = result.metrics["curve"]
    assert curve["seen"] == [50, 100]
    assert curve["layers"]["two"][0] == pytest.approx(curve["layers"]["two"][1]), "the snapshot is the same encoder"
    assert curve["error"]["two"][0] > 0


def test_it_is_written_and_compared(judged, tmp_path):
    data, result = judged
    save(result, tmp_path / "out")
    assert (tmp_path / "out/layers.csv").read_text().startswith(f"probe,layer,split,{MEASURES[data.task].name}\n")
    assert not (tmp_path / "out/confusion.csv").exists()
    rows = [row("good", result), row("worse", worse(result)), row("random", worse(result, 0.5), "control")]
    made = compare(rows, Compare(resamples=500), 0)
    assert [each.name for each in made.rows] == ["good", "worse", "random"]
    assert made.measure is MEASURES[data.task]
    assert made.cell(LINEAR, "good") == pytest.approx(
        MEASURES[data.task].of(result.metrics["linear"]["layers"][made.rows[0].layers["linear"]]["test"])
    )
    assert KNN in made.verdicts
    assert Protocol("budget", "50%") in made.verdicts
    assert made.verdicts[LINEAR].p("good", "random") < 0.05
    assert f"has a {made.measure.name} of" in recommendation_md(made)
    assert made.measure.title in leaderboard_md(made)
    assert f"linear {made.measure.name} %" in leaderboard_md(made)
    page = report(rows, made)
    assert f"test {made.measure.name} (%)" in page
    assert ("Look-alikes" in page) == (data.task == "multi-label")


def row(name, result, kind="method"):
    seen = {"images_seen": 100, "seconds": 1.0, "images_per_second": 100.0, "peak_memory_mib": 1.0, "parameters": 9}
    return Run(name=name, seed=0, kind=kind, metrics=result.metrics, predictions=result.predictions, views=1, **seen)


def worse(result, by=0.2):
    """The same evaluation with lower values for some images."""
    draws = np.random.default_rng(1)
    lower = {
        name: values - by * (draws.random(values.shape[-1]) < 0.9) if values.dtype.kind == "f" else values
        for name, values in result.predictions.items()
        if name not in ("output", "target")
    }
    return replace(result, predictions=lower)


def test_protocols_that_need_classes_are_empty_cells_with_their_reason():
    params = PARAMS.model_copy(update={"finetune": ("10%",), "scratch": ("10%",)})
    data = FakeTask("number")
    result = evaluate(Subject(TinyEncoder(), params, CPU, transfer=FakeData(), untrained=True), data)
    reason = "this protocol needs one class per image"
    assert result.metrics["finetune"]["10%"] == {"r2": None, "reason": reason} == result.metrics["scratch"]["10%"]
    assert result.metrics["transfer"] == {"reason": reason}
    made = compare([row("a", result)], Compare(resamples=100), 0)
    assert f"10%: {reason}" in made.rows[0].notes
    assert f"transfer: {reason}" in made.rows[0].notes
    report([row("a", result)], made)


def test_a_mask_is_not_judged_on_images_whose_pixels_are_moved():
    data = FakeTask("mask")
    views = FakeViews(data)
    views.names = ("bright", "rotate")
    metrics = evaluate(Subject(TinyEncoder(), PARAMS, CPU, views), data).metrics
    assert list(metrics["robustness"]["corruptions"]) == ["bright"]


@pytest.mark.parametrize("task", ["multi-label", "number", "mask"])
def test_other_test_labels_change_no_choice(task):
    """Oracle: the choices of an evaluation whose test targets are permuted."""
    data, other = FakeTask(task), FakeTask(task)
    other.values["test"] = np.random.default_rng(0).permutation(other.values["test"])
    first, second = (evaluate(Subject(TinyEncoder(), PARAMS, CPU), each).metrics for each in (data, other))
    for probe in ("linear", "knn"):
        assert first[probe]["best"] == second[probe]["best"]
        for stage, layer in first[probe]["layers"].items():
            theirs = second[probe]["layers"][stage]
            assert {key: layer[key] for key in layer if key != "test"} == {
                key: theirs[key] for key in theirs if key != "test"
            }
    assert first["linear"]["layers"] != second["linear"]["layers"], "so that the test could fail"
    assert first["budgets"]["50%"]["redraws"] == second["budgets"]["50%"]["redraws"]


@pytest.mark.parametrize("task", ["multi-label", "number", "mask"])
def test_validation_chooses_the_penalty(task):
    """With one penalty that leaves nothing of the weights, the other is taken at the best layer."""
    params = PARAMS.model_copy(update={"linear_l2": (1e-3, 1e6), "budgets": ()})
    linear = evaluate(Subject(TinyEncoder(), params, CPU), FakeTask(task)).metrics["linear"]
    assert linear["layers"][linear["best"]]["l2"] < 1


@pytest.mark.parametrize("task", ["multi-label", "number"])  # the place of a pixel in the image tells of its mask
def test_labels_without_a_pattern_are_at_chance(task):
    data = FakeTask(task, shuffled=True, test=160)
    metrics = evaluate(Subject(TinyEncoder(), PARAMS, CPU), data).metrics
    best = metrics["linear"]["layers"][metrics["linear"]["best"]]
    assert MEASURES[task].of(best["test"]) < metrics["task"]["chance"] + 0.12


@pytest.mark.parametrize(
    ("split", "reason"),
    [
        ("train", "no training image has a label"),
        ("val", "no validation image has a label"),
        ("test", "no test image has a label"),
    ],
)
def test_without_labels_there_is_a_reason_and_no_zero(split, reason):
    data = FakeTask("number")
    data.values[split] = np.full_like(data.values[split], np.nan)
    result = evaluate(Subject(TinyEncoder(), PARAMS, CPU), data)
    assert (result.metrics["labelled"], result.metrics["reason"]) == (False, reason)
    assert "linear" not in result.metrics


def test_one_number_for_all_is_a_reason():
    data = FakeTask("number")
    data.values["train"][:] = 3.0
    metrics = evaluate(Subject(TinyEncoder(), PARAMS, CPU), data).metrics
    assert metrics["reason"] == "A regression needs numbers that differ; found 120 images with one number."


def test_images_of_a_group_are_drawn_together():
    """Values that are equal within groups of eight: the interval is nearly sqrt(8) times as wide."""
    data = FakeTask("number", test=400)
    result = evaluate(Subject(TinyEncoder(), PARAMS, CPU), data)
    values = np.repeat(np.random.default_rng(0).normal(0.5, 0.3, 50), 8)
    predictions = {name: values if name.startswith("linear") else kept for name, kept in result.predictions.items()}
    widths = []
    for more in ({}, {"group": np.arange(400) // 8}):
        made = compare([row("a", replace(result, predictions=predictions | more))], Compare(resamples=4000), 0)
        low, high = made.verdicts[LINEAR].interval("a")
        widths.append(high - low)
    assert widths[1] / widths[0] == pytest.approx(8**0.5, rel=0.1)
    assert made.groups == 50
    assert "the 50 groups of the test images" in leaderboard_md(made)
    assert (
        evaluate(Subject(TinyEncoder(), PARAMS, CPU), FakeTask("number", grouped=True)).predictions["group"].max() == 9
    )
