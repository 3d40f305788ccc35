"""MoCo's losses against scalar loops and lightly; keys, queue and steps; bad settings; a planted collapse."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightly.loss import NTXentLoss
from pretext_moco import MoCo, Params, with_queue, within_batch
from torch import Tensor, nn

from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.parts import crossing_groups, in_groups

Make = Callable[..., Any]
TAU = 0.2


@pytest.fixture
def method(built: Make) -> Make:
    """`method(data, **params)`: always with the same weights."""
    return lambda *data, **params: built(MoCo, Params(**{"queue": 24, "norm_groups": 2, **params}), *data)


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(y * y for y in b))


def cross_entropy(query: list[float], keys: list[list[float]], own: int) -> float:
    powers = [math.exp(cosine(query, key) / TAU) for key in keys]
    return -math.log(powers[own] / math.fsum(powers))


def test_v2_equals_equation_1(rows: Make) -> None:
    q, k, queue = rows(6, 6, 9)
    queue = nn.functional.normalize(queue, dim=1)
    terms = [cross_entropy(a, [b, *queue.tolist()], 0) for a, b in zip(q.tolist(), k.tolist(), strict=True)]
    assert float(with_queue(q, k, queue, TAU)) == pytest.approx(math.fsum(terms) / 6, abs=1e-12)


def test_v3_equals_algorithm_1(rows: Make) -> None:
    q, k = rows(6, 6)
    terms = [2 * TAU * cross_entropy(a, k.tolist(), i) for i, a in enumerate(q.tolist())]
    assert float(within_batch(q, k, TAU)) == pytest.approx(math.fsum(terms) / 6, abs=1e-12)


def test_lightly_agrees(rows: Make) -> None:
    """A second opinion on both forms, value and gradient: NT-Xent against a bank of keys."""
    q, k, queue = rows(6, 6, 9)
    q.requires_grad_()
    queue = nn.functional.normalize(queue, dim=1)

    def bank(keys: Tensor) -> NTXentLoss:
        loss = NTXentLoss(TAU, memory_bank_size=(len(keys), 5))
        loss.memory_bank.bank = keys.clone()
        return loss

    others = [torch.cat([k[:i], k[i + 1 :]]) for i in range(6)]
    each = [bank(nn.functional.normalize(o, dim=1))(q[i : i + 1], k[i : i + 1]) for i, o in enumerate(others)]
    pairs = [
        (with_queue(q, k, queue, TAU), bank(queue)(q, k)),
        (within_batch(q, k, TAU), 2 * TAU * torch.stack(each).mean()),
    ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        gradients = (torch.autograd.grad(loss, q)[0] for loss in (ours, theirs))
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_known_values(rows: Make) -> None:
    """Equal vectors cost ln(K + 1); against a random queue aligned pairs cost what the Gaussian limit says."""
    one = torch.ones(4, 128, dtype=torch.float64)
    assert float(with_queue(one, one, nn.functional.normalize(one, dim=1), TAU)) == pytest.approx(math.log(5))
    assert float(within_batch(one, one, TAU)) == pytest.approx(2 * TAU * math.log(4))
    q, queue = rows(64, 4096, dim=128)
    limit = math.log1p(4096 * math.exp(1 / (2 * 128 * 0.1**2) - 10))
    result = float(with_queue(q, q, nn.functional.normalize(queue, dim=1), 0.1))
    assert result == pytest.approx(limit, rel=0.02)


@pytest.mark.parametrize("form", ["v2", "v3"])
def test_no_gradient_reaches_the_keys(form: str, rows: Make, method: Make, batch: Make) -> None:
    q, k, queue = (x.requires_grad_() for x in rows(6, 6, 9))
    (with_queue(q, k, queue.detach(), TAU) + within_batch(q, k, TAU)).backward()
    assert k.grad is None
    whole = method(form=form)
    whole.loss(batch()).total.backward()
    assert all(p.grad is None for p in whole.twin.parameters())
    assert all(p.grad is not None for p in whole.parameters() if p.requires_grad)
    assert (whole.predictor is None) == (form == "v2")


@pytest.mark.parametrize(("training", "groups"), [(True, 2), (False, 1)])
def test_v2_takes_the_first_view_to_the_key_of_the_second_in_crossing_groups(
    training: bool, groups: int, method: Make, batch: Make
) -> None:
    """Groups are for training alone. The keys' network has other weights here: the keys are its own, and are staged."""
    whole, views = method(temperature=0.3).train(training), batch()
    nn.init.normal_(whole.twin.copies[1][0].weight)
    of_queries, of_keys = crossing_groups(8, groups)
    q = whole.projector(in_groups(whole.encoder, views.views[0], of_queries))
    k = in_groups(whole.twin, views.views[1], of_keys)
    loss = whole.loss(views)
    torch.testing.assert_close(loss.total, with_queue(q, k, whole.queue.rows, 0.3))
    torch.testing.assert_close(loss.staged["keys"], nn.functional.normalize(k, dim=1))


def test_v3_is_symmetric_and_takes_each_view_to_the_keys_of_the_other(method: Make, batch: Make) -> None:
    whole, views = method(form="v3", temperature=0.3).eval(), batch()
    total = whole.loss(views).total
    torch.testing.assert_close(total, whole.loss(Batch(views.views[::-1], views.index)).total)
    q1, q2 = (whole.predictor(whole.projector(whole.encoder(x))) for x in views.views)
    k1, k2 = (whole.twin(x) for x in views.views)
    torch.testing.assert_close(total, within_batch(q1, k2, 0.3) + within_batch(q2, k1, 0.3))


def test_a_batch_enters_the_queue_after_the_step(method: Make, batch: Make) -> None:
    """It never meets its own keys; the first one fills the queue, a later one replaces the oldest keys."""
    whole, views = method(), batch()
    before = whole.queue.rows.clone()
    staged = whole.loss(views).staged
    assert torch.equal(whole.queue.rows, before)
    keys = staged["keys"]
    torch.testing.assert_close(keys.norm(dim=1), torch.ones(8))
    whole.after_step(0.0, staged)
    assert torch.equal(whole.queue.rows, keys.repeat(3, 1))
    whole.after_step(0.5, {"keys": -keys})
    assert torch.equal(whole.queue.rows, torch.cat([-keys, keys, keys]))


@pytest.mark.parametrize(("form", "late"), [("v2", 0.9), ("v3", 1.0)])
def test_the_keys_network_moves_once_per_step_and_never_in_the_loss(
    form: str, late: float, method: Make, batch: Make
) -> None:
    whole = method(form=form, momentum=0.9)
    with torch.no_grad():
        for p in [*whole.encoder.parameters(), *whole.projector.parameters()]:
            p.add_(1)
    staged, online = whole.loss(batch()).staged, [*whole.encoder.parameters(), *whole.projector.parameters()]
    for progress, momentum in ((0.0, 0.9), (1.0, late)):
        before = [p.clone() for p in whole.twin.parameters()]
        whole.loss(batch())
        assert all(torch.equal(p, q) for p, q in zip(whole.twin.parameters(), before, strict=True))
        whole.after_step(progress, staged)
        for own, old, new in zip(whole.twin.parameters(), before, online, strict=True):
            torch.testing.assert_close(own, momentum * old + (1 - momentum) * new.detach())


def test_bad_settings_are_refused_in_one_sentence(method: Make, batch: Make, facts: Data) -> None:
    known = replace(facts, batch=32)
    with pytest.raises(UserError, match="The queue of method 'moco', of 24 embeddings, is shorter than a batch of 32"):
        method(known)
    method(known, form="v3")  # it has no queue
    for form in ("v2", "v3"):
        with pytest.raises(UserError, match="'moco' needs at least 2 images in each batch of a process, found 1"):
            method(form=form).loss(batch(1))
    with pytest.raises(UserError, match="normalises 4 groups of a batch, which needs at least 8 images"):
        method(norm_groups=4).loss(batch(4))
    method(norm_groups=4).eval().loss(batch(4))  # evaluation has no groups


def test_the_head_of_v2_has_no_batch_norm(method: Make) -> None:
    """Two layers with ReLU between them (arXiv:2003.04297)."""
    head = method(head_hidden=24, head_dim=12).projector
    assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Linear"]
    assert [layer.out_features for layer in (head[0], head[2])] == [24, 12]


@pytest.mark.parametrize(
    ("encoder", "hidden", "last"),
    [(EncoderParams(name="resnet10", width=8), 1, False), (EncoderParams(name="vit-tiny", depth=1, patch=8), 2, True)],
)
def test_the_heads_of_v3_are_the_authors(encoder: EncoderParams, hidden: int, last: bool, facts: Data) -> None:
    """facebookresearch/moco-v3, moco/builder.py, c349e6e: `_build_projector_and_predictor_mlps` of both networks."""
    whole = MoCo(Params(form="v3"), build(encoder, 16, facts.mean, facts.std), facts)
    assert whole.predictor is not None
    middle, end = ["Linear", "BatchNorm1d", "ReLU"], ["Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in whole.projector] == [*middle * hidden, *end]
    assert [type(layer).__name__ for layer in whole.predictor] == [*middle, *(end if last else end[:1])]
    layers = [*whole.projector, *whole.predictor]
    assert all(layer.bias is None for layer in layers if isinstance(layer, nn.Linear))
    ends = [whole.projector[-1], *([whole.predictor[-1]] if last else [])]
    assert all(not layer.affine for layer in ends)


def test_half_precision_does_not_reach_the_loss(rows: Make) -> None:
    q, k, queue = (x.to(torch.bfloat16) for x in rows(16, 16, 32))
    with torch.autocast("cpu", torch.bfloat16):
        low = with_queue(q, k, queue, 0.05), within_batch(q, k, 0.05)
    q, k, queue = q.float(), k.float(), queue.float()
    torch.testing.assert_close(low, (with_queue(q, k, queue, 0.05), within_batch(q, k, 0.05)))


@torch.no_grad()
@pytest.mark.parametrize("form", ["v2", "v3"])
def test_a_collapse_is_named(form: str, method: Make, batch: Make) -> None:
    dead = method(form=form, queue=512).eval()
    for weight in (dead.projector[0].weight, dead.twin.copies[1][0].weight):
        weight.zero_()
    assert any("collapsed" in line for line in dead.symptoms(dead.health(batch())))
    well = {"projection_std": 1.0, "retrieval": 0.9, "retrieval_chance": 0.01}
    assert dead.symptoms(well) == []
    assert "do not find their keys: 0.010" in dead.symptoms({**well, "retrieval": 0.01})[0]


@torch.no_grad()
def test_show_draws_views_cosines_and_the_hardest_keys(method: Make, batch: Make) -> None:
    views, cosines, queue = method().eval().show(batch(4))
    assert views.images.shape == (4, 2, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
    assert queue.images.shape == (1, 1, 3, 4, 17)
    negatives = queue.images[0, 0, 0, :, 1:]
    assert bool((negatives.diff(dim=1) <= 0).all())
    assert len(method(form="v3").eval().show(batch(4))) == 2
