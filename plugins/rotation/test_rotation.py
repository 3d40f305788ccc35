"""Rotation prediction: exact transposes, the order trap, and a loss that starts at ln 4 and is not fooled below it."""

import math

import numpy as np
import pytest
import torch
from pretext_rotation import ANGLES, CHANCE, Params, Rotation, four_rotations, labels
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.recipe import HorizontalFlip, PadCrop

torch.set_num_threads(1)  # the networks here are too small to share
SIDE = 16
CPU = torch.device("cpu")
FACTS = Data(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), images=100)


def method() -> Rotation:
    torch.manual_seed(0)
    return Rotation(Params(), build(EncoderParams(width=8), SIDE, FACTS.mean, FACTS.std), FACTS)


def batch(x: Tensor) -> Batch:
    return Batch((x,), torch.arange(len(x)))


def noise(n: int = 4) -> Tensor:
    return torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def turn(x: Tensor, turns: int) -> Tensor:
    """x turned by so many quarter turns, cut out of the batch of all four."""
    return four_rotations(x)[turns * len(x) : (turns + 1) * len(x)]


# --- the transformation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(4))
def test_equals_numpys_rot90_bitwise(turns: int) -> None:
    """np.rot90 turns counter-clockwise from the first axis to the second: from rows to columns."""
    x = noise()
    expected = np.stack([np.rot90(image, turns, axes=(1, 2)) for image in x.numpy()])
    assert np.array_equal(turn(x, turns).numpy(), expected)


def test_four_quarter_turns_are_the_identity_bitwise() -> None:
    x = noise()
    assert torch.equal(turn(turn(turn(turn(x, 1), 1), 1), 1), x)


@pytest.mark.parametrize("a", range(4))
@pytest.mark.parametrize("b", range(4))
def test_turns_add_up_bitwise(a: int, b: int) -> None:
    x = noise()
    assert torch.equal(turn(turn(x, a), b), turn(x, (a + b) % 4))


def test_a_bright_top_row_goes_left_bottom_right() -> None:
    """Counter-clockwise: what is up at 0 degrees lies left at 90, down at 180, right at 270."""
    x = torch.zeros(1, 3, 4, 4)
    x[:, :, 0, :] = 1
    bright = [four_rotations(x)[k, 0].nonzero().tolist() for k in range(4)]
    assert bright == [
        [[0, i] for i in range(4)],
        [[i, 0] for i in range(4)],
        [[3, i] for i in range(4)],
        [[i, 3] for i in range(4)],
    ]


def test_nothing_is_interpolated() -> None:
    """Every turned image holds bitwise the same pixels, only elsewhere."""
    x = noise(2)
    for turns in range(4):
        for before, after in zip(x, turn(x, turns), strict=True):
            pixels = [image.flatten(1).T.tolist() for image in (before, after)]
            assert sorted(pixels[0]) == sorted(pixels[1])


def test_every_rotation_of_every_image_is_there_with_its_label() -> None:
    x = noise(5)
    truth = labels(5, CPU)
    assert torch.bincount(truth, minlength=4).tolist() == [5, 5, 5, 5]
    assert truth.dtype == torch.int64
    for image, label, k in zip(four_rotations(x), truth.tolist(), range(20), strict=True):
        assert torch.equal(image, torch.rot90(x[k % 5], label, (-2, -1)))
    assert ANGLES == (0, 90, 180, 270)


def test_flip_after_rotation_would_swap_90_and_270() -> None:
    """The order trap: a mirrored image at 90 degrees is bitwise the image's mirror at 270.

    With flips after the rotation both labels name the same set of pixels: they cannot be told apart, 75 % at best.
    """
    x = noise()
    mirrored = x.flip(-1)
    assert torch.equal(turn(x, 1).flip(-1), turn(mirrored, 3))
    assert torch.equal(turn(x, 3).flip(-1), turn(mirrored, 1))
    assert torch.equal(turn(x, 0).flip(-1), turn(mirrored, 0))
    assert torch.equal(turn(x, 2).flip(-1), turn(mirrored, 2))


def test_the_recipe_holds_no_rotation_and_the_loss_turns_last() -> None:
    (view,) = Rotation.recipe(Params(), SIDE).views
    assert view.ops == (PadCrop(padding=4), HorizontalFlip(p=0.5))
    assert view.draws == 1
    assert Rotation.recipe(Params(padding=0), SIDE).views[0].ops == (HorizontalFlip(p=0.5),)


# --- the loss -----------------------------------------------------------------------------------------------------


def test_loss_is_the_mean_cross_entropy_of_equation_3() -> None:
    """A scalar loop in float64 over images and rotations."""
    rotation, x = method().eval(), noise(3)
    with torch.no_grad():
        result = rotation.loss(batch(x))
        terms, right = [], 0
        for image in x:
            for y in range(4):
                h = rotation.encoder(torch.rot90(image, y, (-2, -1))[None])
                logits = (h @ rotation.head.weight.T + rotation.head.bias)[0].double().tolist()
                terms.append(math.log(sum(math.exp(v) for v in logits)) - logits[y])
                right += max(range(4), key=logits.__getitem__) == y
    assert float(result.total) == pytest.approx(sum(terms) / 12, abs=1e-5)
    assert float(result.parts["accuracy"]) == pytest.approx(right / 12)


def test_loss_starts_near_ln_4() -> None:
    assert float(method().loss(batch(noise(16))).total.detach()) == pytest.approx(math.log(4), abs=0.35)


def symmetric(n: int) -> Tensor:
    """Images that are bitwise their own rotations: p cannot depend on the label."""
    x = noise(n)
    return torch.stack([torch.rot90(x, k, (-2, -1)) for k in range(4)]).amax(0)


@pytest.mark.parametrize("images", ["constant", "black", "symmetric"])
@pytest.mark.parametrize("training", [True, False])
def test_images_without_up_and_down_cannot_beat_chance(images: str, training: bool) -> None:
    """Exchangeable labels: cross-entropy >= ln 4 and accuracy exactly 1/4, whatever the network."""
    x = {
        "constant": torch.full((4, 3, SIDE, SIDE), 0.3),
        "black": torch.zeros(4, 3, SIDE, SIDE),
        "symmetric": symmetric(4),
    }
    rotation = method().train(training)
    torch.nn.init.normal_(rotation.head.weight)  # confident, and wrong three times out of four
    with torch.no_grad():
        result = rotation.loss(batch(x[images]))
    assert torch.isfinite(result.total)
    assert float(result.total) >= math.log(4) - 1e-6
    assert float(result.parts["accuracy"]) == 0.25


def test_one_image_is_a_batch_of_four() -> None:
    result = method().train().loss(batch(noise(1)))
    assert torch.isfinite(result.total)


def test_gradients_reach_encoder_and_head() -> None:
    rotation = method()
    rotation.loss(batch(noise())).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in rotation.parameters())


def test_learns_which_way_is_up() -> None:
    """Images with a bright upper half: 20 steps take the accuracy from chance to 1."""
    rotation = method()
    optimizer = torch.optim.SGD(rotation.parameters(), lr=0.1, momentum=0.9)
    for _ in range(20):
        x = torch.rand(8, 3, SIDE, SIDE) * 0.5
        x[:, :, : SIDE // 2] += 0.5
        result = rotation.loss(batch(x))
        optimizer.zero_grad()
        result.total.backward()
        optimizer.step()
    assert float(result.parts["accuracy"]) == 1.0
    assert float(result.total.detach()) < 0.1


# --- what people see ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_show_puts_the_four_rotations_of_an_image_in_a_row() -> None:
    x = noise(3)
    (picture,) = method().eval().show(batch(x))
    assert picture.columns == ("0 deg", "90 deg", "180 deg", "270 deg")
    assert picture.images.shape == (3, 4, 3, SIDE, SIDE)
    for row in range(3):
        for turns in range(4):
            assert torch.equal(picture.images[row, turns], torch.rot90(x[row], turns, (-2, -1)))
    assert {text for row in picture.captions for text in row} <= {f"says {angle}" for angle in ANGLES}


@torch.no_grad()
def test_captions_are_what_the_network_says() -> None:
    rotation = method().eval()
    torch.nn.init.zeros_(rotation.head.weight)
    rotation.head.bias.copy_(torch.tensor([0.0, 0.0, 5.0, 0.0]))
    (picture,) = rotation.show(batch(noise(2)))
    assert picture.captions == (("says 180",) * 4,) * 2


@torch.no_grad()
def test_health_of_a_blind_network_is_chance_and_its_symptom_is_named() -> None:
    rotation = method().eval()
    torch.nn.init.zeros_(rotation.head.weight)
    torch.nn.init.zeros_(rotation.head.bias)
    health = rotation.health(batch(noise()))
    assert health["rotation_accuracy"] == health["rotation_chance"] == CHANCE == 0.25
    assert health["rotation_loss"] == pytest.approx(math.log(4))
    (symptom,) = rotation.symptoms(health)
    assert symptom.startswith("rotation accuracy 0.25 is at chance (0.25): the images may have no up and down")


def test_a_network_that_sees_has_no_symptom() -> None:
    assert method().symptoms({"rotation_accuracy": 0.9, "rotation_chance": 0.25, "rotation_loss": 0.3}) == []
