"""The protocol: nothing selects on test, everything is reported, nothing is a silent zero."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import pretextbench
from pretextbench.encoder import build
from pretextbench.evaluate import protocol
from pretextbench.evaluate.evaluation import save
from pretextbench.evaluate.probes import linear_probes
from pretextbench.params import EncoderParams, Evaluate
from tests.evaluate.fakes import FakeData, FakeViews, TinyEncoder

CPU = torch.device("cpu")
PARAMS = Evaluate(budgets=("10%", "5"), redraws=2, linear_l2=(1e-3, 1e-1), map_images=20)
UNJUDGED = ["map.csv", "metrics.json", "neighbours.csv", "neighbours.png", "predictions.npz"]


def judged(data, encoder=None, params=PARAMS, **further):
    """An evaluation of the small encoder."""
    return protocol.evaluate(protocol.Subject(encoder or TinyEncoder(), params, CPU, **further), data)


@pytest.fixture(scope="module")
def outcome():
    data = FakeData()
    return data, judged(data)


def choices(evaluation):
    """Everything that was chosen or predicted: what the test labels must not be able to move."""
    metrics = json.loads(json.dumps(evaluation.metrics))
    for probe in ("knn", "linear"):
        for layer in metrics[probe]["layers"].values():
            del layer["test"]
    few = {k: [draw["l2"] for draw in v["redraws"]] for k, v in metrics["budgets"].items()}
    predicted = {k: v.tolist() for k, v in evaluation.predictions.items() if k != "label"}
    return metrics["knn"], metrics["linear"], metrics["labelfree"], few, predicted


def scrambled():
    data = FakeData()
    data._labels["test"] = np.random.default_rng(9).permutation(data._labels["test"])
    return data


def test_the_test_labels_are_read_once_and_last(outcome):
    assert outcome[0].reads.count("test") == 1
    assert outcome[0].reads[-1] == "test"


def test_other_test_labels_change_no_choice(outcome):
    other = judged(scrambled())
    assert choices(other) == choices(outcome[1])
    assert other.metrics["linear"]["layers"]["three"]["test"] != outcome[1].metrics["linear"]["layers"]["three"]["test"]


def selecting_on_test(data, read):
    """`linear_probes` with the fault of many benchmarks: the stage is the one that is best on test."""

    def probe(bench):
        probed = linear_probes(bench)
        for stage, predicted in probed.test.items():
            probed.val[stage] = float((predicted.classes == read(data)).mean())
        return probed

    return probe


def test_a_planted_selection_on_test_is_caught(monkeypatch):
    data = FakeData()
    monkeypatch.setattr(protocol, "linear_probes", selecting_on_test(data, lambda d: d.labels("test")))
    with pytest.raises(AssertionError, match="test labels read by"):
        judged(data)


def test_a_planted_selection_through_a_back_door_is_caught(monkeypatch, outcome):
    data = scrambled()
    monkeypatch.setattr(protocol, "linear_probes", selecting_on_test(data, lambda d: d._labels["test"]))
    assert choices(judged(data)) != choices(outcome[1])


def test_one_line_of_the_library_opens_the_test_labels():
    result = []
    for path in Path(pretextbench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "labels":
                literal = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else "?"
                result += [path.name] if literal == "test" else []
    assert result == ["scoring.py"]


def test_every_stage_is_reported_and_validation_chose_the_best(outcome):
    metrics, predicted = outcome[1].metrics, outcome[1].predictions
    truth = outcome[0]._labels["test"]
    for probe in ("knn", "linear"):
        layers = metrics[probe]["layers"]
        assert list(layers) == ["one", "two", "three"]
        assert metrics[probe]["last"] == "three"
        assert layers[metrics[probe]["best"]]["val"] == max(layer["val"] for layer in layers.values())
        for stage, layer in layers.items():
            assert layer["test"]["top1"] == np.mean(predicted[f"{probe}.{stage}"] == truth)
    assert metrics["linear"]["layers"]["one"]["test"]["top1"] > 0.6, "chance is 0.33"
    assert np.sum(metrics["confusion"]) == 80
    for budget, labels in (("10%", 12), ("5", 15)):
        few = metrics["budgets"][budget]
        assert few["labels"] == labels
        assert few["top1"] == pytest.approx(np.mean(predicted[f"budget.{budget}"] == truth))
        assert predicted[f"budget.{budget}"].shape == (2, 80)
    assert not np.array_equal(*predicted["budget.5"]), "two redraws are two subsets"


def test_the_shared_backbone_goes_through():
    data = FakeData(side=16)
    encoder = build(EncoderParams(width=4), 16, data.mean, data.std)
    metrics = judged(data, encoder).metrics
    assert list(metrics["knn"]["layers"]) == ["layer1", "layer2", "layer3", "layer4"]


def test_partly_labelled(outcome):
    data = FakeData()
    for split in ("train", "val", "test"):
        data._labels[split] = np.where(np.arange(len(data._labels[split])) % 4 == 1, -1, data._labels[split])
    result = judged(data)
    assert result.metrics["data"]["test_labelled"] == 60 == len(result.predictions["label"])
    assert (result.predictions["label"] >= 0).all()
    assert 1 not in result.predictions["index"]
    assert result.metrics["data"]["train_labelled"] == 90
    assert result.metrics["data"]["fingerprint"] != outcome[1].metrics["data"]["fingerprint"]


@pytest.mark.parametrize(
    ("split", "labels", "reason"),
    [
        ("train", -1, "no training image has a label"),
        ("val", -1, "no validation image has a label"),
        ("test", -1, "no test image has a label"),
        ("train", 1, "all labelled training images are of one class, 'class1'"),
    ],
)
def test_labels_that_cannot_judge_leave_the_label_free_measures(split, labels, reason, tmp_path):
    data = FakeData()
    data._labels[split] = np.full_like(data._labels[split], labels)
    result = judged(data)
    assert result.metrics["reason"] == reason
    assert not result.metrics["labelled"]
    assert result.predictions == {}
    assert result.metrics["labelfree"]["rankme"] > 1
    save(result, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == UNJUDGED


def test_a_budget_beyond_the_labels_is_an_empty_cell_with_its_reason():
    data = FakeData()
    data._labels["train"][data._labels["train"] == 2] = -1
    data._labels["train"][:1] = 2
    result = judged(data)
    assert result.metrics["budgets"]["5"]["top1"] is None
    assert re.search("class 2 has 1 in the training", result.metrics["budgets"]["5"]["reason"])
    assert "budget.5" not in result.predictions
    assert result.metrics["budgets"]["10%"]["top1"] is not None


def test_alignment_of_two_views():
    data = FakeData()
    views = FakeViews(data)
    result = judged(data, views=views).metrics["labelfree"]["alignment"]
    assert 0 < result < 2
    views.pairs = np.stack([views.pairs[0]] * 2)
    assert judged(data, views=views).metrics["labelfree"]["alignment"] == pytest.approx(0, abs=1e-9)


def test_the_files(outcome, tmp_path):
    save(outcome[1], tmp_path / "run")
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == outcome[1].metrics
    with np.load(tmp_path / "run/predictions.npz") as stored:
        assert set(stored) == set(outcome[1].predictions)
        assert np.array_equal(stored["budget.10%"], outcome[1].predictions["budget.10%"])
    assert len((tmp_path / "run/layers.csv").read_text().splitlines()) == 1 + 2 * 3 * 2
    assert (tmp_path / "run/confusion.csv").read_text().startswith("actual,predicted\nclass")


def test_the_same_encoder_gives_the_same_evaluation(outcome):
    again = judged(FakeData())
    assert again.metrics == outcome[1].metrics
