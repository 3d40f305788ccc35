"""NNCLR's loss against a scalar loop and lightly; neighbours, queue and gradients; bad settings; planted collapses."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import NNMemoryBankModule
from pretext_nnclr import NNCLR, Params, cross_entropy, nearest
from torch import nn

from pretextbench.errors import UserError
from pretextbench.method import Batch, Data

Make = Callable[..., Any]
TAU = 0.2


@pytest.fixture
def method(built: Make) -> Make:
    """`method(data, **params)`: always with the same weights."""
    return lambda *data, **params: built(NNCLR, Params(**{"queue": 24, **params}), *data)


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def expected(neighbours: list[list[float]], predictions: list[list[float]]) -> float:
    terms = []
    for i, neighbour in enumerate(neighbours):
        powers = [math.exp(cosine(neighbour, p) / TAU) for p in predictions]
        terms.append(-math.log(powers[i] / math.fsum(powers)))
    return math.fsum(terms) / len(terms)


def test_equals_the_equation(rows: Make) -> None:
    neighbours, p = rows(6, 6)
    assert float(cross_entropy(neighbours, p, TAU)) == pytest.approx(
        expected(neighbours.tolist(), p.tolist()), abs=1e-12
    )


def test_lightly_agrees(rows: Make) -> None:
    """A second opinion: its lookup, and its NT-Xent of each neighbour against a bank of the other predictions.

    Value and gradient; its bank would cut the gradient of what it holds.
    """
    z, bank, p = rows(6, 40, 6)
    p.requires_grad_()
    queue = nn.functional.normalize(bank, dim=1)
    theirs = NNMemoryBankModule(size=(40, 5))
    theirs.bank = queue.clone()
    neighbours = queue[nearest(z, queue)]
    assert torch.equal(theirs(z, update=False), neighbours)
    each = []
    for i in range(6):
        loss = NTXentLoss(TAU, memory_bank_size=(5, 5))
        others = nn.functional.normalize(torch.cat([p[:i], p[i + 1 :]]), dim=1)
        loss.memory_bank.forward = lambda own, update, others=others: (own, others.T)
        each.append(loss(neighbours[i : i + 1], p[i : i + 1]))
    pair = cross_entropy(neighbours, p, TAU), torch.stack(each).mean()
    torch.testing.assert_close(*pair, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(loss, p)[0] for loss in pair)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_the_nearest_has_the_largest_cosine(scale: float, rows: Make) -> None:
    """Whatever the length of z; a loop over the queue."""
    z, bank = rows(7, 30)
    queue = nn.functional.normalize(bank, dim=1)
    by_hand = [max(range(30), key=lambda j: cosine(a, queue[j].tolist())) for a in z.tolist()]
    assert nearest(z * scale, queue).tolist() == by_hand


def test_a_queue_of_the_batch_gives_info_nce(rows: Make) -> None:
    """Each vector is its own neighbour then, and the loss is the one between z1 and p2."""
    z, p = rows(6, 6)
    queue = nn.functional.normalize(z, dim=1)
    assert nearest(z, queue).tolist() == list(range(6))
    torch.testing.assert_close(cross_entropy(queue[nearest(z, queue)], p, TAU), cross_entropy(z, p, TAU))
    one = torch.ones(6, 5, dtype=torch.float64)
    assert float(cross_entropy(one, one, TAU)) == pytest.approx(math.log(6))


def test_the_gradient_comes_through_the_prediction_alone(rows: Make, method: Make, batch: Make) -> None:
    neighbours, p = (x.requires_grad_() for x in rows(6, 6))
    cross_entropy(neighbours, p, TAU).backward()
    assert neighbours.grad is None
    assert bool(p.grad.abs().sum() > 0)
    whole = method()
    whole.loss(batch()).total.backward()
    assert all(q.grad is not None for q in whole.parameters())
    assert not whole.queue.rows.requires_grad


def test_the_loss_is_half_of_each_direction(method: Make, batch: Make) -> None:
    whole, views = method(temperature=0.3).eval(), batch()
    z1, z2 = whole.project(views.views)
    n1, n2 = (whole.queue.rows[nearest(z, whole.queue.rows)] for z in (z1, z2))
    first, second = cross_entropy(n1, whole.predictor(z2), 0.3), cross_entropy(n2, whole.predictor(z1), 0.3)
    total = whole.loss(views).total
    torch.testing.assert_close(total, (first + second) / 2)
    torch.testing.assert_close(total, whole.loss(Batch(views.views[::-1], views.index)).total)


def test_the_heads_are_those_of_the_paper(method: Make) -> None:
    """Three layers, with a last norm, and two without it."""
    whole, middle = method(head_hidden=24, head_dim=12), ["Linear", "BatchNorm1d", "ReLU"]
    assert [type(layer).__name__ for layer in whole.projector] == [*middle, *middle, "Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in whole.predictor] == [*middle, "Linear"]
    for head, widths in ((whole.projector, [24, 24, 12]), (whole.predictor, [24, 12])):
        assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == widths
    assert whole.projector[-1].affine
    assert whole.predictor[-1].bias is not None


def test_the_first_view_enters_the_queue_after_the_step(method: Make, batch: Make) -> None:
    """Of length 1, with its picture in the same row; a batch never finds itself."""
    whole, views = method().eval(), batch()
    before = whole.queue.rows.clone()
    staged = whole.loss(views).staged
    assert torch.equal(whole.queue.rows, before)
    z1, _ = whole.project(views.views)
    torch.testing.assert_close(staged["projections"], nn.functional.normalize(z1, dim=1))
    whole.after_step(0.0, staged)
    assert torch.equal(whole.queue.rows, staged["projections"].repeat(3, 1))
    whole.after_step(0.5, {name: 1 - value for name, value in staged.items()})
    for queue, name in ((whole.queue, "projections"), (whole.images, "images")):
        assert torch.equal(queue.rows[:8], (1 - staged[name]).to(queue.rows.dtype))
        assert torch.equal(queue.rows[8:16], staged[name].to(queue.rows.dtype))


def test_bad_settings_are_refused_in_one_sentence(method: Make, batch: Make, facts: Data) -> None:
    with pytest.raises(UserError, match="The queue of method 'nnclr', of 24 embeddings, is shorter than a batch of 32"):
        method(replace(facts, batch=32))
    with pytest.raises(UserError, match="'nnclr' needs at least 2 images in each batch of a process, found 1"):
        method().loss(batch(1))


def test_half_precision_does_not_reach_loss_and_lookup(rows: Make) -> None:
    neighbours, p = (x.to(torch.bfloat16) for x in rows(16, 16))
    with torch.autocast("cpu", torch.bfloat16):
        low = cross_entropy(neighbours, p, 0.05)
    torch.testing.assert_close(low, cross_entropy(neighbours.float(), p.float(), 0.05))
    z, bank = (x.float() for x in rows(64, 2000))
    queue = nn.functional.normalize(bank, dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        result = nearest(z, queue)
    assert torch.equal(result, nearest(z, queue))


@torch.no_grad()
def test_a_collapse_is_named(method: Make, batch: Make) -> None:
    dead = method().eval()
    dead.projector[-1].weight.zero_()
    dead.projector[-1].bias.fill_(1.0)
    lines = " ".join(dead.symptoms(dead.health(batch(16))))
    assert "collapsed" in lines
    assert "few neighbours serve all images" in lines
    well = {"projection_std": 1.0, "neighbour_cosine": 0.8, "neighbour_share": 0.7}
    assert dead.symptoms(well) == []
    assert "the nearest of the queue is far" in dead.symptoms({**well, "neighbour_cosine": 0.1})[0]


@torch.no_grad()
def test_show_draws_each_view_with_its_neighbour(method: Make, batch: Make) -> None:
    """After a step on these images the nearest of the queue is the image itself, with cosine 1."""
    whole, views = method().eval(), batch()
    whole.after_step(0.0, whole.loss(views).staged)
    *_, result = whole.show(views)
    assert result.images.shape == (8, 2, 3, 16, 16)
    torch.testing.assert_close(result.images[:, 1], views.views[0], rtol=0, atol=1e-3)
    assert {row[1] for row in result.captions} == {"1.00"}
