"""The kernels against what they replace: Kornia's crop and hue, and Python's colorsys."""

import colorsys
import math

import kornia
import kornia.augmentation as K
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.augment.kernels import (
    DENSE,
    BatchedPadCrop,
    BatchedResizedCrop,
    FastColorJitter,
    cut,
    resize_boxes,
    turn_hue,
)

COLOURS = {
    "red": (1, 0, 0),
    "yellow": (1, 1, 0),
    "green": (0, 1, 0),
    "cyan": (0, 1, 1),
    "blue": (0, 0, 1),
    "magenta": (1, 0, 1),
    "white": (1, 1, 1),
    "grey": (0.5, 0.5, 0.5),
    "black": (0, 0, 0),
    "dark red": (0.01, 0, 0),
    "nearly grey": (0.5, 0.5, 0.5 + 1e-6),
}


def one(colour: tuple[float, ...]) -> Tensor:
    return torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)


def by_colorsys(colour: tuple[float, ...], angle: float) -> Tensor:
    h, s, v = colorsys.rgb_to_hsv(*colour)
    return one(colorsys.hsv_to_rgb((h + angle / (2 * math.pi)) % 1.0, s, v))


@pytest.mark.parametrize("limit", [0.1, math.pi, 3 * math.pi])
def test_equals_kornia_on_random_colours(limit: float) -> None:
    image = torch.rand(64, 3, 16, 16)
    angle = (torch.rand(64) * 2 - 1) * limit
    expected = kornia.enhance.adjust_hue(image, angle)
    torch.testing.assert_close(turn_hue(image, angle), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("angle", [0.0, 0.3, -0.3, math.pi / 3, 2.0, math.pi, -math.pi, 2 * math.pi, 7.0])
def test_equals_colorsys_on_special_colours(name: str, angle: float) -> None:
    turned = turn_hue(one(COLOURS[name]), torch.tensor([angle]))
    torch.testing.assert_close(turned, by_colorsys(COLOURS[name], angle), rtol=0, atol=3e-6)


def test_a_third_of_a_turn_takes_red_to_green_to_blue() -> None:
    third = torch.tensor([2 * math.pi / 3])
    green = turn_hue(one(COLOURS["red"]), third)
    torch.testing.assert_close(green, one(COLOURS["green"]), rtol=0, atol=1e-6)
    torch.testing.assert_close(turn_hue(green, third), one(COLOURS["blue"]), rtol=0, atol=1e-6)


def test_whole_turns_change_nothing() -> None:
    image = torch.rand(4, 3, 8, 8)
    for turns in (0.0, 1.0, -1.0, 3.0):
        torch.testing.assert_close(turn_hue(image, torch.full((4,), turns * 2 * math.pi)), image, rtol=0, atol=5e-6)


def test_turns_add_up() -> None:
    image, a, b = torch.rand(8, 3, 8, 8, dtype=torch.float64), torch.rand(8).double(), torch.rand(8).double()
    torch.testing.assert_close(turn_hue(turn_hue(image, a), b), turn_hue(image, a + b), rtol=0, atol=1e-12)


def test_value_and_spread_of_the_channels_stay() -> None:
    image = torch.rand(8, 3, 8, 8)
    turned = turn_hue(image, torch.rand(8) * 6)
    torch.testing.assert_close(turned.amax(1), image.amax(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(turned.amin(1), image.amin(1), rtol=0, atol=1e-6)


def test_grey_stays_bitwise_and_the_input_is_not_touched() -> None:
    image = torch.rand(4, 1, 8, 8).expand(-1, 3, -1, -1).contiguous()
    before = image.clone()
    assert torch.equal(turn_hue(image, torch.rand(4) * 6), before)
    assert torch.equal(image, before)


def test_each_image_has_its_own_angle() -> None:
    image = torch.rand(1, 3, 8, 8).repeat(3, 1, 1, 1)
    angles = torch.tensor([0.0, 1.0, 2.0])
    turned = turn_hue(image, angles)
    for i in range(3):
        torch.testing.assert_close(turned[i : i + 1], turn_hue(image[i : i + 1], angles[i : i + 1]))
    assert not torch.allclose(turned[0], turned[1], atol=1e-2)


def test_jitter_equals_kornias_with_the_same_numbers() -> None:
    """All four steps, same draw: the only difference is how the hue step is computed."""
    image = torch.rand(32, 3, 16, 16)
    fast, kornias = FastColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    for seed in range(8):  # eight orders of the steps
        torch.manual_seed(seed)
        numbers = fast.forward_parameters(image.shape)
        torch.manual_seed(seed)
        theirs = kornias.forward_parameters(image.shape)
        assert all(torch.equal(numbers[key], theirs[key]) for key in theirs)
        torch.testing.assert_close(fast(image, params=numbers), kornias(image, params=theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [8, 32, 96])
@pytest.mark.parametrize(
    "strength", [(0.4, 0.0, 0.0), (0.0, 0.4, 0.0), (0.0, 0.0, 0.4), (0.8, 0.8, 0.8), (0.0, 0.0, 0.0)]
)
def test_steps_but_hue_equal_kornias_bitwise(side: int, strength: tuple[float, float, float]) -> None:
    """Also where the batch is worked on in pieces, the last of them smaller."""
    image = torch.rand(67, 3, side, side) * 1.2 - 0.1  # also what has to be clamped first
    before = image.clone()
    fast, kornias = FastColorJitter(*strength, 0.0, p=0.8), K.ColorJitter(*strength, 0.0, p=0.8)
    for seed in range(6):
        torch.manual_seed(seed)
        numbers = fast.forward_parameters(image.shape)
        assert torch.equal(fast(image, params=numbers), kornias(image, params=numbers))
    assert torch.equal(image, before)


def test_pieces_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    image, jitter = torch.rand(10, 3, 16, 16), FastColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    numbers = jitter.forward_parameters(image.shape)
    whole = jitter(image, params=numbers)
    monkeypatch.setattr("pretextbench.augment.kernels.PIECE", 3 * image[0].nbytes)
    assert torch.equal(jitter(image, params=numbers), whole)


# --- crops ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "size"), [(32, 32), (64, 64), (96, 64), (224, 224), (24, 48), (17, 1), (1, 8), (65, 1)]
)
def test_crop_equals_kornias_with_the_same_numbers(side: int, size: int) -> None:
    """Boxes of a hundredth of the area and less: some are one pixel wide."""
    images, ranges = (
        torch.rand(64, 3, side, side),
        {"scale": (0.002, 1.0), "ratio": (1 / 3, 3.0), "align_corners": False},
    )
    ours, kornias = BatchedResizedCrop((size, size), **ranges), K.RandomResizedCrop((size, size), **ranges)
    numbers = kornias.forward_parameters(images.shape)
    gap = 1e-5 if side <= DENSE else 1e-4  # of noise: smooth images differ by less
    torch.testing.assert_close(ours(images, params=numbers), kornias(images, params=numbers), rtol=0, atol=gap)


@pytest.mark.parametrize("side", [(32, 32), (40, 56), (200, 30), (30, 200), (1, 5)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.9, 1.0), (0.001, 0.01), (1.0, 1.0)])
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (1 / 3, 3.0)])
def test_boxes_are_those_that_kornia_draws(
    side: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    """Bit for bit, with nothing drawn besides; for oblong images and small areas some images have no box that fits."""
    ours, kornias = (kind((16, 16), scale=scale, ratio=ratio) for kind in (BatchedResizedCrop, K.RandomResizedCrop))
    torch.manual_seed(1)
    boxes, after = ours.forward_parameters((500, 3, *side))["src"], torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(boxes, kornias.forward_parameters((500, 3, *side))["src"])
    assert torch.equal(after, torch.rand(1))


def test_oblong_boxes_of_oblong_images_are_read_alike_by_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    images, box = torch.rand(1, 3, 40, 56), torch.tensor([[[3, 5], [50, 5], [50, 36], [3, 36]]])
    dense = resize_boxes(images, box, (30, 20))
    monkeypatch.setattr("pretextbench.augment.kernels.DENSE", 1)
    torch.testing.assert_close(resize_boxes(images, box, (30, 20)), dense, rtol=0, atol=2e-5)


def test_windows_equal_kornias_bitwise() -> None:
    images, options = torch.rand(64, 3, 24, 24), {"padding": 5, "padding_mode": "reflect"}
    ours, kornias = BatchedPadCrop((24, 24), **options), K.RandomCrop((24, 24), **options)
    numbers = ours.forward_parameters(images.shape)
    expected = kornias(images, params=numbers)
    assert torch.equal(ours(images, params=numbers), expected)
    left, top = numbers["src"][:, 0].unbind(1)  # the way of a GPU
    assert torch.equal(cut(F.pad(images, [5] * 4, mode="reflect"), left, top, (24, 24)), expected)


def test_the_whole_image_is_its_own_crop_bitwise() -> None:
    images = torch.rand(2, 3, 8, 12)
    whole = torch.tensor([[0, 0], [11, 0], [11, 7], [0, 7]]).repeat(2, 1, 1)
    assert torch.equal(resize_boxes(images, whole, (8, 12)), images)
