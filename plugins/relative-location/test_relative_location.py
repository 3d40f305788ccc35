"""Relative location: patches where they are said to be, colours that tell nothing, and a loss that starts at ln 8."""

import math

import pytest
import torch
from pretext_relative_location import (
    NEIGHBOURS,
    PLACES,
    Params,
    RelativeLocation,
)
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.recipe import Grayscale, HorizontalFlip, PadCrop

torch.set_num_threads(1)  # the networks here are too small to share
CPU = torch.device("cpu")
SIZES = [32, 48, 96, 225]


def method(size: int = 32, **params: object) -> RelativeLocation:
    torch.manual_seed(0)
    facts = Data(size, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), images=100)
    return RelativeLocation(Params(**params), build(EncoderParams(width=8), size, facts.mean, facts.std), facts)


def noise(n: int = 4, size: int = 32) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def batch(x: Tensor) -> Batch:
    return Batch((x,), torch.arange(len(x)))


def coordinates(size: int, n: int) -> Tensor:
    """Images whose channels hold the row, the column and nothing, in pixels."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([y, x, 0 * x]).float().expand(n, 3, size, size)


# --- patches ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_labels_say_where_the_neighbour_lies(size: int) -> None:
    """The coordinate image: for each label, the neighbour's centre is above, below, left or right as it is called."""
    location = method(size)
    patches = location.cut(coordinates(size, 50), *location.places(50, CPU))
    centre = patches[:, :, :2].mean((3, 4))  # (50, 9, 2): row, column
    for label, name in enumerate(PLACES):
        down, right = (centre[:, NEIGHBOURS[label]] - centre[:, 4]).unbind(1)
        assert ("above" in name) == bool((down < -2).all())
        assert ("below" in name) == bool((down > 2).all())
        assert ("left" in name) == bool((right < -2).all())
        assert ("right" in name) == bool((right > 2).all())


def test_seen_from_the_other_patch_the_label_is_seven_minus_k() -> None:
    opposite = {"above": "below", "below": "above", "left": "right", "right": "left"}
    for label, name in enumerate(PLACES):
        assert PLACES[7 - label] == " ".join(opposite[word] for word in name.split())


@pytest.mark.parametrize("size", SIZES)
def test_gaps_and_shifts_are_bounded(size: int) -> None:
    """Never less than a pixel between neighbours, never outside the image; every shift is drawn, for each patch."""
    location = method(size)
    top, left = location.places(2000, CPU)
    for start in (top.view(-1, 3, 3), left.view(-1, 3, 3).mT):
        gap = start[:, 1:, :, None] - start[:, :-1, None, :] - location.side
        assert int(gap.min()) >= location.gap - 2 * location.jitter >= 1
        assert int(gap.max()) == location.gap + 2 * location.jitter
        assert int(start.min()) >= 0
        assert int(start.max()) + location.side <= size
        assert len(start[:, 0, 0].unique()) == 2 * location.jitter + 1
    together = torch.corrcoef(top.T.double()) - torch.eye(9, dtype=torch.float64)
    assert float(together.abs().max()) < 0.15


def test_the_default_sizes() -> None:
    result = [method(size) for size in SIZES]
    assert [(m.side, m.gap, m.jitter) for m in result] == [(8, 3, 1), (12, 5, 1), (24, 10, 2), (56, 24, 4)]


def test_patches_without_a_gap_are_refused() -> None:
    with pytest.raises(UserError, match=r"Three patches of 10 px, shifted by up to 1 px, leave no gap in images of 32"):
        method(patch=0.32)
    with pytest.raises(UserError, match="leave no gap in images of 8 px"):
        method(8)


def test_the_recipe_flips_before_the_patches_are_cut() -> None:
    (view,) = RelativeLocation.recipe(Params(), 32).views
    assert view.ops == (PadCrop(padding=4), HorizontalFlip(p=0.5))
    assert RelativeLocation.recipe(Params(grayscale=0.6, padding=0), 32).views[0].ops[1] == Grayscale(p=0.6)


# --- the loss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", ["all", "one"])
def test_loss_is_the_mean_cross_entropy_over_pairs(pairs: str) -> None:
    """A scalar loop in float64 over images and pairs, each patch encoded on its own."""
    location, x = method(pairs=pairs).eval(), noise(3)
    with torch.no_grad():
        torch.manual_seed(5)
        result = location.loss(batch(x))
        torch.manual_seed(5)
        patches = location.prepare(location.cut(x, *location.places(3, CPU)))
        asked = location.labels(3, CPU).tolist()
        terms, right = [], 0
        for image, row in zip(patches, asked, strict=True):
            for label in row:
                two = [location.encoder(image[place][None])[0] for place in (4, NEIGHBOURS[label])]
                scores = location.head(torch.cat(two)[None])[0].double().tolist()
                terms.append(math.log(sum(math.exp(s) for s in scores)) - scores[label])
                right += max(range(8), key=scores.__getitem__) == label
    assert len(terms) == {"all": 24, "one": 3}[pairs]
    assert float(result.total) == pytest.approx(sum(terms) / len(terms), abs=1e-5)
    assert float(result.parts["accuracy"]) == pytest.approx(right / len(terms))


def test_all_pairs_ask_every_place_once_and_one_pair_asks_all_places_alike() -> None:
    assert method().labels(3, CPU).tolist() == [list(range(8))] * 3
    drawn = method(pairs="one").labels(8000, CPU)
    assert drawn.shape == (8000, 1)
    counts = torch.bincount(drawn[:, 0], minlength=8).double()
    assert float(((counts - 1000).square() / 1000).sum()) < 30  # chi square, 7 degrees of freedom: once in 10,000


def test_loss_starts_near_ln_8() -> None:
    assert float(method().loss(batch(noise(16))).total.detach()) == pytest.approx(math.log(8), abs=0.35)


@pytest.mark.parametrize("training", [True, False])
def test_flat_images_cannot_beat_chance(training: bool) -> None:
    """Equal patches and all eight labels: cross-entropy >= ln 8 and accuracy exactly 1/8, whatever the network."""
    location = method(colour="keep").train(training)
    torch.nn.init.normal_(location.head[-1].weight)
    with torch.no_grad():
        result = location.loss(batch(torch.full((4, 3, 32, 32), 0.3)))
    assert float(result.total) >= math.log(8) - 1e-5
    assert float(result.parts["accuracy"]) == 0.125


def test_gradients_reach_encoder_and_head() -> None:
    location = method()
    location.loss(batch(noise())).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in location.parameters())


def test_learns_where_the_light_comes_from() -> None:
    """Images that are brighter to the right and redder below: 40 steps take the accuracy above one half."""
    location = method(colour="keep")
    optimizer = torch.optim.AdamW(location.parameters(), lr=4e-3)
    ramp = coordinates(32, 16) / 32
    for _ in range(40):
        result = location.loss(batch((ramp + 0.1 * torch.rand(16, 3, 32, 32)).clamp(0, 1)))
        optimizer.zero_grad()
        result.total.backward()
        optimizer.step()
    assert float(result.parts["accuracy"]) > 0.5


# --- what people see ----------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 96])
def test_show_puts_both_patches_at_their_places(size: int) -> None:
    location, x = method(size, colour="keep", downsample=0).eval(), noise(3, size)
    torch.manual_seed(2)
    (picture,) = location.show(batch(x))
    assert picture.columns == ("image", *PLACES)
    torch.manual_seed(2)
    patches = location.cut(x, *location.places(3, CPU))
    pitch = location.side + location.gap
    edge = (size - 2 * pitch - location.side) // 2
    for label, place in enumerate(NEIGHBOURS):
        top, left = edge + place // 3 * pitch, edge + place % 3 * pitch
        page = picture.images[:, 1 + label]
        there = page[..., top : top + location.side, left : left + location.side]
        torch.testing.assert_close(there, patches[:, place], rtol=0, atol=1e-6)
        assert int((page != 1).any(1).sum(dim=(1, 2)).max()) <= 2 * location.side**2
    assert {text for row in picture.captions for text in row[1:]} <= {f"says {name}" for name in PLACES}


@torch.no_grad()
def test_health_of_a_blind_network_is_chance_and_its_symptom_is_named() -> None:
    location = method().eval()
    for p in location.head[-1].parameters():
        torch.nn.init.zeros_(p)
    health = location.health(batch(noise()))
    assert health["location_accuracy"] == health["location_chance"] == 0.125
    assert health["location_loss"] == pytest.approx(math.log(8))
    (symptom,) = location.symptoms(health)
    assert symptom.startswith("location loss 2.08 is at chance (2.08)")
    assert location.symptoms({**health, "location_loss": 1.5}) == []
