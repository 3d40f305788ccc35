"""Kornia's two slowest operations, same numbers drawn, with their arithmetic written for whole batches.

Kornia crops in a Python loop over the images, on a GPU several launches for each, and turns hue through HSV planes.
Both are written out here; tests hold them equal to Kornia and torchvision, `benchmarks/NOTES.md` has the times.
"""

import math
from typing import Any

import kornia.augmentation as K
import torch
from torch import Tensor


def sampling(low: Tensor, high: Tensor, side: int, size: int) -> Tensor:
    """The weights (B, size, side) that read `size` points, bilinearly, off the pixels low..high (B,) of a line.

    Point i lies at low + (i + 1/2) (high - low + 1) / size - 1/2, kept inside the crop, and pixel j weighs 1 - |i - j|,
    at least 0: half-pixel centres, as torchvision and Pillow resize (`align_corners=False`).
    """
    low, high = low.view(-1, 1), high.view(-1, 1)
    points = torch.arange(size, device=low.device, dtype=low.dtype) + 0.5  # (size,)
    points = torch.clamp(low + points * (high - low + 1) / size - 0.5, low, high)  # (B, size)
    pixels = torch.arange(side, device=low.device, dtype=low.dtype)  # (side,)
    return (1 - (points.unsqueeze(-1) - pixels).abs()).clamp_min_(0)


def resize_boxes(images: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """A box of every image (B, C, H, W), resized to (B, C, *size): one product of matrices for each axis.

    Corners (B, 4, 2) are the (x, y) of the box's corner pixels, clockwise from top left.
    """
    corners = corners.to(images)
    (left, top), (right, bottom) = corners[:, 0].unbind(1), corners[:, 2].unbind(1)  # each (B,)
    rows = sampling(top, bottom, images.shape[-2], size[0])  # (B, h, H)
    columns = sampling(left, right, images.shape[-1], size[1])  # (B, w, W)
    return torch.einsum("bhy,bcyx,bwx->bchw", rows, images, columns)


class BatchedResizedCrop(K.RandomResizedCrop):  # type: ignore[misc]  # Kornia's classes are not checked
    """Kornia's RandomResizedCrop, same numbers drawn, with all boxes resized at once."""

    def apply_transform(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], **_: Any) -> Tensor:
        """Images (B, C, H, W) and drawn boxes to views (B, C, *size)."""
        return resize_boxes(input, params["src"], flags["size"])


def turn_hue(image: Tensor, angle: Tensor) -> Tensor:
    """Turn the HSV hue of RGB images (B, 3, H, W) in [0, 1] by `angle` (B,) radians; value and saturation stay.

    With V the largest and C the spread of the channels and h the hue in sextants, [0, 6), a channel of the turned
    colour is V - C w with w = 2 - |h - 3| for red, |h - 2| - 1 for green and |h - 4| - 1 for blue, all kept in [0, 1]
    (the hexcone of Smith 1978, solved for the channels).
    """
    red, green, blue = image.unbind(-3)  # each (B, H, W)
    high = torch.maximum(torch.maximum(red, green), blue)
    chroma = high - torch.minimum(torch.minimum(red, green), blue)
    sextant = torch.where(
        high == red, green - blue, torch.where(high == green, blue - red + 2 * chroma, red - green + 4 * chroma)
    ) / chroma.clamp_min(torch.finfo(image.dtype).tiny)
    sextant = (sextant + (angle * (3 / math.pi)).view(-1, 1, 1)).remainder_(6)
    centre, slope, offset = image.new_tensor([[3.0, 2, 4], [-1, 1, 1], [2, -1, -1]]).view(3, 3, 1, 1)  # of R, G, B
    weight = (sextant.unsqueeze(-3) - centre).abs_().mul_(slope).add_(offset).clamp_(0, 1)  # (B, 3, H, W)
    return torch.addcmul(high.unsqueeze(-3), chroma.unsqueeze(-3), weight, value=-1)


class FastColorJitter(K.ColorJitter):  # type: ignore[misc]  # Kornia's classes are not checked
    """Kornia's ColorJitter, same numbers drawn and same order of steps, with `turn_hue` for its hue step."""

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float, **options: Any) -> None:
        super().__init__(brightness, contrast, saturation, hue, **options)
        self._hue_fn = turn_hue
