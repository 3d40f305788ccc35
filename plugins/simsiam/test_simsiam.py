"""SimSiam's loss against a scalar loop and lightly; the stopped gradient; the heads; a planted collapse."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from pretext_simsiam import Params, SimSiam, closeness
from torch import Tensor, nn

from pretextbench.errors import UserError
from pretextbench.method import Batch
from pretextbench.testing import bench
from pretextbench.train.optim import rate

Make = Callable[..., Any]


@pytest.fixture
def method(built: Make) -> Make:
    """`method(**params)`: always with the same weights."""
    return lambda **params: built(SimSiam, Params(**{"head_dim": 64, "head_hidden": 16, **params}))


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def test_equals_the_equation(pair: Make) -> None:
    p, z = pair()
    terms = [-cosine(a, b) for a, b in zip(p.tolist(), z.tolist(), strict=True)]
    assert float(closeness(p, z)) == pytest.approx(math.fsum(terms) / 7, abs=1e-12)
    assert float(closeness(p, 3 * p)) == pytest.approx(-1, abs=1e-12)
    assert float(closeness(p, -p)) == pytest.approx(1, abs=1e-12)


def test_lightly_agrees(pair: Make) -> None:
    """A second opinion: value and gradient of its negative cosine, with the gradient stopped by hand."""
    p, z = (x.requires_grad_() for x in pair(16, 8))
    ours, theirs = closeness(p, z), NegativeCosineSimilarity()(p, z.detach())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(loss, p)[0] for loss in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_the_gradient_is_stopped(pair: Make, method: Make, batch: Make) -> None:
    """No gradient of z; that of the encoder is the one of fixed targets, and another one without the stop."""
    p, z = (x.requires_grad_() for x in pair())
    closeness(p, z).backward()
    assert z.grad is None
    whole, views = method().eval().double(), batch().views
    z1, z2 = whole.project(tuple(view.double() for view in views))
    p1, p2 = whole.predictor(z1), whole.predictor(z2)
    first = next(whole.encoder.parameters())

    def gradient(t1: Tensor, t2: Tensor) -> Tensor:
        loss = -(F.cosine_similarity(p1, t2).mean() + F.cosine_similarity(p2, t1).mean()) / 2
        return torch.autograd.grad(loss, first, retain_graph=True)[0]

    own = whole.loss(Batch(tuple(view.double() for view in views), torch.arange(8))).total
    (result,) = torch.autograd.grad(own, first)
    torch.testing.assert_close(result, gradient(z1.detach(), z2.detach()), rtol=1e-9, atol=1e-12)
    assert float((result - gradient(z1, z2)).norm() / result.norm()) > 0.01


def test_the_loss_is_symmetric_and_the_mean_of_both_directions(method: Make, batch: Make) -> None:
    whole, views = method().eval(), batch()
    z1, z2 = whole.project(views.views)
    both = (closeness(whole.predictor(z1), z2) + closeness(whole.predictor(z2), z1)) / 2
    torch.testing.assert_close(whole.loss(views).total, both)
    torch.testing.assert_close(both, whole.loss(Batch(views.views[::-1], views.index)).total)


def layers(head: nn.Module) -> list[str]:
    kinds = [layer for layer in head.modules() if isinstance(layer, nn.Linear | nn.BatchNorm1d | nn.ReLU)]
    return [f"{type(k).__name__} {k.affine}" if isinstance(k, nn.BatchNorm1d) else type(k).__name__ for k in kinds]


def test_the_heads_are_those_of_the_paper(method: Make) -> None:
    """Layer for layer those of lightly: the projection ends with a norm without scale, the prediction with none."""
    whole = method()
    assert layers(whole.projector) == layers(SimSiamProjectionHead(32, 64, 64))
    assert layers(whole.projector)[-1] == "BatchNorm1d False"
    assert layers(whole.predictor) == layers(SimSiamPredictionHead(64, 16, 64))
    assert whole.predictor[-1].bias is not None
    assert whole.projector[-2].bias is None


def test_half_precision_does_not_reach_the_loss(pair: Make) -> None:
    p, z = (x.to(torch.bfloat16) for x in pair(64, 32))
    with torch.autocast("cpu", torch.bfloat16):
        low = closeness(p, z)
    torch.testing.assert_close(low, closeness(p.float(), z.float()))


def test_a_batch_of_one_is_refused(method: Make, batch: Make) -> None:
    with pytest.raises(UserError, match="'simsiam' needs at least 2 images in each batch of a process, found 1"):
        method().loss(batch(1))


@torch.no_grad()
def test_a_collapse_is_named(method: Make, batch: Make) -> None:
    """All projections are one vector, and the prediction meets it: the loss is at its best, and the spread is zero."""
    dead = method().eval()
    dead.projector[-1].running_mean.fill_(-1.0)
    dead.projector[-2].weight.zero_()
    dead.predictor[-1].weight.zero_()
    dead.predictor[-1].bias.fill_(1.0)
    health = dead.health(batch())
    assert float(dead.loss(batch()).total) == pytest.approx(-1, abs=1e-6)
    assert health["projection_std"] < 1e-3
    assert any("collapsed" in line for line in dead.symptoms(health))
    assert dead.symptoms({"projection_std": 1.0, "prediction_cosine": 0.9}) == []
    assert "do not meet the projections" in dead.symptoms({"projection_std": 1.0, "prediction_cosine": 0.0})[0]


@torch.no_grad()
def test_show_draws_the_views_and_two_matrices_of_cosines(method: Make, batch: Make) -> None:
    net, few = method().eval(), batch(4)
    views, cosines, predictions = net.show(few)
    assert views.images.shape == (4, 2, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
    assert predictions.title == "cosine of predictions (rows) and projections"
    z1, target = net.project(few.views)
    expected = F.cosine_similarity(net.predictor(z1)[1], target[2], dim=0)
    torch.testing.assert_close(predictions.images[0, 0, 0, 1, 2] * 2 - 1, expected)


@pytest.mark.parametrize("decays", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_rate_of_the_prediction_head_stays_at_its_peak(decays: bool, accumulate: int) -> None:
    """In the training itself, whatever the number of parts; with `predictor_decay` it is that of all others."""
    training = bench.build(SimSiam, params=Params(head_dim=16, predictor_decay=decays), steps=4)
    loop = training.job.pretrain.model_copy(update={"accumulate": accumulate})
    object.__setattr__(training.job, "pretrain", loop)
    bench.advance(training, 4)
    (optimizer,), params = training.optimizers, training.job.params.optimizer
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    predictor = {rates.pop(id(p)) for p in training.method.predictor.parameters()}
    last = rate(3, 4, params)
    assert last < params.lr / 2
    assert set(rates.values()) == {last}
    assert predictor == {last if decays else params.lr}
