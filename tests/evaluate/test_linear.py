"""The linear probe against scikit-learn, and at its edges."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pretextbench.errors import UserError
from pretextbench.evaluate import linear

CPU = torch.device("cpu")
GRID = (1e-4, 1e-3, 1e-2, 1e-1)


def problem(n=600, d=24, classes=4, seed=0):
    """Rectified, strongly correlated features on an offset: what encoders give."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    x = np.maximum(z @ (rng.normal(size=(d, d)) * np.exp(-np.arange(d) / 5)[:, None]), 0) + 3
    y = (z[:, :classes] * 1.5 + rng.gumbel(size=(n, classes))).argmax(1)
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def oracle(x, y, l2):
    scaler = StandardScaler().fit(x.double().numpy())
    model = LogisticRegression(C=1 / (len(x) * l2), max_iter=5000, tol=1e-9)
    return scaler, model.fit(scaler.transform(x.double().numpy()), y.numpy())


def test_loss_and_accuracy_are_scikit_learns_along_the_grid():
    x, y = problem()
    test, truth = problem(seed=0, n=1000)
    models = linear.path(x, y, 4, GRID, 200, CPU)
    assert [model.l2 for model in models] == sorted(GRID, reverse=True)
    for model in models:
        scaler, reference = oracle(x, y, model.l2)
        p = reference.predict_proba(scaler.transform(x.double().numpy()))
        loss = -np.log(p[np.arange(len(p)), y.numpy()]).mean() + model.l2 / 2 * (reference.coef_**2).sum()
        assert model.loss == pytest.approx(loss, abs=1e-4)
        assert model.converged
        expected = reference.predict(scaler.transform(test.double().numpy()))
        result = model.probabilities(test).argmax(1).numpy()
        assert abs((result == truth.numpy()).mean() - (expected == truth.numpy()).mean()) <= 1e-3
        np.testing.assert_allclose(
            model.probabilities(test).numpy(),
            reference.predict_proba(scaler.transform(test.double().numpy())),
            atol=5e-3,
        )


@pytest.mark.parametrize("change", [{"LONG": 1}, {"CHUNK": {"cpu": 100}}, {"LONG": 1, "CHUNK": {"cpu": 100}}])
def test_many_classes_are_solved_otherwise_and_come_out_the_same(change, monkeypatch):
    """`LONG` hands the walk to torch, and `CHUNK` cuts 600 images into parts of 12 and an odd one."""
    x, y = problem(n=601, classes=8)
    expected = linear.path(x, y, 8, GRID, 200, CPU)
    for name, value in change.items():
        monkeypatch.setattr(linear, name, value)
    for model, reference in zip(linear.path(x, y, 8, GRID, 200, CPU), expected, strict=True):
        assert model.converged
        assert model.loss == pytest.approx(reference.loss, abs=1e-5)
        p, truth = model.probabilities(x), reference.probabilities(x)
        torch.testing.assert_close(p, truth, atol=5e-3, rtol=0)


def test_of_a_thousand_classes_no_table_of_logits_is_held_at_once(monkeypatch):
    seen, (x, _) = [], problem(n=4000, d=4)
    likelihood = linear.Problem._likelihood
    monkeypatch.setattr(linear.Problem, "_likelihood", lambda *a: seen.append(len(a[2])) or likelihood(*a))
    linear.path(x, torch.arange(4000) % 1000, 1000, [1e-2], 2, CPU)
    assert max(seen) * 1000 <= 2**20 < 4000 * 1000


def test_the_eigenbasis_saves_iterations():
    x, y = problem(d=64)
    model = linear.path(x, y, 4, [1e-3], 300, CPU)[0]
    _, reference = oracle(x, y, 1e-3)
    assert model.iterations < reference.n_iter_[0] / 2


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with pytest.raises(UserError):
        linear.path(torch.ones(4, 2), torch.zeros(4, dtype=torch.long), 2, GRID, 9, CPU)
    linear.path(*problem(n=20), 4, [1e-2], 9, CPU)
    assert torch.get_num_threads() == before


def test_a_thousand_classes_of_a_few_thousand_images_get_one_thread():
    """A second thread made them ten times slower on busy cores (benchmarks/NOTES.md)."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with linear.spare_threads(3600 * 128 * 1200):
        assert torch.get_num_threads() == 1
    with linear.spare_threads(1_280_000 * 2048 * 1000):
        assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_a_column_that_does_not_vary_in_training_is_ignored():
    x, y = problem()
    x[:, 3] = 7.0
    x[:, 5] = 0.0
    model = linear.path(x, y, 4, [1e-3], 200, CPU)[0]
    moved = x.clone()
    moved[:, [3, 5]] += torch.randn(len(x), 2)
    torch.testing.assert_close(model.probabilities(moved), model.probabilities(x), atol=1e-5, rtol=0)
    constant = linear.path(torch.ones(6, 2), torch.tensor([0, 0, 0, 0, 1, 1]), 2, [1e-3], 50, CPU)[0]
    torch.testing.assert_close(
        constant.probabilities(torch.ones(1, 2)), torch.tensor([[2 / 3, 1 / 3]]), atol=1e-3, rtol=0
    )


def test_more_dimensions_than_examples():
    x, y = problem(n=40, d=100)
    for model in linear.path(x, y, 4, [1e-3, 1e-1], 300, CPU):
        scaler, reference = oracle(x, y, model.l2)
        p = reference.predict_proba(scaler.transform(x.double().numpy()))
        loss = -np.log(p[np.arange(len(p)), y.numpy()]).mean() + model.l2 / 2 * (reference.coef_**2).sum()
        assert model.loss == pytest.approx(loss, abs=1e-4)


def test_a_class_without_training_examples_gets_probability_zero():
    x, y = problem()
    kept = y != 2
    model = linear.path(x[kept], y[kept], 4, [1e-3], 200, CPU)[0]
    p = model.probabilities(x)
    assert (p[:, 2] == 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(len(p)))


def test_unlabelled_rows_are_left_out():
    x, y = problem()
    hidden = torch.where(torch.arange(len(y)) % 3 == 0, -1, y)
    result = linear.path(x, hidden, 4, [1e-2], 200, CPU)[0]
    expected = linear.path(x[hidden >= 0], y[hidden >= 0], 4, [1e-2], 200, CPU)[0]
    assert torch.equal(result.weight, expected.weight)


def test_validation_chooses_the_penalty():
    x, y = problem(n=80, d=60)
    val, truth = problem(n=3000, d=60)
    models = linear.path(x, y, 4, (1e-6, 1e-2, 10.0), 300, CPU)
    accuracies = {m.l2: (m.probabilities(val).argmax(1) == truth).double().mean().item() for m in models}
    chosen, accuracy = linear.choose(models, val, truth)
    assert accuracy == max(accuracies.values()) == accuracies[chosen.l2]
    hidden = truth.clone()
    hidden[1500:] = -1
    assert linear.choose(models, val, hidden)[1] == linear.choose(models, val[:1500], truth[:1500])[1]


def test_the_limit_of_iterations_is_told():
    x, y = problem()
    model = linear.path(x, y, 4, [1e-6], 2, CPU)[0]
    assert model.iterations == 2
    assert not model.converged


def test_bad_input():
    x, y = problem()
    with pytest.raises(UserError, match="two classes or more; found 1"):
        linear.path(x, torch.zeros_like(y), 4, GRID, 200, CPU)
    x[3, 3] = torch.nan
    with pytest.raises(UserError, match="finite features"):
        linear.path(x, y, 4, GRID, 200, CPU)


def test_the_smallest_probability_makes_no_denormal_number() -> None:
    """Of a million rows, as the gradient divides by them: denormal numbers made fits fifteen times as slow."""
    assert np.exp(linear.FLOOR) / 1e6 > np.finfo(np.float32).tiny
    labels = torch.arange(40) % 2
    apart = torch.randn(40, 3) + 1e4 * labels[:, None]
    (model,) = linear.path(apart, labels, 2, [1e-12], 50, torch.device("cpu"))
    assert model.probabilities(apart).argmax(1).equal(labels)
