"""SIGReg and VISReg against closed forms, loops and lightly; two processes against one."""

import cmath
import math
from collections.abc import Callable

import pytest
import torch
from lightly.loss import visreg_loss
from lightly.loss.lejepa_loss import SIGReg

from pretextbench.parts import random_directions, sigreg, visreg
from tests.parts.test_parts import rows
from tests.two_threads import in_two_threads

LINE = torch.ones(1, 1, dtype=torch.float64)  # the one direction of a line


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("n", [1, 2, 10])
def test_the_statistic_of_one_point_grows_with_n(n: int) -> None:
    assert float(sigreg(column(*[0.0] * n), LINE)) == pytest.approx(0.4020476 * n, abs=1e-6)
    assert float(sigreg(column(*[1.0] * n), LINE)) == pytest.approx(1.1860058 * n, abs=1e-6)
    assert float(sigreg(column(*[1.0, -1.0] * n), LINE)) == pytest.approx(0.1028296 * 2 * n, abs=1e-6)


def test_normal_embeddings_give_1_05_whatever_n() -> None:
    """The mean over 1,000 draws has a deviation of about 0.03."""
    draw = torch.Generator().manual_seed(0)
    for n in (2, 16, 128):
        z = torch.randn(n, 1000, generator=draw, dtype=torch.float64)
        assert float(sigreg(z, torch.eye(1000, dtype=torch.float64))) == pytest.approx(1.0524642, abs=0.1)


def epps_pulley(z: list[list[float]], direction: list[float]) -> float:
    """N times the integral, one knot at a time."""
    n, step, total = len(z), 3 / 16, 0.0
    for k in range(17):
        t = k * step
        phi = sum(cmath.exp(1j * t * math.fsum(a * b for a, b in zip(row, direction, strict=True))) for row in z) / n
        weight = step if k in (0, 16) else 2 * step
        total += weight * abs(phi - math.exp(-(t**2) / 2)) ** 2 * math.exp(-(t**2) / 2)
    return n * total


def test_the_statistic_equals_a_loop_over_knots_and_directions() -> None:
    z, directions = rows(7, 3), torch.nn.functional.normalize(rows(3, 5, seed=1), dim=0)
    expected = math.fsum(epps_pulley(z.tolist(), direction) for direction in directions.T.tolist()) / 5
    assert float(sigreg(z, directions)) == pytest.approx(expected, abs=1e-12)
    shuffled = z[torch.randperm(7)]
    for same in (shuffled, -z):
        assert float(sigreg(same, directions)) == pytest.approx(expected, abs=1e-12)


def test_lightly_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second opinion on both statistics, on the same directions."""
    z = rows(12, 6).float().requires_grad_()
    torch.manual_seed(3)
    directions = random_directions(z, 8)
    monkeypatch.setattr(SIGReg, "_generate_unit_vectors", lambda *_: directions)
    second_opinion = SIGReg()(z)
    torch.testing.assert_close(sigreg(z, directions), second_opinion, rtol=1e-5, atol=1e-6)
    gradients = (torch.autograd.grad(loss, z)[0] for loss in (sigreg(z, directions), second_opinion))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    torch.manual_seed(3)
    shape = visreg_loss.visreg_shape_loss(z, 8, eps=1e-6)
    shape = shape + visreg_loss.visreg_scale_loss(z) + visreg_loss.visreg_center_loss(z)
    torch.testing.assert_close(visreg(z, directions), shape, rtol=1e-5, atol=1e-6)
    gradients = (torch.autograd.grad(loss, z)[0] for loss in (visreg(z, directions), shape))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n", "shape"), [(2, 0.18553), (8, 0.56995), (64, 0.89181), (256, 0.96313)])
def test_a_collapse_costs_visreg_its_closed_form(n: int, shape: float) -> None:
    """Scale 1, centre c^2, and the mean square of the quantiles; its gradient is finite."""
    z = torch.full((n, 3), 0.5, dtype=torch.float64).requires_grad_()
    total = visreg(z, random_directions(z, 4))
    assert float(total.detach()) == pytest.approx(1 + 0.25 + shape, abs=1e-5)
    (gradient,) = torch.autograd.grad(total, z)
    assert bool(gradient.isfinite().all())


def test_nothing_is_left_of_visreg_at_the_quantiles() -> None:
    """But their deviation is below 1, which costs a scale, and the shape is compared after division by it."""
    quantiles = torch.special.ndtri(torch.arange(1, 10, dtype=torch.float64) / 10)[:, None]
    deviation = float(quantiles.std(correction=0))
    shape = float((quantiles / (deviation + 1e-6) - quantiles).square().mean())
    assert float(visreg(quantiles, LINE)) == pytest.approx((1 - deviation) ** 2 + shape, abs=1e-12)


def test_directions_are_unit_vectors_of_the_hosts_generator() -> None:
    z = rows(4, 6)
    torch.manual_seed(0)
    first, second = random_directions(z, 5), random_directions(z, 5)
    torch.manual_seed(0)
    assert torch.equal(random_directions(z, 5), first)
    assert not torch.equal(first, second)
    assert first.dtype == z.dtype
    torch.testing.assert_close(first.norm(dim=0), torch.ones(5, dtype=torch.float64))


def test_processes_draw_equal_directions() -> None:
    """Each has another state of the generator, and takes the draw of the first."""
    first, second = in_two_threads(lambda z: random_directions(z, 5), rows(8, 6))
    assert torch.equal(first, second)


@pytest.mark.parametrize("statistic", [sigreg, visreg])
def test_two_processes_equal_one(statistic: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
    """Value and gradient; DDP averages the gradients of the processes' losses."""
    z, directions = rows(8, 6).requires_grad_(), torch.nn.functional.normalize(rows(6, 5, seed=1), dim=0)
    alone = statistic(z, directions)
    result = in_two_threads(lambda half: statistic(half, directions), z)
    for value in result:
        torch.testing.assert_close(value, alone, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(loss, z)[0] for loss in (alone, torch.stack(result).mean()))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
