"""Numbers, several labels and masks: probes and measures against scikit-learn and loops, values against leaving out."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, jaccard_score, r2_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from pretextbench.errors import UserError
from pretextbench.evaluate import mask, retrieval
from pretextbench.evaluate.mask import Mask
from pretextbench.evaluate.multi_label import MultiLabel, average_precision
from pretextbench.evaluate.number import SCALE, Number, r2
from pretextbench.evaluate.task import Setup, Task, error

CPU = torch.device("cpu")
SETUP = Setup(500, CPU, (1e-3, 1e-2))
UNKNOWN = 255


def drawn(n: int = 60, d: int = 8, seed: int = 0) -> tuple[np.ndarray, np.random.Generator]:
    draws = np.random.default_rng(seed)
    return draws.normal(3, 2, (n, d)) * np.arange(1, d + 1), draws


def test_ridge_is_that_of_scikit_learn() -> None:
    x, draws = drawn()
    y = x @ draws.normal(size=8) + draws.normal(size=60) * 5
    models = Number().fit(torch.from_numpy(x).float(), y, SETUP)
    assert [model.penalty for model in models] == [SCALE * 1e-2, SCALE * 1e-3]
    scaled = StandardScaler().fit_transform(x)
    for model in models:
        oracle = Ridge(alpha=model.penalty * len(x)).fit(scaled, y)
        assert model.outputs(torch.from_numpy(x).float()) == pytest.approx(oracle.predict(scaled), abs=1e-2)


def test_more_features_than_images_and_a_constant_feature() -> None:
    x, draws = drawn(10, 40)
    x[:, 3] = 7.0
    y = draws.normal(size=10)
    scaled = StandardScaler().fit_transform(x)
    (model,) = Number().fit(torch.from_numpy(x).float(), y, Setup(10, CPU, (1e-3,)))
    oracle = Ridge(alpha=0.1 * 10).fit(scaled, y)
    assert model.outputs(torch.from_numpy(x).float()) == pytest.approx(oracle.predict(scaled), abs=1e-3)


def test_logistic_regressions_are_those_of_scikit_learn() -> None:
    """Label by label, on the images of which the label is known; 1 / (n l2) is its C."""
    x, draws = drawn(80)
    logits = StandardScaler().fit_transform(x) @ draws.normal(size=(8, 3))
    y = (logits + draws.logistic(size=logits.shape) > 0.5).astype(np.int8)
    y[:20, 1] = -1
    features = torch.from_numpy(x).float()
    for model in MultiLabel().fit(features, y, SETUP):
        made = model.outputs(features)
        for k in range(3):
            known = y[:, k] >= 0
            scaled = StandardScaler().fit(x).transform(x)
            oracle = LogisticRegression(C=1 / (known.sum() * model.penalty), tol=1e-10, max_iter=5000)
            oracle.fit(scaled[known], y[known, k])
            assert made[:, k] == pytest.approx(oracle.predict_proba(scaled)[:, 1], abs=2e-3)


def test_a_label_that_training_shows_in_one_way_has_its_share() -> None:
    x, _ = drawn(20)
    y = np.zeros((20, 3), np.int8)
    y[:10, 0] = y[:, 1] = 1
    made = MultiLabel().fit(torch.from_numpy(x).float(), y, SETUP)[0].outputs(torch.from_numpy(x).float())
    assert made[:, 1] == pytest.approx(1, abs=1e-5)
    assert made[:, 2] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_and_what_is_left_without_each_image(seed: int) -> None:
    """Oracle: scikit-learn, called once per image that is left out. Scores are rounded, so that many are equal."""
    draws = np.random.default_rng(seed)
    positive = draws.random(25) < 0.3
    positive[:2] = True
    scores = np.round(draws.random(25), 1 if seed % 2 else 6)
    whole, without = average_precision(scores, positive)
    assert whole == pytest.approx(average_precision_score(positive, scores))
    for i in range(25):
        rest = np.arange(25) != i
        assert without[i] == pytest.approx(average_precision_score(positive[rest], scores[rest]))


def loop(task: Task, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The values by definition: the measure without each image."""
    n = len(targets)
    whole = task.score(outputs, targets)
    without = np.array([task.score(np.delete(outputs, i, 0), np.delete(targets, i, 0)) for i in range(n)])
    influence = (n - 1) * (whole - without)
    return whole + influence - influence.mean()


def cases() -> list[tuple[Task, Any, Any]]:
    draws = np.random.default_rng(3)
    y = draws.normal(size=30)
    several = (draws.random((30, 4)) < 0.4).astype(np.int8)
    masks = draws.integers(0, 3, (30, 4, 4)).astype(np.uint8)
    predicted = np.where(draws.random(masks.shape) < 0.6, masks, draws.integers(0, 3, masks.shape)).astype(np.uint8)
    masks[draws.random(masks.shape) < 0.1] = UNKNOWN
    return [
        (Number(), y + draws.normal(size=30), y),
        (MultiLabel(), several * 0.3 + draws.random((30, 4)), several),
        (Mask(3), predicted, masks),
    ]


@pytest.mark.parametrize(("task", "outputs", "targets"), cases(), ids=["number", "multi-label", "mask"])
def test_values_are_the_measure_without_each_image(task: Task, outputs: np.ndarray, targets: np.ndarray) -> None:
    values = task.values(outputs, targets)
    assert values == pytest.approx(loop(task, outputs, targets))
    assert values.mean() == pytest.approx(task.score(outputs, targets))


@pytest.mark.parametrize("kind", ["number", "multi-label", "mask"])
def test_the_error_of_the_values_is_the_spread_over_other_images(kind: str) -> None:
    """Over 400 draws of 150 images the measure spreads by what the values of one draw say, within 15 %."""
    scores, errors = [], []
    for seed in range(400):
        draws = np.random.default_rng(seed)
        task, outputs, targets = sample(kind, draws, 150)
        scores.append(task.score(outputs, targets))
        errors.append(error(task.values(outputs, targets)))
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.15)


def sample(kind: str, draws: np.random.Generator, n: int) -> tuple[Task, np.ndarray, np.ndarray]:
    if kind == "number":
        y = draws.normal(size=n)
        return Number(), 0.7 * y + draws.normal(size=n) * 0.5, y
    if kind == "multi-label":
        y = (draws.random((n, 2)) < 0.4).astype(np.int8)
        return MultiLabel(), y + draws.normal(size=(n, 2)), y
    hard = draws.random((n, 1, 1))  # images differ in how hard they are
    masks = (draws.random((n, 5, 5)) < draws.random((n, 1, 1))).astype(np.uint8)
    return Mask(2), np.where(draws.random(masks.shape) < hard / 2, 1 - masks, masks).astype(np.uint8), masks


def test_scores_of_numbers() -> None:
    made = Number().scores(np.array([1.0, 2, 4]), np.array([1.0, 2, 3]))
    assert made["r2"] == pytest.approx(r2_score([1, 2, 3], [1, 2, 4])) == pytest.approx(0.5)
    assert (made["mae"], made["spearman"]) == (pytest.approx(1 / 3), pytest.approx(1))
    assert r2(np.ones(3), np.ones(3)) == 0
    assert Number().scores(np.ones(3), np.ones(3))["spearman"] is None


def test_scores_of_several_labels_leave_out_what_cannot_be_measured() -> None:
    _, outputs, y = cases()[1]
    y = y.copy()
    y[:, 3], y[:4, 0] = 0, -1
    made = MultiLabel().scores(outputs, y)
    known = y[:, 0] >= 0
    assert made["per_label"][0] == pytest.approx(average_precision_score(y[known, 0], outputs[known, 0]))
    assert made["auroc_per_label"][1] == pytest.approx(roc_auc_score(y[:, 1], outputs[:, 1]))
    assert made["per_label"][3] is made["auroc_per_label"][3] is None
    assert made["map"] == pytest.approx(np.mean([x for x in made["per_label"] if x is not None]))
    every = y >= 0
    assert made["micro_map"] == pytest.approx(average_precision_score(y[every], outputs[every]))
    assert MultiLabel().notes(y, y) == ["1 of 4 labels are in no test image, or in all: they are not measured."]


def test_iou_is_that_of_scikit_learn() -> None:
    _, outputs, masks = cases()[2]
    known = masks != UNKNOWN
    oracle = jaccard_score(masks[known], outputs[known], average=None)
    made = Mask(4).scores(outputs, masks)
    assert made["iou"] == [*(pytest.approx(x) for x in oracle), None]
    assert made["miou"] == pytest.approx(np.mean(oracle))
    assert made["pixel_accuracy"] == pytest.approx((masks == outputs)[known].mean())


def test_features_at_pixels_are_those_of_the_enlarged_map() -> None:
    maps = torch.randn(3, 5, 4, 4)
    pixels = mask.places(3, 16, np.random.default_rng(0))
    large = F.interpolate(maps, (16, 16), mode="bilinear", align_corners=False).flatten(2)  # (B, C, H W)
    found = mask.at_pixels(maps, pixels, 16)
    for i in range(3):
        assert found[i].T.numpy() == pytest.approx(large[i][:, pixels[i]].numpy(), abs=1e-5)


def test_a_mask_that_is_linear_in_the_map_is_found_whole() -> None:
    """The map has the resolution of the mask, and one direction of it is positive where the mask is 1."""
    maps = torch.randn(40, 6, 8, 8)
    direction = torch.randn(6)
    maps += 0.3 * direction[:, None, None] * torch.einsum("bchw,c->bhw", maps, direction).sign()[:, None]  # a margin
    masks = (torch.einsum("bchw,c->bhw", maps, direction) > 0).numpy().astype(np.uint8)
    pixels = mask.places(40, 8, np.random.default_rng(0))
    values = np.take_along_axis(masks.reshape(40, -1), pixels, 1)
    task = Mask(2)
    model = task.fit(mask.at_pixels(maps, pixels, 8), values, Setup(500, CPU, (1e-6,)))[0]
    made = model.mask(maps, 8)  # type: ignore[attr-defined]
    assert task.score(made, masks) == 1.0
    assert task.score(1 - made, masks) == 0.0, "so that the test could fail"


def test_votes_of_neighbours() -> None:
    weights = torch.tensor([[0.75, 0.25]])
    assert Number().vote(weights, np.array([[4.0, 8.0]])) == pytest.approx([5.0])
    made = MultiLabel().vote(weights, np.array([[[1, 0, -1], [0, 1, 1]]]))
    assert made == pytest.approx(np.array([[0.75, 0.25, 1.0]]))
    assert Mask(3).vote(weights, np.array([[[[2, 1]], [[1, 0]]]])).tolist() == [[[2, 1]]]


def test_levels_of_chance() -> None:
    assert Number().chance(np.arange(3)) == 0
    assert MultiLabel().chance(np.array([[1, 0], [0, 0], [0, 0], [0, 1]])) == pytest.approx(0.25)
    halves = np.zeros((2, 2, 2), np.uint8)
    halves[0] = 1
    halves[1, 0, 0] = 2
    assert Mask(3).chance(halves) == pytest.approx(4 / 8 / 3)


def test_what_cannot_be_learned_is_refused() -> None:
    x = torch.randn(5, 3)
    with pytest.raises(UserError, match="needs numbers that differ; found 5 images"):
        Number().fit(x, np.ones(5), SETUP)
    with pytest.raises(UserError, match="No label has training images with it and without it"):
        MultiLabel().fit(x, np.ones((5, 2), np.int8), SETUP)
    with pytest.raises(UserError, match="two values or more; the training masks have 1"):
        Mask(2).fit(torch.randn(5, 4, 3), np.ones((5, 4), np.uint8), SETUP)


@pytest.mark.parametrize("several", [False, True])
def test_look_alikes_by_a_loop(several: bool) -> None:
    draws = torch.Generator().manual_seed(0)
    queries, bank = torch.randn(12, 5, generator=draws), torch.randn(30, 5, generator=draws)
    asked, labels = torch.randint(3, (12,), generator=draws), torch.randint(3, (30,), generator=draws)
    if several:
        asked, labels = (torch.rand(n, 4, generator=draws).gt(0.7).int() for n in (12, 30))
    precisions, first = [], []
    for query, label in zip(queries, asked, strict=True):
        order = sorted(range(30), key=lambda j: -float(F.cosine_similarity(query, bank[j], 0)))
        same = [bool((label * labels[j]).sum()) if several else bool(label == labels[j]) for j in order]
        if any(same):
            places = [i for i, is_same in enumerate(same) if is_same]
            precisions.append(np.mean([sum(same[: i + 1]) / (i + 1) for i in places]))
            first.append(same[0])
    made = retrieval.retrieve(queries, bank, asked, labels, chunk=5)
    assert made["map"] == pytest.approx(np.mean(precisions))
    assert made["recall"]["1"] == pytest.approx(np.mean(first))
    assert made["queries"] == len(precisions)
