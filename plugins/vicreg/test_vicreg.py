"""VICReg's terms against scalar loops, numpy, closed forms and lightly; a planted collapse."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightly.loss import VICRegLoss
from pretext_vicreg import Params, VICReg, terms
from torch import nn

from pretextbench.errors import UserError

Make = Callable[..., Any]


@pytest.fixture
def method(built: Make) -> Make:
    """`method(**params)`: always with the same weights."""
    return lambda **params: built(VICReg, Params(**params))


def variance_loop(z: list[list[float]]) -> float:
    """Equations 1 and 2, one scalar at a time."""
    n, total = len(z), 0.0
    for j in range(len(z[0])):
        mean = math.fsum(row[j] for row in z) / n
        variance = math.fsum((row[j] - mean) ** 2 for row in z) / (n - 1)
        total += max(0.0, 1 - math.sqrt(variance + 1e-4))
    return total / len(z[0])


def covariance_loop(z: list[list[float]]) -> float:
    """Equations 3 and 4."""
    n, dim, total = len(z), len(z[0]), 0.0
    means = [math.fsum(row[j] for row in z) / n for j in range(dim)]
    for i in range(dim):
        for j in range(dim):
            if i != j:
                covariance = math.fsum((row[i] - means[i]) * (row[j] - means[j]) for row in z) / (n - 1)
                total += covariance**2
    return total / dim


@pytest.mark.parametrize("scaling", ["official", "paper"])
def test_equals_the_equations(scaling: str, pair: Make) -> None:
    z1, z2 = pair()
    a, b = z1.tolist(), z2.tolist()
    distances = [math.fsum((x - y) ** 2 for x, y in zip(p, q, strict=True)) for p, q in zip(a, b, strict=True)]
    half, divisor = (2, 5) if scaling == "official" else (1, 1)
    expected = (
        math.fsum(distances) / 7 / divisor,
        (variance_loop(a) + variance_loop(b)) / half,
        covariance_loop(a) + covariance_loop(b),
    )
    assert [float(term) for term in terms(z1, z2, scaling)] == pytest.approx(expected, abs=1e-12)


def test_covariance_is_that_of_numpy(pair: Make) -> None:
    z, _ = pair()
    c = np.cov(z.numpy(), rowvar=False)
    expected = (c**2).sum() - (np.diag(c) ** 2).sum()
    assert float(terms(z, z)[2]) == pytest.approx(2 * expected / 5, abs=1e-12)


def test_lightly_agrees(pair: Make) -> None:
    """A second opinion on the weighted sum, value and gradients, under the scaling of the authors' code."""
    z1, z2 = (z.requires_grad_() for z in pair(16, 8))
    invariance, variance, covariance = terms(z1, z2)
    ours, theirs = 25 * invariance + 25 * variance + covariance, VICRegLoss()(z1, z2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    gradients = (torch.autograd.grad(loss, (z1, z2)) for loss in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


def test_a_collapse_costs_24_75() -> None:
    z = torch.ones(4, 3, dtype=torch.float64)
    invariance, variance, covariance = terms(z, z)
    assert 25 * float(invariance) + 25 * float(variance) + float(covariance) == pytest.approx(24.75, abs=1e-12)


def test_nothing_is_left_where_all_is_as_wanted() -> None:
    """Equal views, deviations above one, no covariance."""
    z = 2 * torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    assert [float(term) for term in terms(z, z)] == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_shift_changes_the_invariance_alone(pair: Make) -> None:
    z1, z2 = pair()
    before, after = terms(z1, z2), terms(z1 + 3, z2)
    torch.testing.assert_close(after[1:], before[1:], rtol=0, atol=1e-12)
    assert after[0] > before[0] + 1


@pytest.mark.parametrize("scaling", ["official", "paper"])
def test_the_loss_is_the_weighted_sum(scaling: str, method: Make, batch: Make) -> None:
    whole, views = method(invariance=2.0, variance=3.0, covariance=4.0, scaling=scaling), batch()
    invariance, variance, covariance = terms(*whole.project(views.views), scaling)
    loss = whole.loss(views)
    torch.testing.assert_close(loss.total, 2 * invariance + 3 * variance + 4 * covariance)
    expected = {"invariance": invariance, "variance": variance, "covariance": covariance}
    torch.testing.assert_close(loss.parts, expected)


def test_the_head_is_that_of_the_paper(method: Make) -> None:
    """Three layers of one width, with batch norm and ReLU between them."""
    head = method(head_dim=24).projector
    middle = ["Linear", "BatchNorm1d", "ReLU"]
    assert [type(layer).__name__ for layer in head] == [*middle, *middle, "Linear"]
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [24, 24, 24]
    assert head[-1].bias is None


def test_half_precision_does_not_reach_the_terms(pair: Make) -> None:
    z1, z2 = (z.to(torch.bfloat16) for z in pair(64, 32))
    with torch.autocast("cpu", torch.bfloat16):
        low = terms(z1, z2)
    assert {term.dtype for term in low} == {torch.float32}
    torch.testing.assert_close(low, terms(z1.float(), z2.float()))


def test_a_single_image_is_refused(method: Make, batch: Make) -> None:
    with pytest.raises(UserError, match="'vicreg' needs at least 2 images in each batch of a process, found 1"):
        method().loss(batch(1))


@torch.no_grad()
def test_a_collapse_is_named(method: Make, batch: Make) -> None:
    sound, dead = method().eval(), method().eval()
    dead.projector[-1].weight.zero_()
    symptoms = dead.symptoms(dead.health(batch()))
    assert any("collapsed" in line for line in symptoms)
    assert any("dimensions hardly vary" in line for line in symptoms)
    spread = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    healthy = sound.health(batch()) | {"projection_std": 1.0, "variance_hinge": 0.02}
    assert sound.symptoms(healthy) == []
    assert float(terms(spread, spread)[1]) < 0.1


def test_show_draws_views_cosines_and_embeddings(method: Make, batch: Make) -> None:
    net, few = method().eval(), batch(4)
    views, cosines, embeddings = net.show(few)
    assert views.images.shape == (4, 2, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
    assert embeddings.images.shape == (1, 2, 3, 4, min(64, net.params.head_dim))
