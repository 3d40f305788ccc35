"""Scores against scikit-learn, and the calibration error against a plain loop."""

import numpy as np
import pytest
from sklearn import metrics

from pretextbench.evaluate.scoring import calibration_error, confusion, scores


def case(classes=6, n=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=rng.dirichlet(np.ones(classes)))
    return labels, np.where(rng.random(n) < 0.6, labels, rng.integers(0, classes, n))


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_scikit_learns(seed):
    labels, predictions = case(seed=seed)
    found = scores(labels, predictions, 6)
    present = np.unique(labels)
    assert found["top1"] == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, predictions, labels=present, average="macro"))
    recall = metrics.recall_score(labels, predictions, labels=present, average=None)
    assert found["balanced_accuracy"] == pytest.approx(recall.mean())
    assert [a for a in found["per_class"] if a is not None] == pytest.approx(list(recall))
    expected = metrics.confusion_matrix(labels, predictions, labels=range(6))
    assert np.array_equal(confusion(labels, predictions, 6), expected)


def test_a_class_that_the_test_set_lacks_is_empty_not_zero():
    labels, predictions = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    found = scores(labels, predictions, 3)
    assert found["per_class"] == [0.5, None, 1.0]
    assert found["balanced_accuracy"] == 0.75


def test_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4) * 0.5, 500)
    labels = rng.integers(0, 4, 500)
    confidence, hit, expected = p.max(1), p.argmax(1) == labels, 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    assert calibration_error(labels, p) == pytest.approx(expected)
    drawn = np.array([rng.choice(4, p=row) for row in p])
    assert calibration_error(drawn, p) < 0.08 < calibration_error((p.argmax(1) + 1) % 4, p)
