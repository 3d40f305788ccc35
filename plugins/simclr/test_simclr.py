"""SimCLR's loss against the lesson's equations in a scalar loop, closed forms, invariances; collapse and its names."""

import math
from collections.abc import Callable

import pytest
import torch
from pretext_simclr import Params, SimCLR, nt_xent, retrieval
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.recipe import ColorJitter, GaussianBlur, Grayscale, HorizontalFlip, RandomResizedCrop

torch.set_num_threads(1)  # the networks here are too small to share
SIDE = 16
FACTS = Data(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), images=100)


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


def test_lightly_agrees() -> None:
    """A second opinion, where lightly is installed."""
    loss = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.5)
    z1, z2 = pairs(16, 8)
    torch.testing.assert_close(nt_xent(z1, z2, 0.5), loss(z1, z2), rtol=0, atol=1e-12)


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


# --- the method ---------------------------------------------------------------------------------------------------


def method(**params: object) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(Params(**params), build(EncoderParams(width=8), SIDE, FACTS.mean, FACTS.std), FACTS)


def views(n: int = 8) -> Batch:
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(n, 3, SIDE, SIDE, generator=draw)
    return Batch((x, (x + 0.1 * torch.rand(x.shape, generator=draw)).clamp(0, 1)), torch.arange(n))


def test_loss_is_nt_xent_of_the_projections() -> None:
    simclr, batch = method(temperature=0.3).eval(), views()
    with torch.no_grad():
        z1, z2 = (simclr.head(simclr.encoder(view)) for view in batch.views)
        found = simclr.loss(batch)
    assert float(found.total) == pytest.approx(interleaved(z1, z2, 0.3), abs=1e-5)
    assert set(found.parts) == {"retrieval"}


def test_batch_norm_sees_both_views_together() -> None:
    """In training mode the two views share their statistics: one pass over 2B images, as in the authors' code."""
    simclr, batch = method(), views()
    z1, z2 = simclr.project(batch.views)
    both = method().head(method().encoder(torch.cat(batch.views)))
    torch.testing.assert_close(torch.cat([z1, z2]), both, rtol=1e-4, atol=1e-4)


def test_the_head_is_the_papers() -> None:
    """Linear, norm, ReLU, linear, norm; the hidden layer as wide as h; no bias where a norm follows."""
    head = method().head
    assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert (head[0].in_features, head[0].out_features, head[3].out_features) == (64, 64, 128)
    assert head[0].bias is head[3].bias is None
    assert method(head_hidden=10, head_dim=7).head[3].weight.shape == (7, 10)


def test_one_image_is_a_batch_without_a_lesson() -> None:
    """Two views and no negatives: the loss is 0 and finite, in training mode too (batch norm sees two rows)."""
    assert float(method().train().loss(views(1)).total.detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_equal_images_cost_ln_of_2n_minus_1(value: float) -> None:
    """Black or grey images carry nothing to tell them apart, and nothing breaks."""
    x = torch.full((4, 3, SIDE, SIDE), value)
    simclr = method().eval()
    with torch.no_grad():
        total = simclr.loss(Batch((x, x), torch.arange(4))).total
    assert float(total) == pytest.approx(math.log(7), abs=1e-4)


def test_gradients_reach_encoder_and_head() -> None:
    simclr = method()
    simclr.loss(views()).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in simclr.parameters())


# --- recipe -------------------------------------------------------------------------------------------------------


def test_the_recipe_of_small_images_has_no_blur() -> None:
    (view,) = SimCLR.recipe(Params(), 32).views
    assert view.draws == 2
    assert view.ops == (
        RandomResizedCrop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
        HorizontalFlip(p=0.5),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        Grayscale(p=0.2),
    )


@pytest.mark.parametrize(
    ("size", "blur", "p"), [(64, None, 0), (65, None, 0.5), (96, None, 0.5), (32, 0.3, 0.3), (96, 0, 0)]
)
def test_blur_follows_the_image_size_unless_said(size: int, blur: float | None, p: float) -> None:
    found = [op.p for op in SimCLR.recipe(Params(blur=blur), size).views[0].ops if isinstance(op, GaussianBlur)]
    assert found == ([p] if p else [])


def test_the_papers_recipe_can_be_asked_for() -> None:
    """s = 1: jitter 0.8, 0.8, 0.8, 0.2; crops from 8 % of the area; blur half the time, sigma 0.1 to 2."""
    ops = SimCLR.recipe(Params(colour=1, crop_min=0.08), 224).views[0].ops
    assert ops[0] == RandomResizedCrop(scale=(0.08, 1.0))
    assert ops[2] == ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8)
    assert ops[4] == GaussianBlur(sigma=(0.1, 2.0), p=0.5)


# --- signs of life ------------------------------------------------------------------------------------------------


def planted(z: Callable[[Tensor], Tensor]) -> SimCLR:
    """SimCLR whose projection is `z` of the batch it is given."""
    simclr = method().eval()
    simclr.project = lambda views: tuple(z(view) for view in views[:2])  # type: ignore[method-assign]
    return simclr


def test_collapse_is_named() -> None:
    simclr = planted(lambda view: torch.ones(len(view), 16))
    health = simclr.health(views(32))
    assert health["projection_std"] == pytest.approx(0, abs=1e-6)
    assert health["projection_rank"] == pytest.approx(1)
    assert health["alignment"] == pytest.approx(0, abs=1e-9)
    assert health["uniformity"] == pytest.approx(0, abs=1e-6)
    collapsed, lost = simclr.symptoms(health)
    assert collapsed == "the projection collapsed: standard deviation 0.00 of a healthy 1"
    assert lost.startswith("views do not find their partners: 0.0")


def test_a_projection_on_its_way_to_collapse_is_named() -> None:
    direction = torch.ones(16)
    simclr = planted(lambda view: direction + 0.6 * view.flatten(1)[:, :16])
    (symptom,) = [s for s in simclr.symptoms(simclr.health(views(32))) if "projection" in s]
    assert symptom.startswith("the projection is collapsing: standard deviation 0.")


def test_views_that_do_not_find_each_other_are_named() -> None:
    """Spread evenly, but without anything in common: healthy spread, retrieval at chance."""
    torch.manual_seed(0)
    simclr = planted(lambda view: torch.randn(len(view), 64))
    health = simclr.health(views(64))
    assert health["projection_std"] == pytest.approx(1, abs=0.02)
    assert health["alignment"] == pytest.approx(2, abs=0.1)
    assert health["retrieval_chance"] == pytest.approx(1 / 127)
    (symptom,) = simclr.symptoms(health)
    assert symptom.startswith("views do not find their partners")


def test_a_healthy_projection_has_no_symptom() -> None:
    simclr = planted(lambda view: view.flatten(1) - view.mean())
    assert simclr.symptoms(simclr.health(views(32))) == []


def test_retrieval_against_a_loop() -> None:
    z1, z2 = pairs(10, 4, seed=3)
    z = torch.cat([z1, z2]).tolist()
    found = 0
    for i in range(20):
        best = max((k for k in range(20) if k != i), key=lambda k: sim(z[i], z[k]))
        found += best == (i + 10) % 20
    assert float(retrieval(z1, z2)) == pytest.approx(found / 20)
    assert float(retrieval(z1, z1)) == 1


@torch.no_grad()
def test_show_draws_the_views_and_their_cosines() -> None:
    batch, simclr = views(3), method().eval()
    two, cosines = simclr.show(batch)
    assert torch.equal(two.images, torch.stack(batch.views, 1))
    assert cosines.images.shape == (1, 1, 3, 6, 6)
    z = torch.cat([simclr.head(simclr.encoder(view)) for view in batch.views]).tolist()
    by_hand = torch.tensor([[(sim(a, b) + 1) / 2 for b in z] for a in z])
    torch.testing.assert_close(cosines.images[0, 0, 0], by_hand, rtol=0, atol=1e-5)
