"""A thousand classes, two images of each: every protocol goes through, and nothing grows with classes squared."""

import json

import numpy as np
import pytest
import torch

from pretextbench.evaluate import protocol
from pretextbench.evaluate.evaluation import CONFUSION, FEW_CLASSES, METRICS, save
from pretextbench.params import Evaluate
from tests.evaluate.fakes import FakeData, FakeViews, TinyEncoder

CLASSES = 1000
PARAMS = Evaluate(
    budgets=("1", "50%", "5"),
    finetune=("100%",),
    finetune_images=64,
    redraws=1,
    linear_l2=(1e-3, 1e-1),
    linear_steps=2,
    map_images=8,
)


@pytest.fixture(scope="module")
def outcome():
    data = FakeData(train=2 * CLASSES, val=CLASSES, test=CLASSES, classes=CLASSES)
    subject = protocol.Subject(TinyEncoder(), PARAMS, torch.device("cpu"), views=FakeViews(data))
    return protocol.evaluate(subject, data)


def test_every_protocol_has_a_result_or_a_reason(outcome):
    metrics = outcome.metrics
    for layer in (*metrics["knn"]["layers"].values(), *metrics["linear"]["layers"].values()):
        assert len(layer["test"]["per_class"]) == CLASSES
    assert [metrics["budgets"][budget].get("labels") for budget in PARAMS.budgets] == [CLASSES, CLASSES, None]
    assert "class 0 has 2" in metrics["budgets"]["5"]["reason"]
    assert metrics["finetune"]["100%"]["labels"] == 2 * CLASSES
    assert set(metrics["robustness"]["corruptions"]) == {"bright", "mirror"}


def test_metrics_stay_small_and_every_pair_is_in_the_table(outcome, tmp_path):
    save(outcome, tmp_path / "run")
    assert "confusion" not in outcome.metrics
    assert (tmp_path / "run" / METRICS).stat().st_size < 100 * 10 * CLASSES  # a line per class and set of predictions
    assert len((tmp_path / "run" / CONFUSION).read_text().splitlines()) == 1 + CLASSES


def test_of_few_classes_metrics_hold_the_confusion_table():
    data = FakeData(classes=4)
    params = PARAMS.model_copy(update={"budgets": (), "finetune": ()})
    metrics = protocol.evaluate(protocol.Subject(TinyEncoder(), params, torch.device("cpu")), data).metrics
    assert FEW_CLASSES >= 4
    assert np.sum(json.loads(json.dumps(metrics["confusion"]))) == 80
