"""Few-label subsets: stratified, seeded by name, honest about what they cost."""

import numpy as np
import pytest
import torch

from pretextbench.errors import UserError
from pretextbench.evaluate import cross_validation
from pretextbench.evaluate.cross_validation import folds
from pretextbench.evaluate.label_budgets import Budget, few, subset
from pretextbench.params import Evaluate

LABELS = np.repeat([0, 1, 2, -1], [500, 300, 10, 50])


def test_a_share_is_stratified_and_every_class_keeps_one():
    rows = subset(LABELS, "1%", 0, 0)
    assert np.bincount(LABELS[rows]).tolist() == [5, 3, 1]
    assert np.bincount(LABELS[subset(LABELS, "10%", 0, 0)]).tolist() == [50, 30, 1]
    assert len(subset(LABELS, "100%", 0, 0)) == 810


def test_per_class():
    rows = subset(LABELS, "5", 0, 0)
    assert np.bincount(LABELS[rows]).tolist() == [5, 5, 5]
    assert len(set(rows)) == 15


def test_the_draw_depends_on_seed_budget_and_redraw_alone():
    first = subset(LABELS, "5", 0, 0)
    np.random.default_rng(0).random(10)
    torch.manual_seed(3)
    assert np.array_equal(first, subset(LABELS.copy(), "5", 0, 0))
    for other in (subset(LABELS, "5", 1, 0), subset(LABELS, "5", 0, 1), subset(LABELS, "6", 0, 0)):
        assert not np.array_equal(first, other[: len(first)])


@pytest.mark.parametrize("text", ["0%", "101%", "0", "-1", "2.5", "abc", "", "1 %%"])
def test_what_is_not_a_budget(text):
    with pytest.raises(UserError, match="is not a label budget"):
        Budget.parse(text)


def test_a_class_with_too_few_labels_is_named():
    with pytest.raises(UserError, match="asks for 20 labels per class; class 2 has 10 in the training split"):
        subset(LABELS, "20", 0, 0)


def test_folds_are_stratified_and_balanced():
    labels = LABELS[LABELS >= 0]
    fold = folds(labels, np.random.default_rng(0))
    assert np.ptp(np.bincount(fold)) <= 1
    for label in range(3):
        assert np.ptp(np.bincount(fold[labels == label], minlength=5)) <= 1


def blobs(n, seed, classes=3, d=6):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.normal(size=(n, d)) + 1.2 * np.eye(classes, d)[y]
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def test_the_penalty_is_chosen_inside_the_subset(monkeypatch):
    x, y = blobs(60, 0)
    params = Evaluate(linear_l2=(1e-6, 0.1, 100.0))
    seen = []
    original = cross_validation.merits
    monkeypatch.setattr(
        cross_validation, "merits", lambda f, *rest: seen.extend(len(part.y) for part in f) or original(f, *rest)
    )
    model = few(x, y, 3, params, ("20", 0), torch.device("cpu"))
    assert model.l2 == 0.1
    assert seen == [48] * 5
    assert few(x, y, 3, params, ("20", 0), torch.device("cpu")).loss == model.loss


def test_one_example_per_class_takes_the_middle_of_the_grid():
    x, y = blobs(3, 0)
    assert few(x, y, 3, Evaluate(linear_l2=(1e-3, 1e-2, 1e-1)), ("1", 0), torch.device("cpu")).l2 == 1e-2
