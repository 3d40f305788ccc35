"""SimCLR as a method: two views in one pass, the paper's head and recipe; collapse and its names."""

import math
from collections.abc import Callable

import pytest
import torch
from pretext_simclr import Params, SimCLR
from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.method import Batch
from pretextbench.recipe import ColorJitter, GaussianBlur, Grayscale, HorizontalFlip, RandomResizedCrop

Method, Views = Callable[..., SimCLR], Callable[..., Batch]
Planted = Callable[[Callable[[Tensor], Tensor]], SimCLR]
SIDE = 16


# --- the method ---------------------------------------------------------------------------------------------------


def test_batch_norm_sees_both_views_together(method: Method, views: Views) -> None:
    """In training mode the two views share their statistics: one pass over 2B images, as in the authors' code."""
    simclr, batch = method(), views()
    z1, z2 = simclr.project(batch.views)
    both = method().projector(method().encoder(torch.cat(batch.views)))
    torch.testing.assert_close(torch.cat([z1, z2]), both, rtol=1e-4, atol=1e-4)


def test_the_head_is_the_papers(method: Method) -> None:
    """Linear, norm, ReLU, linear, norm; the hidden layer as wide as h; no bias where a norm follows."""
    head = method().projector
    assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert (head[0].in_features, head[0].out_features, head[3].out_features) == (64, 64, 128)
    assert head[0].bias is head[3].bias is None
    assert method(head_hidden=10, head_dim=7).projector[3].weight.shape == (7, 10)


def test_one_image_is_a_batch_without_a_lesson(method: Method, views: Views) -> None:
    """Two views and no negatives: the loss is 0 and finite, in training mode too (batch norm sees two rows)."""
    assert float(method().train().loss(views(1)).total.detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("training", [False, True])
def test_equal_images_cost_ln_of_2n_minus_1(method: Method, value: float, training: bool) -> None:
    """Black or grey images carry nothing to tell them apart, and nothing breaks.

    In training mode batch norm leaves a z of rounding errors, or of zeros (grey). Where it has a direction, its
    gradient is noise as well: large, for it is divided by the length of z, and finite.
    """
    x = torch.full((4, 3, SIDE, SIDE), value)
    simclr = method().train(training)
    total = simclr.loss(Batch((x, x), torch.arange(4))).total
    total.backward()
    assert float(total.detach()) == pytest.approx(math.log(7), abs=1e-4)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in simclr.parameters())


def test_gradients_reach_encoder_and_head(method: Method, views: Views) -> None:
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
    result = [op.p for op in SimCLR.recipe(Params(blur=blur), size).views[0].ops if isinstance(op, GaussianBlur)]
    assert result == ([p] if p else [])


def test_the_papers_recipe_can_be_asked_for() -> None:
    """s = 1: jitter 0.8, 0.8, 0.8, 0.2; crops from 8 % of the area; blur half the time, sigma 0.1 to 2."""
    ops = SimCLR.recipe(Params(colour=1, crop_min=0.08), 224).views[0].ops
    assert ops[0] == RandomResizedCrop(scale=(0.08, 1.0))
    assert ops[2] == ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8)
    assert ops[4] == GaussianBlur(sigma=(0.1, 2.0), p=0.5)


# --- signs of life ------------------------------------------------------------------------------------------------


@pytest.fixture
def planted(method: Method) -> Planted:
    """`planted(z)`: SimCLR whose projection is `z` of the batch it is given."""

    def planted(z: Callable[[Tensor], Tensor]) -> SimCLR:
        simclr = method().eval()
        simclr.project = lambda views: tuple(z(view) for view in views[:2])  # type: ignore[method-assign]
        return simclr

    return planted


def test_collapse_is_named(planted: Planted, views: Views) -> None:
    simclr = planted(lambda view: torch.ones(len(view), 16))
    health = simclr.health(views(32))
    assert health["projection_std"] == pytest.approx(0, abs=1e-6)
    assert health["projection_rank"] == pytest.approx(1)
    assert health["alignment"] == pytest.approx(0, abs=1e-9)
    assert health["uniformity"] == pytest.approx(0, abs=1e-6)
    collapsed, lost = simclr.symptoms(health)
    assert collapsed.startswith("the projection collapsed: standard deviation 0.00 of a healthy 1; lower optimizer.lr")
    assert lost.startswith("views do not find their partners: 0.0")
    assert lost.endswith("train longer, or make views more alike (crop_min up, colour down)")


def test_a_projection_on_its_way_to_collapse_is_named(planted: Planted, views: Views) -> None:
    direction = torch.ones(16)
    simclr = planted(lambda view: direction + 0.6 * view.flatten(1)[:, :16])
    (symptom,) = [s for s in simclr.symptoms(simclr.health(views(32))) if "projection" in s]
    assert symptom.startswith("the projection is collapsing: standard deviation 0.")


def test_views_that_do_not_find_each_other_are_named(planted: Planted, views: Views) -> None:
    """Spread evenly, but without anything in common: healthy spread, retrieval at chance."""
    torch.manual_seed(0)
    simclr = planted(lambda view: torch.randn(len(view), 64))
    health = simclr.health(views(64))
    assert health["projection_std"] == pytest.approx(1, abs=0.02)
    assert health["alignment"] == pytest.approx(2, abs=0.1)
    assert health["retrieval_chance"] == pytest.approx(1 / 127)
    (symptom,) = simclr.symptoms(health)
    assert symptom.startswith("views do not find their partners")


def test_a_healthy_projection_has_no_symptom(planted: Planted, views: Views) -> None:
    simclr = planted(lambda view: view.flatten(1) - view.mean())
    assert simclr.symptoms(simclr.health(views(32))) == []


def test_a_single_image_has_no_negatives_to_decouple(method: Method, views: Views) -> None:
    with pytest.raises(UserError, match="'simclr' needs at least 2 images in each batch"):
        method(decoupled=True).loss(views(1))
