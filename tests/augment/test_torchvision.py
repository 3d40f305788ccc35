"""Augmentation against torchvision and scipy, operation by operation: the same numbers in, the same pixels out."""

from collections.abc import Callable

import kornia
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as tv
from scipy.ndimage import gaussian_filter
from torch import Tensor

from pretextbench.augment.pipeline import blur_kernel
from pretextbench.recipe import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    PadCrop,
    RandomResizedCrop,
    Solarize,
)
from tests.drawn import SIDE, Numbers, boxes, images, through

STEPS: list[tuple[str, Callable[[Tensor, float], Tensor]]] = [  # in the order in which Kornia numbers them
    ("brightness", tv.adjust_brightness),
    ("contrast", tv.adjust_contrast),
    ("saturation", tv.adjust_saturation),
    ("hue", tv.adjust_hue),
]


def where(numbers: Numbers, changed: Tensor, x: Tensor) -> Tensor:
    return torch.where((numbers["batch_prob"] > 0.5).view(-1, 1, 1, 1), changed, x)


def test_crop_equals_torchvision() -> None:
    """Kornia aligns the corner pixels of crop and view unless told otherwise; on noise that differs by 0.031."""
    x = images()
    ours, numbers = through(RandomResizedCrop(scale=(0.08, 1.0)), x)
    expected = torch.stack(
        [tv.resized_crop(x[i], *box, [SIDE, SIDE], antialias=False) for i, box in enumerate(boxes(numbers))]
    )
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
    corners = kornia.augmentation.RandomResizedCrop((SIDE, SIDE), align_corners=True)
    assert float((corners(x, params=numbers) - expected).abs().mean()) > 0.02


def test_pad_crop_equals_torchvision_bitwise() -> None:
    x = images()
    ours, numbers = through(PadCrop(padding=4), x)
    padded = tv.pad(x, [4, 4, 4, 4], padding_mode="reflect")
    expected = torch.stack([tv.crop(padded[i], *box) for i, box in enumerate(boxes(numbers))])
    assert torch.equal(ours, expected)
    assert {box[2:] for box in boxes(numbers)} == {(SIDE, SIDE)}


def test_flip_equals_torchvision_bitwise() -> None:
    x = images()
    ours, numbers = through(HorizontalFlip(), x)
    assert torch.equal(ours, where(numbers, tv.horizontal_flip(x), x))
    assert 0 < float(numbers["batch_prob"].mean()) < 1


@pytest.mark.parametrize(
    ("step", "tolerance"), [("brightness", 0), ("contrast", 1e-4), ("saturation", 2e-4), ("hue", 1e-5)]
)
def test_each_step_of_the_jitter_equals_torchvision(step: str, tolerance: float) -> None:
    """Contrast and saturation blend with the luma, whose red weight is 0.299 here and 0.2989 in torchvision."""
    x, theirs = images(), dict(STEPS)[step]
    strength = {name: 0.0 for name, _ in STEPS} | {step: 0.5 if step == "hue" else 0.8}
    ours, numbers = through(ColorJitter(**strength, p=1), x)
    factors = numbers[f"{step}_factor"].tolist()
    expected = torch.stack([theirs(image, factor) for image, factor in zip(x, factors, strict=True)])
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed", range(6))
def test_jitter_equals_torchvision_in_the_drawn_order(seed: int) -> None:
    torch.manual_seed(seed)
    x = images()
    ours, numbers = through(ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8), x)
    changed = []
    for i, image in enumerate(x):
        for name, step in (STEPS[k] for k in numbers["order"].tolist()):
            image = step(image, float(numbers[f"{name}_factor"][i]))
        changed.append(image)
    torch.testing.assert_close(ours, where(numbers, torch.stack(changed), x), rtol=0, atol=5e-4)


def test_grey_is_the_luma_of_bt601() -> None:
    """torchvision writes 0.2989 for the weight of red and sums to 0.9999: up to 1e-4 darker."""
    x = images()
    ours, _ = through(Grayscale(p=1), x)
    luma = torch.einsum("bchw,c->bhw", x, torch.tensor([0.299, 0.587, 0.114]))
    torch.testing.assert_close(ours, luma[:, None].expand(-1, 3, -1, -1), rtol=0, atol=1e-6)
    difference = ours - tv.rgb_to_grayscale(x, num_output_channels=3)
    assert 5e-5 < float(difference.max()) <= 1.01e-4


@pytest.mark.parametrize("side", [32, 96])
def test_blur_equals_torchvision(side: int) -> None:
    x, size = images(4, side), blur_kernel(side)
    ours, numbers = through(GaussianBlur(p=1), x)
    sigmas = numbers["sigma"].tolist()
    theirs = [tv.gaussian_blur(image, [size] * 2, [sigma] * 2) for image, sigma in zip(x, sigmas, strict=True)]
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=0, atol=2e-6)


@pytest.mark.parametrize("side", [32, 96])
def test_blur_equals_scipy(side: int) -> None:
    """A Gaussian of the same radius, sampled and normalised by other hands; mirrored without repeating the border."""
    x = images(4, side)
    ours, numbers = through(GaussianBlur(p=1), x)
    radius = blur_kernel(side) // 2
    expected = [
        gaussian_filter(image.double().numpy(), sigma, mode="mirror", radius=radius, axes=(1, 2))
        for image, sigma in zip(x, numbers["sigma"].tolist(), strict=True)
    ]
    torch.testing.assert_close(ours, torch.from_numpy(np.stack(expected)).float(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_solarize_equals_torchvision_bitwise(threshold: float) -> None:
    x = images()
    x[0] = threshold  # what is exactly at the threshold is inverted by both
    ours, _ = through(Solarize(threshold=threshold, p=1), x)
    assert torch.equal(ours, tv.solarize(x, threshold))


@pytest.mark.parametrize(("side", "size"), [(8, 3), (32, 3), (64, 7), (96, 9), (224, 23)])
def test_blur_kernel_is_odd_and_about_a_tenth(side: int, size: int) -> None:
    """SimCLR's code: radius = (side // 10) // 2, size = 2 radius + 1."""
    assert blur_kernel(side) == size
