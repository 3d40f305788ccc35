"""LeJEPA's terms against scalar loops and lightly; both regularisers; a planted collapse."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lightly.loss.lejepa_loss import lejepa_invariance_loss
from pretext_lejepa import LeJEPA, Params, invariance, regularisation
from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.parts import random_directions, sigreg, visreg
from tests.two_threads import in_two_threads

Make = Callable[..., Any]


def embeddings(views: int = 4, n: int = 7, dim: int = 5) -> Tensor:
    return torch.randn(views, n, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def batch(batch: Make) -> Make:
    """`batch(n)`: four global crops."""
    return partial(batch, sides=(16, 16, 16, 16))


@pytest.fixture
def method(built: Make) -> Make:
    """`method(**params)`: always with the same weights."""
    return lambda **params: built(LeJEPA, Params(**params))


@pytest.mark.parametrize("centres", [2, 4])
def test_the_invariance_is_the_distance_from_the_mean_of_the_global_views(centres: int) -> None:
    z = embeddings()
    total = 0.0
    for i in range(7):
        for j in range(5):
            values = z[:, i, j].tolist()
            centre = math.fsum(values[:centres]) / centres
            total += math.fsum((value - centre) ** 2 for value in values)
    assert float(invariance(z, centres)) == pytest.approx(total / (4 * 7 * 5), abs=1e-12)
    z.requires_grad_()
    value, second_opinion = invariance(z, centres), lejepa_invariance_loss(all_proj=z, global_proj=z[:centres])
    torch.testing.assert_close(value, second_opinion, rtol=0, atol=1e-12)
    gradients = (torch.autograd.grad(loss, z)[0] for loss in (value, second_opinion))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "statistic"), [("sigreg", sigreg), ("visreg", visreg)])
def test_each_view_is_regularised_by_itself(name: str, statistic: object) -> None:
    """All views flattened into one sample is another statistic."""
    z, directions = embeddings(), torch.eye(5, dtype=torch.float64)
    expected = sum(float(statistic(view, directions)) for view in z) / 4
    assert float(regularisation(z, directions, regulariser=name)) == pytest.approx(expected, abs=1e-12)
    assert abs(float(statistic(z.flatten(0, 1), directions)) - expected) > 1e-3


@pytest.mark.parametrize(("regulariser", "weight"), [("sigreg", 0.02), ("visreg", 0.6)])
def test_the_loss_is_the_weighted_sum(regulariser: str, weight: float, method: Make, batch: Make) -> None:
    for given in (None, 0.3):
        whole, views = method(regulariser=regulariser, weight=given, directions=3), batch()
        z = whole.project(views.views)
        torch.manual_seed(0)
        distance, apart = invariance(z, 4), regularisation(z, random_directions(z[0], 3), regulariser=regulariser)
        torch.manual_seed(0)
        loss = whole.loss(views)
        share = weight if given is None else given
        torch.testing.assert_close(loss.total, (1 - share) * distance + share * apart)
        torch.testing.assert_close(loss.parts, {"invariance": distance, regulariser: apart})


def test_directions_are_drawn_anew_at_every_call(method: Make, batch: Make) -> None:
    whole = method().eval()
    first, second = (whole.loss(batch()).parts["sigreg"] for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("regulariser", ["sigreg", "visreg"])
def test_processes_share_their_directions(regulariser: str, method: Make) -> None:
    """Both have the regularisation of all images on the draw of one of them, and not on a mixture."""
    whole, z = method(regulariser=regulariser, directions=3), embeddings(n=8)
    torch.manual_seed(0)
    draws = [random_directions(z[0], 3) for _ in range(2)]
    torch.manual_seed(0)  # either process may draw first
    first, second = in_two_threads(lambda half: whole.terms(half.transpose(0, 1))[1], z.transpose(0, 1))
    assert torch.equal(first, second)
    assert float(first) in [pytest.approx(float(regularisation(z, drawn, regulariser=regulariser))) for drawn in draws]


def test_local_crops_meet_the_centre_of_the_global_ones(method: Make, batch: Make) -> None:
    whole = method(global_views=2, local_views=2).eval()
    crops = batch(4, sides=(16, 16, 8, 8))
    z = whole.project(crops.views)
    assert z.shape == (4, 4, 64)
    torch.testing.assert_close(whole.loss(crops).parts["invariance"], invariance(z, 2))
    recipe = LeJEPA.recipe(Params(global_views=2, local_views=6), 32)
    assert [(view.size, view.draws) for view in recipe.views] == [(None, 2), (16, 6)]


def test_half_precision_does_not_reach_the_terms() -> None:
    z, directions = embeddings(2, 64, 32).to(torch.bfloat16), torch.eye(32, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        low = (invariance(z, 2), regularisation(z, directions))
    assert {term.dtype for term in low} == {torch.float32}
    torch.testing.assert_close(low, (invariance(z.float(), 2), regularisation(z.float(), directions.float())))


def test_a_single_image_is_refused(method: Make, batch: Make) -> None:
    with pytest.raises(UserError, match="'lejepa' needs at least 2 images in each batch of a process, found 1"):
        method().loss(batch(1))


@torch.no_grad()
@pytest.mark.parametrize("regulariser", ["sigreg", "visreg"])
def test_a_collapse_is_named(regulariser: str, method: Make, batch: Make) -> None:
    dead = method(regulariser=regulariser).eval()
    dead.head[-1].weight.zero_()
    symptoms = dead.symptoms(dead.health(batch()))
    assert any("collapsed" in line for line in symptoms)
    assert any("shrink to a point: their deviation is 0.000" in line for line in symptoms)
    healthy = dead.health(batch()) | {"projection_std": 1.0, "projection_rank": 8.0, "deviation": 0.9}
    assert dead.symptoms(healthy) == []


@torch.no_grad()
def test_embeddings_that_shrink_evenly_are_named(method: Make, batch: Make) -> None:
    """On the unit sphere they look spread: their size alone tells it."""
    small = method().eval()
    small.head[-1].weight.mul_(1e-3)
    small.head[-1].bias.zero_()
    health = small.health(batch()) | {"projection_std": 1.0}
    assert [line.partition(":")[0] for line in small.symptoms(health)] == ["the embeddings shrink to a point"]


@torch.no_grad()
def test_show_draws_the_crops_and_their_cosines(method: Make, batch: Make) -> None:
    crops, cosines = method().eval().show(batch(4))
    assert crops.images.shape == (4, 4, 3, 16, 16)
    assert cosines.images.shape == (1, 1, 3, 8, 8)
