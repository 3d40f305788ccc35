"""SwAV's loss against a scalar loop and lightly; assignments, prototypes and queue over steps; planted collapses."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from lightly.loss import SwaVLoss
from pretext_swav import Params, SwAV
from torch import Tensor, nn

from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.parts import cross_view_entropy, sinkhorn
from pretextbench.train.optim import no_step

Make = Callable[..., Any]


def scores(views: int = 4, n: int = 7, count: int = 5) -> Tensor:
    return torch.rand(views, n, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def assigned(values: Tensor, views: int = 2) -> Tensor:
    return torch.stack([sinkhorn(s, 0.05) for s in values[:views]])


@pytest.fixture
def batch(batch: Make) -> Make:
    """`batch(n, progress=0.5, seed=1)`: two global and four local crops."""
    return partial(batch, sides=(16, 16, 8, 8, 8, 8), progress=0.5)


@pytest.fixture
def method(built: Make) -> Make:
    """`method(data, **params)`: always with the same weights."""
    return lambda *data, **params: built(SwAV, Params(**params), *data)


def step(whole: SwAV, views: Batch) -> None:
    """One optimizer step as the host takes it."""
    optimizer = torch.optim.AdamW(whole.parameters(), lr=1e-2)
    loss = whole.loss(views)
    loss.total.backward()
    if id(whole.prototypes.weight) in no_step(whole, views.progress):
        whole.prototypes.weight.grad = None
    optimizer.step()
    whole.after_step(views.progress, {name: rows.detach() for name, rows in loss.staged.items()})


def test_equals_the_equation() -> None:
    s = scores()
    q, total, pairs = assigned(s).tolist(), 0.0, 0
    for g in range(2):
        for v in range(4):
            if v == g:
                continue
            pairs += 1
            for i in range(7):
                row = [x / 0.1 for x in s[v, i].tolist()]
                log_sum = math.log(math.fsum(math.exp(x) for x in row))
                total -= math.fsum(share * (x - log_sum) for share, x in zip(q[g][i], row, strict=True))
    assert pairs == 6
    assert float(cross_view_entropy(assigned(s), s, 0.1)) == pytest.approx(total / pairs / 7, abs=1e-12)


def test_lightly_agrees() -> None:
    """A second opinion with two global and two local crops, value and gradient."""
    s = scores().requires_grad_()
    value, second_opinion = cross_view_entropy(assigned(s), s, 0.1), SwaVLoss()(list(s[:2]), list(s[2:]))[0]
    torch.testing.assert_close(value, second_opinion, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(loss, s)[0] for loss in (value, second_opinion))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_a_view_does_not_predict_its_own_assignment() -> None:
    """Only the second global view is compared with the first one's assignment, and the other way round."""
    s = scores(2)
    q = torch.zeros(2, 7, 5, dtype=torch.float64)
    q[0, :, 0] = 1
    s[1] = 1000 * torch.eye(5, dtype=torch.float64)[0]
    q[1] = q[0]
    changed = s.clone()
    changed[0] = s[1]
    assert float(cross_view_entropy(q, changed, 0.1)) == pytest.approx(0, abs=1e-9)
    assert float(cross_view_entropy(q, s, 0.1)) > 0.1


def test_assignments_carry_no_gradient() -> None:
    s = scores(2).requires_grad_()
    q = assigned(s.detach()).requires_grad_()
    cross_view_entropy(q, s, 0.1).backward()
    assert q.grad is None


def test_the_loss_is_that_of_the_crops(method: Make, batch: Make) -> None:
    whole = method(temperature=0.2, epsilon=0.02, iterations=1).eval()
    views = batch()
    z = whole.head(torch.cat([whole.encoder(view) for view in views.views]))
    s = whole.prototypes(z).view(6, 8, -1)
    q = torch.stack([sinkhorn(view, 0.02, 1) for view in s[:2]])
    torch.testing.assert_close(whole.loss(views).total, cross_view_entropy(q, s, 0.2), rtol=1e-5, atol=1e-5)


def test_the_head_is_that_of_the_paper(method: Make) -> None:
    head = method(head_hidden=24, head_dim=12).head
    assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [24, 12]
    assert head[-1].bias is not None


def test_prototypes_have_length_one_after_each_step_and_stand_still_at_the_start(method: Make, batch: Make) -> None:
    for frozen, progress, moves in ((0.05, 0.0, False), (0.05, 0.05, True), (0.2, 0.199, False), (0.2, 0.2, True)):
        whole = method(frozen=frozen)
        before = whole.prototypes.weight.detach().clone()
        step(whole, batch(progress=progress))
        after = whole.prototypes.weight.detach()
        torch.testing.assert_close(after.norm(dim=1), torch.ones(25))
        assert (float((after - before).abs().max()) > 1e-4) == moves


@pytest.mark.parametrize(("size", "queue", "count"), [(64, 0, 64), (64, 128, 192), (512, 0, 256), (0, 0, 256)])
def test_no_more_prototypes_than_embeddings_that_share_them(
    size: int, queue: int, count: int, method: Make, facts: Data
) -> None:
    assert len(method(replace(facts, images=50_000, batch=size), queue=queue).prototypes.weight) == count


def test_the_queue_joins_when_it_is_full_and_after_the_loss_alone(method: Make, batch: Make) -> None:
    whole = method(queue=16)
    views, later = batch(), batch(seed=2)
    first = whole.loss(views)
    assert [rows.shape for rows in first.staged.values()] == [(8, 128), (8, 128)]
    before = [queue.rows.clone() for queue in whole.queues]
    whole.loss(views)
    assert all(torch.equal(queue.rows, rows) for queue, rows in zip(whole.queues, before, strict=True))
    s = scores(2, 8, 25).float()
    alone = torch.stack([sinkhorn(view, 0.05) for view in s])
    for given in (views, later):
        assert torch.equal(whole.assign(s), alone)
        step(whole, given)
    assert float((whole.assign(s) - alone).abs().max()) > 1e-3
    for queue in whole.queues:
        torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(16))
    assert not torch.equal(whole.queues[0].rows, whole.queues[1].rows)


@torch.no_grad()
def test_each_crop_that_assigns_has_a_queue_of_its_own(method: Make, batch: Make) -> None:
    whole = method(queue=16)
    staged = whole.loss(batch()).staged
    for _ in range(2):  # a queue takes two batches
        whole.after_step(0.5, staged)
    s = scores(2, 8, 25).float()
    for crop, result in enumerate(whole.assign(s)):
        extra = whole.prototypes(staged[f"z{crop}"]).repeat(2, 1)
        torch.testing.assert_close(result, sinkhorn(s[crop], 0.05, extra=extra))


@pytest.mark.parametrize(
    ("params", "images", "message"),
    [
        ({}, 1, "'swav' needs at least 2 images in each batch of a process, found 1"),
        ({"queue": 4}, 8, "The queue of method 'swav', of 4 embeddings, is shorter than a batch of 8"),
        ({"prototypes": 101}, 8, "'swav' needs 2 to 100 prototypes"),
        ({"local_size": 17}, 8, "A local crop of 17 px is larger than the images, which have 16 px"),
    ],
)
def test_what_makes_no_sense_is_refused(
    params: dict[str, object], images: int, message: str, method: Make, batch: Make
) -> None:
    def attempt() -> None:
        SwAV.recipe(Params(**params), 16)
        step(method(**params), batch(images))

    with pytest.raises(UserError, match=message):
        attempt()


def test_a_queue_shorter_than_a_batch_is_refused_before_any_step(method: Make, facts: Data) -> None:
    with pytest.raises(UserError, match="The queue of method 'swav', of 4 embeddings, is shorter than a batch of 8"):
        method(replace(facts, batch=8), queue=4)


@torch.no_grad()
def test_collapses_are_named(method: Make, batch: Make) -> None:
    """All embeddings one vector; all prototypes one vector; one prototype for all images."""
    dead, uniform, single = (method(temperature=t).eval() for t in (0.1, 0.1, 0.01))
    dead.head[-1].weight.zero_()
    uniform.prototypes.weight.copy_(uniform.prototypes.weight[:1].expand(25, -1))
    single.head[-1].weight.zero_()
    single.prototypes.weight[0] = single.head[-1].bias
    named = [model.symptoms(model.health(batch())) for model in (dead, uniform, single)]
    for lines, words in zip(named, ("collapsed", "predictions are uniform", "one prototype takes all"), strict=True):
        assert any(words in line for line in lines), lines
    assert dead.symptoms({"projection_std": 1.0, "prediction_entropy": 0.8, "prototype_use": 0.95}) == []


@torch.no_grad()
def test_show_draws_crops_cosines_and_prototypes(method: Make, batch: Make) -> None:
    crops, cosines, prototypes = method().eval().show(batch(4))
    assert crops.images.shape == (4, 6, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
    assert prototypes.images.shape == (6, 4, 3, 16, 16)
