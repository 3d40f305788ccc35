"""BYOL's loss against a scalar loop and lightly; the target's gradient, schedule and steps; a planted collapse."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from pretext_byol import BYOL, Params, distance
from torch import nn

from pretextbench.method import Batch

Make = Callable[..., Any]


@pytest.fixture
def method(built: Make) -> Make:
    """`method(**params)`: always with the same weights."""
    return lambda **params: built(BYOL, Params(**params))


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def test_equals_the_equation(pair: Make) -> None:
    p, z = pair()
    rows = zip(p.tolist(), z.tolist(), strict=True)
    assert float(distance(p, z)) == pytest.approx(math.fsum(2 - 2 * cosine(a, b) for a, b in rows) / 7, abs=1e-12)
    unit = (torch.nn.functional.normalize(x, dim=1) for x in (p, z))
    a, b = unit
    assert float(distance(p, z)) == pytest.approx(float((a - b).square().sum(1).mean()), abs=1e-12)


def test_lightly_agrees(pair: Make) -> None:
    """A second opinion: 2 + 2 of its negative cosine, value and gradient."""
    p, z = (x.requires_grad_() for x in pair(16, 8))
    ours, theirs = distance(p, z), 2 + 2 * NegativeCosineSimilarity()(p, z.detach())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(loss, p)[0] for loss in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_no_gradient_reaches_the_target(pair: Make, method: Make, batch: Make) -> None:
    p, z = (x.requires_grad_() for x in pair())
    distance(p, z).backward()
    assert z.grad is None
    whole = method()
    whole.loss(batch()).total.backward()
    assert all(p.grad is None for p in whole.twin.parameters())
    trained = (whole.encoder, whole.projector, whole.predictor)
    assert all(p.grad is not None for part in trained for p in part.parameters())


def test_the_loss_is_the_sum_over_both_directions_and_symmetric(method: Make, batch: Make) -> None:
    whole = method()
    whole.eval()
    views = batch()
    swapped = Batch(views.views[::-1], views.index)
    torch.testing.assert_close(whole.loss(views).total, whole.loss(swapped).total)
    p1, p2 = (whole.predictor(z) for z in whole.project(views.views))
    t1, t2 = (whole.twin(x) for x in views.views)
    torch.testing.assert_close(whole.loss(views).total, distance(p1, t2) + distance(p2, t1))


def test_the_heads_are_those_of_the_paper(method: Make) -> None:
    """Linear, norm, ReLU, linear, both: the norms help to keep images apart."""
    whole = method(head_hidden=24, head_dim=12)
    for head in (whole.projector, whole.predictor):
        assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [24, 12]
        assert head[-1].bias is not None


def test_the_target_is_no_copy_of_the_prediction_head(method: Make) -> None:
    whole = method()
    assert sum(p.numel() for p in whole.twin.parameters()) == sum(
        p.numel() for part in (whole.encoder, whole.projector) for p in part.parameters()
    )


def test_the_target_moves_after_a_step_and_never_in_the_loss(method: Make, batch: Make) -> None:
    whole = method(momentum=0.9)
    with torch.no_grad():
        for p in whole.encoder.parameters():
            p.add_(1)
    before = [p.clone() for p in whole.twin.parameters()]
    whole.loss(batch())
    assert all(torch.equal(p, q) for p, q in zip(whole.twin.parameters(), before, strict=True))
    whole.after_step(0.0, {})
    online = [*whole.encoder.parameters(), *whole.projector.parameters()]
    for own, old, new in zip(whole.twin.parameters(), before, online, strict=True):
        torch.testing.assert_close(own, 0.9 * old + 0.1 * new.detach())
    stopped = [p.clone() for p in whole.twin.parameters()]
    whole.after_step(1.0, {})
    assert all(torch.equal(p, q) for p, q in zip(whole.twin.parameters(), stopped, strict=True))


def test_half_precision_does_not_reach_the_loss(pair: Make) -> None:
    p, z = (x.to(torch.bfloat16) for x in pair(64, 32))
    with torch.autocast("cpu", torch.bfloat16):
        low = distance(p, z)
    torch.testing.assert_close(low, distance(p.float(), z.float()))


@torch.no_grad()
def test_a_collapse_is_named(method: Make, batch: Make) -> None:
    """All projections are one vector and the prediction meets it: the loss is zero, and nothing else tells."""
    dead = method().eval()
    for network in (dead.projector, dead.twin.copies[1], dead.predictor):
        network[-1].weight.zero_()
        network[-1].bias.fill_(1.0)
    health = dead.health(batch())
    assert float(dead.loss(batch()).total) == pytest.approx(0, abs=1e-6)
    assert any("collapsed" in line for line in dead.symptoms(health))
    assert dead.symptoms({"projection_std": 1.0, "prediction_distance": 0.3}) == []
    assert "do not meet their targets" in dead.symptoms({"projection_std": 1.0, "prediction_distance": 1.9})[0]


@torch.no_grad()
def test_show_draws_the_views_and_two_matrices_of_cosines(method: Make, batch: Make) -> None:
    net, few = method().eval(), batch(4)
    torch.nn.init.normal_(net.twin.copies[1][-1].weight)  # so that targets are no projections
    views, cosines, predictions = net.show(few)
    assert views.images.shape == (4, 2, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
    assert predictions.title == "cosine of predictions (rows) and targets"
    z1, target = net.project(few.views)[0], net.twin(few.views[1])
    expected = torch.cosine_similarity(net.predictor(z1)[1], target[2], dim=0)
    torch.testing.assert_close(predictions.images[0, 0, 0, 1, 2] * 2 - 1, expected)
