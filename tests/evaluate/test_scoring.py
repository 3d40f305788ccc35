"""Scores, the confusion table and the calibration error against plain loops."""

import numpy as np
import pytest

from pretextbench.evaluate.scoring import calibration_error, confusion, scores


def case(classes=6, n=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=rng.dirichlet(np.ones(classes)))
    return labels, np.where(rng.random(n) < 0.6, labels, rng.integers(0, classes, n))


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_a_loop(seed):
    labels, predictions = case(seed=seed)
    labels[labels == seed] = (seed + 1) % 6  # a class without a test image, which predictions name all the same
    recalls, f1s, table = [], [], np.zeros((6, 6), int)
    for actual, predicted in zip(labels, predictions, strict=True):
        table[actual, predicted] += 1
    for label in range(6):
        hits = sum(a == p == label for a, p in zip(labels, predictions, strict=True))
        actual, predicted = sum(labels == label), sum(predictions == label)
        recalls.append(hits / actual if actual else None)
        f1s += [2 * hits / (actual + predicted)] if actual else []
    result, present = scores(labels, predictions, 6), [recall for recall in recalls if recall is not None]
    assert result["per_class"] == recalls
    assert len(present) < 6
    assert result["top1"] == sum(labels == predictions) / len(labels)
    assert result["balanced_accuracy"] == pytest.approx(sum(present) / len(present))
    assert result["macro_f1"] == pytest.approx(sum(f1s) / len(f1s))
    assert np.array_equal(confusion(labels, predictions, 6), table)


def test_a_class_that_the_test_set_lacks_is_empty_not_zero():
    labels, predictions = np.array([0, 0, 2, 2]), np.array([0, 1, 2, 2])
    results = scores(labels, predictions, 3)
    assert results["per_class"] == [0.5, None, 1.0]
    assert results["balanced_accuracy"] == 0.75


def test_calibration_error():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4) * 0.5, 500)
    labels = rng.integers(0, 4, 500)
    confidence, hit, expected = p.max(1), p.argmax(1) == labels, 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    assert calibration_error(hit, confidence) == pytest.approx(expected)
    drawn = np.array([rng.choice(4, p=row) for row in p])
    calibrated = calibration_error(drawn == p.argmax(1), confidence)
    assert calibrated < 0.08 < calibration_error(np.zeros(500, bool), confidence)
