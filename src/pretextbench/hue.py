"""Hue without the round trip through HSV planes: Kornia's colour jitter with its slowest step written out.

At 32 px on two cores Kornia's `adjust_hue` takes most of the time of a SimCLR recipe (`benchmarks/NOTES.md`); the same
rotation in the RGB hexagon needs a fifth of the passes over memory. A test holds both equal to 1e-5.
"""

import math
from typing import Any

import kornia.augmentation as K
import torch
from torch import Tensor


def turn_hue(image: Tensor, angle: Tensor) -> Tensor:
    """Turn the HSV hue of RGB images (B, 3, H, W) in [0, 1] by `angle` (B,) radians; value and saturation stay.

    With V the largest and C the spread of the channels and h the hue in sextants, the channels of the turned colour are
    V - C clamp(min(k, 4 - k), 0, 1) with k = (n + h) mod 6 and n = 5, 3, 1 (Smith 1978, solved for the channels).
    """
    red, green, blue = image.unbind(-3)  # each (B, H, W)
    high = torch.maximum(torch.maximum(red, green), blue)
    chroma = high - torch.minimum(torch.minimum(red, green), blue)
    sextant = torch.where(
        high == red, green - blue, torch.where(high == green, blue - red + 2 * chroma, red - green + 4 * chroma)
    ) / chroma.clamp_min(torch.finfo(image.dtype).tiny)
    sextant = sextant + (angle * (3 / math.pi)).view(-1, 1, 1)
    offsets = torch.tensor([5.0, 3.0, 1.0], dtype=image.dtype, device=image.device).view(3, 1, 1)
    k = (sextant.unsqueeze(-3) + offsets).remainder_(6)  # (B, 3, H, W)
    return high.unsqueeze(-3) - chroma.unsqueeze(-3) * torch.minimum(k, 4 - k).clamp_(0, 1)


class FastColorJitter(K.ColorJitter):  # type: ignore[misc]  # Kornia's classes are not checked
    """Kornia's ColorJitter, same numbers drawn and same order of steps, with `turn_hue` for its hue step."""

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float, **options: Any) -> None:
        super().__init__(brightness, contrast, saturation, hue, **options)
        self._hue_fn = turn_hue
