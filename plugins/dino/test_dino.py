"""DINO's loss against a scalar loop and lightly; teacher, centre and schedules over steps; planted collapses."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lightly.loss import DINOLoss
from pretext_dino import DINO, Params, targets
from torch import Tensor, nn

from pretextbench.errors import UserError
from pretextbench.parts import cross_view_entropy
from pretextbench.train.optim import no_step

Make = Callable[..., Any]


def outputs(views: int, n: int = 7, count: int = 5, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(views, n, count, generator=draw, dtype=torch.float64) - 1


@pytest.fixture
def batch(batch: Make) -> Make:
    """`batch(n, progress=0.5, seed=1)`: two global and four local crops."""
    return partial(batch, sides=(16, 16, 8, 8, 8, 8), progress=0.5)


@pytest.fixture
def method(built: Make) -> Make:
    """`method(**params)`: always with the same weights."""
    return lambda **params: built(DINO, Params(**params))


def softmax(row: list[float], temperature: float) -> list[float]:
    powers = [math.exp(x / temperature) for x in row]
    return [power / math.fsum(powers) for power in powers]


def test_equals_the_equation() -> None:
    """Two global crops for the teacher, four crops for the student: six pairs."""
    t, s, centre = outputs(2), outputs(4, seed=1), outputs(1, 1, seed=2)[0, 0]
    total, pairs = 0.0, [(g, v) for g in range(2) for v in range(4) if g != v]
    for g, v in pairs:
        for i in range(7):
            wanted = softmax((t[g, i] - centre).tolist(), 0.04)
            prediction = softmax(s[v, i].tolist(), 0.1)
            total -= math.fsum(p * math.log(q) for p, q in zip(wanted, prediction, strict=True))
    result = cross_view_entropy(targets(t, centre, temperature=0.04), s, 0.1)
    assert len(pairs) == 6
    assert float(result) == pytest.approx(total / 6 / 7, abs=1e-12)


def test_lightly_agrees_over_steps(method: Make) -> None:
    """A second opinion on loss and gradient, and on the centre that each step leaves to the next."""
    second_opinion, whole = DINOLoss(output_dim=25, teacher_temp=0.04).double(), method().double()
    for seed in range(3):
        t, s = outputs(2, count=25, seed=seed), outputs(4, count=25, seed=seed + 9).requires_grad_()
        value = cross_view_entropy(targets(t, whole.centre, temperature=0.04), s, 0.1)
        expected = second_opinion(list(t), list(s))
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-7)  # lightly's temperature is float32
        gradients = (torch.autograd.grad(loss, s)[0] for loss in (value, expected))
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-7)
        whole.after_step(0.0, {"centre": t.mean((0, 1))[None]})
        torch.testing.assert_close(whole.centre, second_opinion.center[0, 0], rtol=0, atol=1e-12)


def test_the_centre_follows_by_the_closed_form_whatever_accumulate_is(method: Make) -> None:
    """Of equal batches of mean m, from 0: (1 - 0.8^n) m; rows of two parts are averaged into one update."""
    whole, parts = method(centre_momentum=0.8), method(centre_momentum=0.8)
    mean = torch.linspace(-1, 1, 25)
    for _ in range(4):
        whole.after_step(0.5, {"centre": mean[None]})
        parts.after_step(0.5, {"centre": torch.stack([mean - 1, mean + 1])})
    torch.testing.assert_close(whole.centre, (1 - 0.8**4) * mean)
    torch.testing.assert_close(parts.centre, whole.centre)


def test_the_loss_stages_the_centre_and_moves_nothing(method: Make, batch: Make) -> None:
    whole = method()
    whole.centre.fill_(0.3)
    before = [p.clone() for p in whole.teacher.parameters()]
    loss = whole.loss(batch())
    assert torch.equal(whole.centre, torch.full((25,), 0.3))
    assert all(torch.equal(p, q) for p, q in zip(whole.teacher.parameters(), before, strict=True))
    torch.testing.assert_close(loss.staged["centre"], whole.taught(batch().views).mean((0, 1))[None])


def test_the_loss_is_that_of_the_crops_and_the_teacher_sees_global_ones_alone(method: Make, batch: Make) -> None:
    whole = method(temperature=0.2).eval()
    views = batch(progress=0.15)
    t = torch.stack([whole.teacher(view) for view in views.views[:2]])
    s = torch.stack([whole.last(whole.head(whole.encoder(view))) for view in views.views])
    whole.centre.copy_(t.mean((0, 1)) / 2)
    expected = cross_view_entropy(targets(t, whole.centre, temperature=0.055), s, 0.2)
    torch.testing.assert_close(whole.loss(views).total, expected, rtol=1e-4, atol=1e-4)
    seen = []
    whole.teacher.copies[0].register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape)))
    whole.loss(views)
    assert seen == [(16, 3, 16, 16)]


@pytest.mark.parametrize("norm", [True, False])
def test_the_head_is_that_of_the_paper(norm: bool, method: Make) -> None:
    """Three layers with GELU between them, for student and teacher; batch norm if asked for."""
    whole = method(head_norm=norm, head_hidden=24, head_dim=12)
    middle = ["Linear", "BatchNorm1d", "GELU"] if norm else ["Linear", "GELU"]
    for head in (whole.head, whole.teacher.copies[1]):
        assert [type(layer).__name__ for layer in head] == [*middle, *middle, "Linear"]
        assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [24, 24, 12]


def test_no_gradient_reaches_the_teacher(method: Make, batch: Make) -> None:
    whole = method()
    whole.loss(batch()).total.backward()
    assert all(p.grad is None for p in whole.teacher.parameters())
    trained = (whole.encoder, whole.head, whole.last)
    assert all(float(p.grad.abs().sum()) > 0 for part in trained for p in part.parameters())


def test_the_teacher_follows_all_three_networks_with_a_momentum_that_rises_to_one(method: Make) -> None:
    whole = method(momentum=0.9)
    before = [p.clone() for p in whole.teacher.parameters()]
    networks = (whole.encoder, whole.head, whole.last)
    with torch.no_grad():
        for network in networks:
            for p in network.parameters():
                p.add_(1)
    whole.after_step(0.0, {"centre": torch.zeros(1, 25)})
    students = [p.detach() for network in networks for p in network.parameters()]
    for weight, old, new in zip(whole.teacher.parameters(), before, students, strict=True):
        torch.testing.assert_close(weight, 0.9 * old + 0.1 * new)
    stopped = [p.clone() for p in whole.teacher.parameters()]
    whole.after_step(1.0, {"centre": torch.zeros(1, 25)})
    assert all(torch.equal(p, q) for p, q in zip(whole.teacher.parameters(), stopped, strict=True))


def test_the_schedule_of_the_teachers_temperature(method: Make) -> None:
    whole = method()
    result = [whole.teacher_temperature(progress) for progress in (0.0, 0.15, 0.3, 1.0)]
    assert result == pytest.approx([0.04, 0.055, 0.07, 0.07])
    assert method(teacher_warmup=0.0).teacher_temperature(0.0) == pytest.approx(0.07)
    slow = method(teacher_start=0.1, teacher_end=0.2, teacher_warmup=0.5)
    assert slow.teacher_temperature(0.25) == pytest.approx(0.15)


def test_the_last_layer_is_weight_normalised_and_stands_still_at_the_start(method: Make, batch: Make) -> None:
    for frozen, progress, moves in ((0.05, 0.0, False), (0.05, 0.05, True), (0.2, 0.199, False), (0.2, 0.2, True)):
        whole = method(frozen=frozen)
        z = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
        before = whole.last(z).detach()
        optimizer = torch.optim.AdamW(whole.last.parameters(), lr=1e-2, weight_decay=0.1)
        whole.loss(batch(progress=progress)).total.backward()
        if id(whole.last.weight) in no_step(whole, progress):
            whole.last.weight.grad = None  # as the host does
        optimizer.step()
        after = whole.last(z).detach()
        assert (float((after - before).abs().max()) > 1e-4) == moves
        assert float(after.abs().max()) <= 1, "a cosine"


def test_half_precision_does_not_reach_the_targets() -> None:
    t, centre = outputs(2, 64, 32).to(torch.bfloat16), outputs(1, 1, 32, seed=1)[0, 0].to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        low = targets(t, centre, temperature=0.04)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, targets(t.float(), centre.float(), temperature=0.04))


@pytest.mark.parametrize(
    ("params", "images", "message"),
    [
        ({}, 1, "'dino' needs at least 2 images in each batch of a process, found 1"),
        ({"prototypes": 101}, 8, "'dino' needs 2 to 100 prototypes"),
        ({"local_size": 17}, 8, "A local crop of 17 px is larger than the images, which have 16 px"),
    ],
)
def test_what_makes_no_sense_is_refused(
    params: dict[str, object], images: int, message: str, method: Make, batch: Make
) -> None:
    def attempt() -> None:
        DINO.recipe(Params(**params), 16)
        method(**params).loss(batch(images))

    with pytest.raises(UserError, match=message):
        attempt()


@torch.no_grad()
def test_collapses_are_named(method: Make, batch: Make) -> None:
    """The student one vector; the teacher uniform, of loss ln K; of one output; the same of all images."""
    dead, uniform, single, same = (method().eval() for _ in range(4))
    dead.head[-1].weight.zero_()
    for layer in (uniform.last, uniform.teacher.copies[2]):
        layer.weight.copy_(layer.weight[:1].expand(25, -1))
    single.centre[0] = -5
    same.teacher.copies[1][-1].weight.zero_()
    named = [model.symptoms(model.health(batch())) for model in (dead, uniform, single, same)]
    words = ("collapsed", "predictions are uniform", "one prototype takes all", "all images have nearly the same")
    for lines, expected in zip(named, words, strict=True):
        assert any(expected in line for line in lines), lines
    assert float(uniform.loss(batch()).total) == pytest.approx(math.log(25), abs=1e-5)
    assert dead.symptoms({"projection_std": 1.0, "teacher_entropy": 0.6, "teacher_use": 0.95}) == []


@torch.no_grad()
def test_show_draws_crops_cosines_and_outputs(method: Make, batch: Make) -> None:
    crops, cosines, prototypes = method().eval().show(batch(4))
    assert crops.images.shape == (4, 6, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
    assert prototypes.images.shape == (6, 4, 3, 16, 16)
