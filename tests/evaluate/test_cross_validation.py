"""Layer and penalty with few labels: chosen by those labels alone, as an independent loop would choose them."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pretextbench.base.seed import Seed
from pretextbench.evaluate import fold_fits, linear, protocol
from pretextbench.evaluate.cross_validation import FOLDS, Draw, choose, folds
from pretextbench.evaluate.fold_fits import Fold, merits
from pretextbench.params import Evaluate
from tests.evaluate.fakes import FakeData, TinyEncoder

CPU = torch.device("cpu")
GRID = (1e-3, 1e-2, 1e-1, 1.0)


def blobs(n, seed, d, classes=3, apart=1.2):
    """Classes at the corners of a simplex; a third of the columns is noise on an offset."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.normal(size=(n, d)) + apart * np.eye(classes, d)[y]
    x[:, ::3] = 3 + 0.1 * x[:, ::3]
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def loop(draw, grid):
    """Held-out hits and likelihood per layer and penalty, by scikit-learn, fit after fit in double precision."""
    y, totals = draw.labels.numpy(), {}
    fold = folds(y, Seed(0).numpy("folds", *draw.name))
    for stage, features in draw.stages.items():
        for l2 in grid:
            hits = likelihood = 0
            for held in range(FOLDS):
                inside = fold != held
                scaler = StandardScaler().fit(x := features.double().numpy()[inside])
                model = LogisticRegression(C=1 / (len(x) * l2), max_iter=2000, tol=1e-7)
                model.fit(scaler.transform(x), y[inside])
                p = model.predict_proba(scaler.transform(features.double().numpy()[~inside]))
                hits += int((p.argmax(1) == y[~inside]).sum())
                likelihood += float(np.log(p[np.arange(len(p)), y[~inside]]).sum())
            totals[stage, l2] = (hits, likelihood)
    return totals


@pytest.mark.parametrize("seed", range(2))
def test_the_choice_is_that_of_an_independent_loop_over_the_same_folds(seed):
    """Layers of fewer and of more dimensions than labels, so that both bases are used; two subsets at once."""
    params, draws = Evaluate(linear_l2=GRID), []
    for redraw in range(2):
        (wide, y), (narrow, _) = blobs(60, 10 * seed + redraw, 90), blobs(60, 100 + 10 * seed + redraw, 8, apart=0.9)
        draws.append(Draw({"narrow": narrow, "wide": wide}, y, ("20", redraw)))
    for draw, choice in zip(draws, choose(draws, 3, params, CPU), strict=True):
        totals = loop(draw, sorted(GRID, reverse=True))
        best = max(totals, key=lambda pair: totals[pair])
        assert (choice.stage, choice.l2, choice.chosen) == (*best, True)


def uneven_folds():
    """Of other sizes and dimensions, one of them without an example of the last class."""
    tasks = []
    for i, (n, d) in enumerate(((30, 50), (45, 6), (24, 6))):
        x, y = blobs(n, i, d)
        kept = y < 2 if i == 2 else y >= 0
        held, truth = blobs(20 + i, 50 + i, d)
        tasks.append(Fold(x[kept], y[kept], held, truth))
    return tasks


def test_folds_that_are_fitted_together_come_out_as_each_alone(monkeypatch):
    tasks = uneven_folds()
    monkeypatch.setattr(fold_fits, "CLOSE", 1e-9)
    together = merits(tasks, 3, GRID, 300, CPU)
    monkeypatch.setattr(fold_fits, "LARGE", 1)  # every fold is large: `linear.path` fits it
    for result, alone in zip(together, merits(tasks, 3, GRID, 300, CPU), strict=True):
        assert list(result) == list(alone) == sorted(GRID, reverse=True)
        for l2 in GRID:
            assert result[l2][0] == alone[l2][0]
            assert result[l2][1] == pytest.approx(alone[l2][1], rel=2e-3)


def test_batches_are_cut_where_their_tables_would_be_large(monkeypatch):
    tasks, sizes, stack = uneven_folds(), [], fold_fits._stack
    whole = merits(tasks, 3, GRID, 100, CPU)
    monkeypatch.setattr(fold_fits, "_stack", lambda batch, *rest: sizes.append(len(batch)) or stack(batch, *rest))
    monkeypatch.setattr(fold_fits, "LARGE", 2 * 50 * 50)
    cut = merits(tasks, 3, GRID, 100, CPU)
    assert sizes == [2, 1]
    assert [{l2: hits for l2, (hits, _) in part.items()} for part in cut] == [
        {l2: hits for l2, (hits, _) in part.items()} for part in whole
    ]


def test_with_fewer_images_than_dimensions_the_problem_is_turned_and_stays_the_same(monkeypatch):
    x, y = blobs(30, 0, 80)
    fresh, _ = blobs(200, 1, 80)

    def unturned(x):
        return torch.eye(x.shape[1]), x.square().mean(0)

    turned = linear.path(x, y, 3, GRID, 500, CPU)
    assert linear.eigenbasis((x - x.mean(0)) / x.std(0))[0].shape == (80, 29), "as many as images, less their mean"
    monkeypatch.setattr(linear, "eigenbasis", unturned)
    for model, plain in zip(turned, linear.path(x, y, 3, GRID, 500, CPU), strict=True):
        assert model.loss == pytest.approx(plain.loss, abs=1e-5)
        assert float((model.probabilities(fresh) - plain.probabilities(fresh)).abs().mean()) < 1e-3


def test_the_basis_of_few_images_is_orthonormal_and_diagonal():
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    basis, variance = linear.eigenbasis(x)
    torch.testing.assert_close(basis.T @ basis, torch.eye(20), atol=1e-5, rtol=0)
    z = x @ basis
    torch.testing.assert_close(z.T @ z / 20, variance.diag(), atol=1e-5, rtol=0)
    torch.testing.assert_close(z @ basis.T, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 1]])
def test_what_cannot_be_chosen_is_the_last_layer_and_the_middle_of_the_grid(labels):
    """One label per class; fewer labels than folds."""
    x = torch.randn(len(labels), 4)
    draw = Draw({"one": x, "two": x, "three": x}, torch.tensor(labels), ("1", 0))
    (choice,) = choose([draw], 6, Evaluate(linear_l2=(1e-4, 1e-3, 1e-2, 1e-1, 1.0)), CPU)
    assert (choice.stage, choice.l2, choice.chosen) == ("three", 1e-2, False)


PARAMS = Evaluate(
    budgets=("5", "20"), redraws=3, linear_l2=(1e-3, 1e-1), map_images=0, finetune=("5",), finetune_images=64
)


def few_labels(permuted):
    """Everything that a few labels gave; and the layer that all of them choose, which validation is allowed to move."""
    data = FakeData()
    if permuted:
        data._labels["val"] = np.random.default_rng(4).permutation(data._labels["val"])
    result = protocol.evaluate(protocol.Subject(TinyEncoder(), PARAMS, CPU), data)
    few = {k: v.tolist() for k, v in result.predictions.items() if k.startswith(("budget.", "finetune."))}
    return result.metrics["budgets"], few, result.metrics["linear"]["best"]


def test_permuting_the_validation_labels_changes_no_few_label_number():
    as_they_are, permuted = few_labels(False), few_labels(True)
    assert as_they_are[2] != permuted[2], "the layer of all labels moves: a leak would show"
    assert as_they_are[:2] == permuted[:2]
    assert all(draw["chosen"] for few in as_they_are[0].values() for draw in few["redraws"])


def test_a_budget_too_small_to_choose_by_says_what_was_taken():
    params = PARAMS.model_copy(update={"budgets": ("1", "5"), "finetune": ()})
    budgets = protocol.evaluate(protocol.Subject(TinyEncoder(), params, CPU), FakeData()).metrics["budgets"]
    assert "fixed" not in budgets["5"]
    assert budgets["1"]["fixed"] == (
        "3 labels are too few to choose layer and penalty by cross-validation among them; the last layer and the "
        "penalty 0.1 were fixed in advance"
    )
    assert {draw["layer"] for draw in budgets["1"]["redraws"]} == {"three"}
