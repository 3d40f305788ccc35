"""Jigsaw: permutations far apart, tiles that give nothing away, and a loss that starts at ln P."""

import math

import pytest
import torch
from pretext_jigsaw import EPS, Jigsaw, Params, cut, standardised
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.recipe import Grayscale, HorizontalFlip, PadCrop

torch.set_num_threads(1)  # the networks here are too small to share
CPU = torch.device("cpu")
SIZES = [32, 48, 96, 225]


def method(size: int = 32, **params: object) -> Jigsaw:
    torch.manual_seed(0)
    facts = Data(size, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), images=100)
    return Jigsaw(Params(**params), build(EncoderParams(width=8), size, facts.mean, facts.std), facts)


def noise(n: int = 4, size: int = 32) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def batch(x: Tensor) -> Batch:
    return Batch((x,), torch.arange(len(x)))


def coordinates(size: int, n: int = 2) -> Tensor:
    """Images whose channels hold the row, the column and the row again, in pixels."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([y, x, y]).float().expand(n, 3, size, size)


# --- tiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("grid", [2, 3])
def test_tiles_lie_in_their_own_cells_row_by_row(size: int, grid: int) -> None:
    """The coordinate image says where every tile was cut: between the borders of its cell, in every channel."""
    jigsaw = method(size, grid=grid, permutations=20)
    tiles = cut(coordinates(size, 50), *jigsaw.places(50, CPU), jigsaw.side)
    cell, edge = size // grid, (size - size // grid * grid) // 2
    for place in range(grid**2):
        row, column = edge + place // grid * cell, edge + place % grid * cell
        for channel, start in ((0, row), (1, column), (2, row)):
            assert tiles[:, place, channel].min() >= start
            assert tiles[:, place, channel].max() <= start + cell - 1
    assert tiles.shape[-1] == jigsaw.side == min(cell - 1, round(0.8 * cell))


def test_the_default_sizes() -> None:
    assert [(method(size).cell, method(size).side, method(size).shift) for size in SIZES] == [
        (10, 8, 0),
        (16, 13, 0),
        (32, 26, 1),
        (75, 60, 2),
    ]


def test_every_tile_has_its_own_shift_and_uses_all_of_it() -> None:
    """One shift for all tiles would let edges continue from one to the next."""
    jigsaw = method()
    top, left = jigsaw.places(500, CPU)
    base = torch.tensor([1, 11, 21])
    for result, corner in ((top, base.repeat_interleave(3)), (left, base.repeat(3))):
        shift = result[..., 0] - corner
        assert set(shift.unique().tolist()) == {0, 1, 2}
        together = torch.corrcoef(shift.T.double()) - torch.eye(9, dtype=torch.float64)
        assert float(together.abs().max()) < 0.2


def test_channels_of_a_tile_are_shifted_against_each_other_on_larger_images() -> None:
    top, _ = method(96).places(200, CPU)
    apart = (top[..., 0] - top[..., 1]).abs()
    assert int(apart.max()) == 2
    top, _ = method(32).places(200, CPU)
    assert torch.equal(top[..., 0], top[..., 1])
    top, _ = method(96, channel_shift=0).places(200, CPU)
    assert torch.equal(top[..., 0], top[..., 1])


def test_light_and_contrast_of_a_tile_are_gone() -> None:
    """Any brightness and factor of each channel gives the same tile; a flat tile is zero, not noise."""
    tiles = noise(6).double()
    lit = 0.1 + tiles * torch.tensor([2.0, 3.0, 4.0]).view(3, 1, 1)
    torch.testing.assert_close(standardised(lit), standardised(tiles), rtol=0, atol=0.1)
    deviation = tiles.std((-2, -1), correction=0, keepdim=True)
    by_hand = (tiles - tiles.mean((-2, -1), keepdim=True)) / (deviation + EPS)
    torch.testing.assert_close(standardised(tiles), by_hand, rtol=0, atol=1e-12)
    assert not standardised(torch.full((2, 3, 8, 8), 0.5)).any()


def test_the_encoder_sees_standardised_tiles() -> None:
    """What its own normalisation makes of its input has mean 0 and deviation 1 per tile and channel."""
    jigsaw, seen = method().eval(), []
    jigsaw.encoder.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    jigsaw.encode(cut(noise(), *jigsaw.places(4, CPU), 8))
    (x,) = seen
    assert x.shape == (36, 3, 8, 8)
    assert float(x.mean((2, 3)).abs().max()) < 1e-5
    assert float((x.std((2, 3), correction=0) - 1).abs().max()) < 0.06


def test_an_image_without_room_for_a_grid_is_refused() -> None:
    with pytest.raises(UserError, match="Jigsaw needs images of at least 12 px for a grid of 3, found 8 px"):
        method(8)
    assert method(12).side == 3


def test_the_recipe_shifts_flips_and_greys() -> None:
    (view,) = Jigsaw.recipe(Params(), 32).views
    assert view.ops == (PadCrop(padding=4), HorizontalFlip(p=0.5), Grayscale(p=0.3))
    assert Jigsaw.recipe(Params(padding=0, grayscale=0.6), 96).views[0].ops == (HorizontalFlip(), Grayscale(p=0.6))


# --- the loss -----------------------------------------------------------------------------------------------------


def test_towers_share_their_weights_and_keep_their_places() -> None:
    """Tiles put in order before the encoder or after it: the blocks of the joined vector are the same."""
    jigsaw, tiles = method().eval(), torch.rand(3, 9, 3, 8, 8)
    labels = torch.tensor([[4], [0], [29]])
    with torch.no_grad():
        after = jigsaw.arrange(jigsaw.encode(tiles), labels)[:, 0]
        before = jigsaw.encode(jigsaw.arrange(tiles, labels)[:, 0])
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


def test_loss_is_the_mean_cross_entropy_over_puzzles() -> None:
    """A scalar loop in float64 over images and puzzles, each puzzle encoded on its own."""
    jigsaw, x = method(puzzles=2).eval(), noise(3)
    with torch.no_grad():
        torch.manual_seed(5)
        result = jigsaw.loss(batch(x))
        torch.manual_seed(5)
        tiles, labels, _ = jigsaw.puzzles(x)
        terms, right = [], 0
        for image, row in zip(tiles, labels.tolist(), strict=True):
            for label in row:
                puzzle = image[jigsaw.permutations[label]]
                joined = torch.cat([jigsaw.encode(tile[None, None])[0, 0] for tile in puzzle])
                scores = (jigsaw.head.weight @ joined + jigsaw.head.bias).double().tolist()
                terms.append(math.log(sum(math.exp(s) for s in scores)) - scores[label])
                right += max(range(30), key=scores.__getitem__) == label
    assert float(result.total) == pytest.approx(sum(terms) / 6, abs=1e-5)
    assert float(result.parts["accuracy"]) == pytest.approx(right / 6)


@pytest.mark.parametrize("count", [10, 30, 100])
def test_loss_starts_near_ln_p(count: int) -> None:
    assert float(method(permutations=count).loss(batch(noise(16))).total.detach()) == pytest.approx(
        math.log(count), abs=0.4
    )


@pytest.mark.parametrize("training", [True, False])
def test_flat_images_cannot_beat_chance(training: bool) -> None:
    """Equal tiles: the scores do not depend on the label, which is uniform."""
    jigsaw = method(puzzles=64).train(training)
    x = torch.rand(8, 3, 1, 1).expand(8, 3, 32, 32)
    with torch.no_grad():
        result = jigsaw.loss(batch(x))
    assert torch.isfinite(result.total)
    assert float(result.parts["accuracy"]) < 0.1
    assert float(result.total) > math.log(30) - 0.1


def test_gradients_reach_encoder_and_heads() -> None:
    jigsaw = method()
    jigsaw.loss(batch(noise())).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in jigsaw.parameters())


# --- what people see ----------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 96])
def test_a_solver_that_is_right_shows_every_tile_in_its_cell(size: int) -> None:
    jigsaw, x = method(size, channel_shift=0).eval(), noise(3, size)
    jigsaw.logits = lambda tiles, labels: torch.nn.functional.one_hot(labels, 30).float()  # type: ignore[method-assign]
    torch.manual_seed(2)
    (picture,) = jigsaw.show(batch(x))
    assert picture.images.shape == (3, 3, 3, size, size)
    torch.manual_seed(2)
    tiles, labels, _ = jigsaw.puzzles(x)
    assert torch.equal(picture.images[:, 2], jigsaw._spread(tiles))
    assert torch.equal(picture.images[:, 1], jigsaw._spread(jigsaw.arrange(tiles, labels)[:, 0]))
    assert picture.captions[0] == ("", f"order {labels[0, 0]}", f"says {labels[0, 0]}")


@torch.no_grad()
def test_health_of_a_blind_network_is_chance_and_its_symptom_is_named() -> None:
    jigsaw = method().eval()
    for p in jigsaw.head.parameters():
        torch.nn.init.zeros_(p)
    health = jigsaw.health(batch(noise(8)))
    assert health["jigsaw_loss"] == pytest.approx(math.log(30)) == pytest.approx(health["jigsaw_chance_loss"])
    assert health["jigsaw_chance"] == pytest.approx(1 / 30)
    (symptom,) = jigsaw.symptoms(health)
    assert symptom.startswith("jigsaw loss 3.40 is at chance (3.40)")
    assert jigsaw.symptoms({**health, "jigsaw_loss": 1.5}) == []
