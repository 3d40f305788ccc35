"""SimCLR's loss against the lesson's equations in a scalar loop, closed forms and invariances; its other cosines."""

import math
from collections.abc import Callable

import pytest
import torch
from lightly.loss import DCLLoss, NTXentLoss
from pretext_simclr import SimCLR, nt_xent, retrieval
from torch import Tensor

from pretextbench.method import Batch

Method, Views = Callable[..., SimCLR], Callable[..., Batch]


def pairs(n: int = 6, dim: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    z1, z2 = (torch.randn(n, dim, generator=draw, dtype=torch.float64) for _ in range(2))
    return z1, z2


# --- equations 8 to 10 as they are printed, one scalar at a time ----------------------------------------------------


def sim(a: list[float], b: list[float]) -> float:
    """Equation 8: the cosine."""
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a)) / math.sqrt(math.fsum(x * x for x in b))


def term(z: list[list[float]], i: int, j: int, tau: float) -> float:
    """Equation 9: the loss of the positive pair (i, j) among all 2N views; k = i alone is left out below."""
    below = math.fsum(math.exp(sim(z[i], z[k]) / tau) for k in range(len(z)) if k != i)
    return -math.log(math.exp(sim(z[i], z[j]) / tau) / below)


def interleaved(z1: Tensor, z2: Tensor, tau: float) -> float:
    """Equation 10 as printed: the views of image k are number 2k - 1 and 2k, counted from 1."""
    z = torch.stack([z1, z2], 1).flatten(0, 1).double().tolist()
    n = len(z1)
    return sum(term(z, 2 * k - 2, 2 * k - 1, tau) + term(z, 2 * k - 1, 2 * k - 2, tau) for k in range(1, n + 1)) / (
        2 * n
    )


def stacked(z1: Tensor, z2: Tensor, tau: float) -> float:
    """The same in the layout of the code: the views of image i are number i and i + N."""
    z = torch.cat([z1, z2]).double().tolist()
    n = len(z1)
    return sum(term(z, i, i + n, tau) + term(z, i + n, i, tau) for i in range(n)) / (2 * n)


@pytest.mark.parametrize("layout", [interleaved, stacked])
@pytest.mark.parametrize("tau", [0.05, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_equals_the_equations(layout: Callable[[Tensor, Tensor, float], float], tau: float, n: int) -> None:
    z1, z2 = pairs(n)
    assert float(nt_xent(z1, z2, tau)) == pytest.approx(layout(z1, z2, tau), abs=1e-12)


def test_pairing_matters() -> None:
    """A loss that took the interleaved layout for the stacked one would pair other images: seen at once."""
    z1, z2 = pairs()
    assert abs(float(nt_xent(z1, z2.roll(1, 0), 0.5)) - interleaved(z1, z2, 0.5)) > 1e-2


def test_the_authors_code_returns_twice_as_much() -> None:
    """simclr/objective.py: loss_a + loss_b, each a mean over N, with the views' own block masked by a large number."""
    z1, z2 = (torch.nn.functional.normalize(z, dim=1) for z in pairs())
    tau, mask = 0.5, torch.eye(6, dtype=torch.float64) * 1e9
    aa, bb, ab, ba = z1 @ z1.T / tau - mask, z2 @ z2.T / tau - mask, z1 @ z2.T / tau, z2 @ z1.T / tau
    rows = torch.arange(6)
    loss_a = torch.nn.functional.cross_entropy(torch.cat([ab, aa], 1), rows)
    loss_b = torch.nn.functional.cross_entropy(torch.cat([ba, bb], 1), rows)
    torch.testing.assert_close(loss_a + loss_b, 2 * nt_xent(z1, z2, tau), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5])
@pytest.mark.parametrize("n", [2, 16])
def test_lightly_agrees(tau: float, n: int) -> None:
    """A second opinion, by people who read the paper on their own: value and gradients."""
    z1, z2 = (z.requires_grad_() for z in pairs(n, 8))
    ours, theirs = nt_xent(z1, z2, tau), NTXentLoss(temperature=tau)(z1, z2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(loss, (z1, z2)) for loss in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


# --- closed forms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 64])
@pytest.mark.parametrize("tau", [0.07, 0.5])
def test_collapse_costs_ln_of_2n_minus_1(n: int, tau: float) -> None:
    z = torch.ones(n, 4, dtype=torch.float64)
    assert float(nt_xent(z, 3 * z, tau)) == pytest.approx(math.log(2 * n - 1), abs=1e-12)


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_orthogonal_pairs(tau: float) -> None:
    """Equal within a pair, orthogonal between pairs: -ln(e^(1/tau) / (e^(1/tau) + 2N - 2))."""
    z = torch.eye(8, dtype=torch.float64)
    e = math.exp(1 / tau)
    assert float(nt_xent(z, z, tau)) == pytest.approx(-math.log(e / (e + 14)), abs=1e-12)


def test_always_above_zero_but_for_a_batch_of_one() -> None:
    """The denominator holds the positive. A single image has no negatives: loss 0, gradient 0, nothing is learned."""
    assert float(nt_xent(*pairs(2), 0.1)) > 0
    z1, z2 = (z.requires_grad_() for z in pairs(1))
    loss = nt_xent(z1, z2, 0.5)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not z1.grad.any()
    assert not z2.grad.any()


# --- the decoupled loss (DCL, Yeh 2022) ---------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_decoupled_equals_the_equation(tau: float) -> None:
    """Equation 6 of arXiv:2110.06848: the denominator holds the negatives alone."""
    z1, z2 = pairs()
    z, n, total = torch.cat([z1, z2]).tolist(), len(z1), 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        below = math.fsum(math.exp(sim(z[i], z[k]) / tau) for k in range(2 * n) if k not in (i, partner))
        total += -sim(z[i], z[partner]) / tau + math.log(below)
    assert float(nt_xent(z1, z2, tau, decoupled=True)) == pytest.approx(total / (2 * n), abs=1e-12)


def test_decoupled_closed_forms() -> None:
    """All equal: ln(2N - 2). Equal within a pair, orthogonal between pairs: ln(2N - 2) - 1 / tau."""
    equal, orthogonal = torch.ones(4, 3, dtype=torch.float64), torch.eye(8, dtype=torch.float64)
    assert float(nt_xent(equal, equal, 0.5, decoupled=True)) == pytest.approx(math.log(6), abs=1e-12)
    assert float(nt_xent(orthogonal, orthogonal, 0.1, decoupled=True)) == pytest.approx(math.log(14) - 10, abs=1e-12)


def test_decoupled_agrees_with_lightly() -> None:
    """A second opinion, value and gradients."""
    z1, z2 = (z.requires_grad_() for z in pairs(16, 8))
    ours, theirs = nt_xent(z1, z2, 0.5, decoupled=True), DCLLoss(temperature=0.5)(z1, z2)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    gradients = (torch.autograd.grad(loss, (z1, z2)) for loss in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)


# --- invariances --------------------------------------------------------------------------------------------------


def test_invariances() -> None:
    z1, z2 = pairs()
    expected = nt_xent(z1, z2, 0.3)
    scale = torch.rand(6, 1, dtype=torch.float64) * 10 + 0.1
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    order = torch.randperm(6)
    for changed in [
        (z1 * scale, z2),
        (z1, z2 * scale),
        (z1 @ rotation, z2 @ rotation),
        (z1[order], z2[order]),
        (z2, z1),
    ]:
        torch.testing.assert_close(nt_xent(*changed, 0.3), expected, rtol=0, atol=1e-12)


def test_gradient_equals_finite_differences() -> None:
    z1, z2 = (z.requires_grad_() for z in pairs(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), (z1, z2), eps=1e-6, atol=1e-8)


# --- numbers of little width --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tau", [0.05, 0.1, 0.5])
def test_half_precision_is_finite_and_close(dtype: torch.dtype, tau: float) -> None:
    """Below tau = 0.09 exp(1 / tau) overflows float16. The reference gets the same rounded z in float64."""
    z1, z2 = (z.to(dtype) for z in pairs(128, 32))
    loss = nt_xent(z1, z2, tau)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(nt_xent(z1.double(), z2.double(), tau)), abs=1e-3)


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_autocast_does_not_reach_the_loss(tau: float) -> None:
    z1, z2 = (z.float() for z in pairs(64, 32))
    with torch.autocast("cpu", torch.bfloat16):
        inside = nt_xent(z1, z2, tau)
    assert float(inside) == pytest.approx(float(nt_xent(z1.double(), z2.double(), tau)), abs=1e-5)


def test_zero_vectors_do_not_make_nan() -> None:
    z1, z2 = pairs()
    z1[0] = 0
    z1.requires_grad_()
    loss = nt_xent(z1, z2, 0.1)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z1.grad).all()


# --- the loss and the cosines of the method -------------------------------------------------------------------------


def test_loss_is_nt_xent_of_the_projections(method: Method, views: Views) -> None:
    simclr, batch = method(temperature=0.3).eval(), views()
    with torch.no_grad():
        z1, z2 = (simclr.projector(simclr.encoder(view)) for view in batch.views)
        result = simclr.loss(batch)
        decoupled = method(temperature=0.3, decoupled=True).eval().loss(batch).total
    assert float(result.total) == pytest.approx(interleaved(z1, z2, 0.3), abs=1e-5)
    torch.testing.assert_close(decoupled, nt_xent(z1, z2, 0.3, decoupled=True))
    assert set(result.parts) == {"retrieval"}


def test_retrieval_against_a_loop() -> None:
    z1, z2 = pairs(10, 4, seed=3)
    z = torch.cat([z1, z2]).tolist()
    result = 0
    for i in range(20):
        best = max((k for k in range(20) if k != i), key=lambda k: sim(z[i], z[k]))
        result += best == (i + 10) % 20
    assert float(retrieval(z1, z2)) == pytest.approx(result / 20)
    assert float(retrieval(z1, z1)) == 1


@torch.no_grad()
def test_show_draws_the_views_and_their_cosines(method: Method, views: Views) -> None:
    batch, simclr = views(3), method().eval()
    two, cosines = simclr.show(batch)
    assert torch.equal(two.images, torch.stack(batch.views, 1))
    assert cosines.images.shape == (1, 1, 3, 6, 6)
    z = torch.cat([simclr.projector(simclr.encoder(view)) for view in batch.views]).tolist()
    by_hand = torch.tensor([[(sim(a, b) + 1) / 2 for b in z] for a in z])
    torch.testing.assert_close(cosines.images[0, 0, 0], by_hand, rtol=0, atol=1e-5)
