"""Barlow Twins' loss against a scalar loop, closed forms and lightly; planted collapse and repeated dimensions."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from pretext_barlow_twins import BarlowTwins, Params, barlow
from torch import nn

from pretextbench.errors import UserError
from pretextbench.method import Batch

Make = Callable[..., Any]


@pytest.fixture
def method(built: Make) -> Make:
    """`method(**params)`: always with the same weights."""
    return lambda **params: built(BarlowTwins, Params(**params))


def loop(z1: list[list[float]], z2: list[list[float]], redundancy: float) -> float:
    """Equations 1 and 2, one scalar at a time; biased deviation, 1e-5 in the variance."""
    n, dim = len(z1), len(z1[0])

    def standardised(z: list[list[float]]) -> list[list[float]]:
        means = [math.fsum(row[j] for row in z) / n for j in range(dim)]
        variances = [math.fsum((row[j] - means[j]) ** 2 for row in z) / n for j in range(dim)]
        return [[(row[j] - means[j]) / math.sqrt(variances[j] + 1e-5) for j in range(dim)] for row in z]

    a, b, total = standardised(z1), standardised(z2), 0.0
    for i in range(dim):
        for j in range(dim):
            c = math.fsum(p[i] * q[j] for p, q in zip(a, b, strict=True)) / n
            total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


@pytest.mark.parametrize("redundancy", [0.0, 5.1e-3, 1.0])
def test_equals_the_equations(redundancy: float, pair: Make) -> None:
    z1, z2 = pair()
    expected = loop(z1.tolist(), z2.tolist(), redundancy)
    assert float(barlow(z1, z2, redundancy)[0]) == pytest.approx(expected, abs=1e-12)


def test_lightly_agrees(pair: Make) -> None:
    """A second opinion, value and gradients."""
    z1, z2 = (z.requires_grad_() for z in pair(16, 8))
    ours, theirs = barlow(z1, z2, 5e-3)[0], BarlowTwinsLoss(lambda_param=5e-3)(z1, z2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    gradients = (torch.autograd.grad(loss, (z1, z2)) for loss in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_closed_forms(pair: Make) -> None:
    """Constant: D. All dimensions equal: lambda D (D - 1). Whitened equal views: about 0."""
    dim, redundancy = 6, 0.01
    constant = torch.ones(8, dim, dtype=torch.float64)
    assert float(barlow(constant, constant, redundancy)[0]) == pytest.approx(dim, abs=1e-12)
    equal = pair(64, 1)[0].expand(-1, dim)
    assert float(barlow(equal, equal, redundancy)[0]) == pytest.approx(redundancy * dim * (dim - 1), rel=1e-3)
    white = torch.linalg.qr(pair(64, dim)[0] - pair(64, dim)[0].mean(0))[0] * 8
    assert float(barlow(white, white, redundancy)[0]) < 1e-8


def test_scale_and_shift_of_a_dimension_change_nothing(pair: Make) -> None:
    z1, z2 = pair(64)
    affine = z1 * torch.tensor([2.0, 0.5, 3.0, 1.0, 7.0], dtype=torch.float64) + 4
    torch.testing.assert_close(barlow(affine, z2, 0.01), barlow(z1, z2, 0.01), rtol=0, atol=1e-4)


def test_the_loss_is_the_scaled_equation(method: Make, batch: Make) -> None:
    whole, views = method(redundancy=0.3, scale=0.5), batch()
    total, diagonal = barlow(*whole.project(views.views), 0.3)
    loss = whole.loss(views)
    torch.testing.assert_close(loss.total, 0.5 * total)
    torch.testing.assert_close(loss.parts["diagonal"], diagonal)


def test_the_head_is_that_of_the_paper(method: Make) -> None:
    """Three layers of one width, with batch norm and ReLU between them."""
    head = method(head_dim=24).projector
    middle = ["Linear", "BatchNorm1d", "ReLU"]
    assert [type(layer).__name__ for layer in head] == [*middle, *middle, "Linear"]
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [24, 24, 24]
    assert head[-1].bias is None


def test_half_precision_does_not_reach_the_loss(pair: Make) -> None:
    z1, z2 = (z.to(torch.bfloat16) for z in pair(64, 32))
    with torch.autocast("cpu", torch.bfloat16):
        low = barlow(z1, z2, 0.01)
    torch.testing.assert_close(low, barlow(z1.float(), z2.float(), 0.01))


def test_a_single_image_is_refused(method: Make, batch: Make) -> None:
    with pytest.raises(UserError, match="'barlow-twins' needs at least 2 images in each batch of a process, found 1"):
        method().loss(batch(1))


@torch.no_grad()
def test_a_collapse_and_repeated_dimensions_are_named(method: Make, batch: Make) -> None:
    dead = method().eval()
    dead.projector[-1].weight.zero_()
    symptoms = dead.symptoms(dead.health(batch()))
    assert any("collapsed" in line for line in symptoms)
    assert any("views do not correlate" in line for line in symptoms)
    repeated = method().eval()
    repeated.projector[-1].weight.copy_(repeated.projector[-1].weight[:1].expand_as(repeated.projector[-1].weight))
    image, _ = batch().views
    alike = Batch((image, (image + 0.05).clamp(0, 1)), torch.arange(8))  # of other images no dimensions correlate
    assert any("dimensions repeat each other" in line for line in repeated.symptoms(repeated.health(alike)))
    assert dead.symptoms({"projection_std": 1.0, "across": 0.05, "diagonal": 0.9}) == []


@torch.no_grad()
def test_show_draws_views_cosines_and_embeddings(method: Make, batch: Make) -> None:
    views, cosines, embeddings = method().eval().show(batch(4))
    assert views.images.shape == (4, 2, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
    assert embeddings.images.shape == (1, 2, 3, 4, min(64, method().params.head_dim))
