"""k-NN against scikit-learn, and at its edges."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from pretextbench.errors import UserError
from pretextbench.evaluate import probes as module
from pretextbench.evaluate.probes import knn

CPU = torch.device("cpu")


def problem(m=400, n=150, d=16, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, d))
    labels = rng.integers(0, classes, m)
    bank = (centres[labels] + 1.5 * rng.normal(size=(m, d))) * rng.uniform(0.1, 9, (m, 1))  # lengths must not matter
    queries = centres[rng.integers(0, classes, n)] + 1.5 * rng.normal(size=(n, d))
    return torch.from_numpy(bank).float(), torch.from_numpy(labels), torch.from_numpy(queries).float()


def test_predictions_and_scores_are_scikit_learns(monkeypatch):
    bank, labels, queries = problem()
    oracle = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    oracle.fit(bank.double().numpy(), labels.numpy())
    monkeypatch.setattr(module, "CHUNK", 400 * 7)  # several chunks, the last one short
    result = knn(bank, labels, queries, 5, 20, 0.07, CPU)
    assert np.array_equal(result.predictions.numpy(), oracle.predict(queries.double().numpy()))
    np.testing.assert_allclose(result.scores.numpy(), oracle.predict_proba(queries.double().numpy()), atol=1e-4)


def test_a_tiny_temperature_does_not_overflow():
    bank, labels, queries = problem()
    result = knn(bank, labels, queries, 5, 20, 1e-4, CPU)
    assert result.scores.isfinite().all()
    assert torch.equal(result.predictions, knn(bank, labels, queries, 5, 1, 0.07, CPU).predictions)


def test_unlabelled_rows_leave_the_bank():
    bank, labels, queries = problem()
    hidden = labels.clone()
    hidden[::2] = -1
    result = knn(bank, hidden, queries, 5, 20, 0.07, CPU)
    expected = knn(bank[1::2], labels[1::2], queries, 5, 20, 0.07, CPU)
    assert torch.equal(result.scores, expected.scores)
    with pytest.raises(UserError, match="none of the bank has a label"):
        knn(bank, torch.full_like(labels, -1), queries, 5, 20, 0.07, CPU)


def test_a_bank_smaller_than_k_says_how_many_voted():
    bank, labels, queries = problem(m=6)
    result = knn(bank, labels, queries, 5, 20, 0.07, CPU)
    assert result.k == 6
    torch.testing.assert_close(result.scores.sum(1), torch.ones(len(queries)))
