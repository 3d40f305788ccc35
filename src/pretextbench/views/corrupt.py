"""Seven corruptions of five severities, for the robustness curves: pure functions of images, batched on their device.

Strengths are the constants of CIFAR-10-C (Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to
common corruptions and perturbations"), which has all but the rotation. They are meant for 32 px: on larger images blur
and pixels grow with the side, so that as much of the object is left. Smaller images keep the numbers of 32 px: fewer
would not be seen.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from kornia.enhance import adjust_brightness, adjust_contrast_with_mean_subtraction, jpeg_codec_differentiable
from kornia.filters import gaussian_blur2d
from kornia.geometry.transform import rotate as turn
from torch import Tensor

from pretextbench.base.seed import Seed
from pretextbench.errors import UserError, nearest

CORRUPTIONS: dict[str, tuple[float, ...]] = {  # name -> strength at severity 1, 2, ... 5
    "noise": (0.04, 0.06, 0.08, 0.09, 0.1),  # standard deviation; black to white is 1
    "blur": (0.4, 0.6, 0.7, 0.8, 1.0),  # standard deviation of the Gaussian, pixels of a 32 px image
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # factor on the distance from the image's mean grey
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added to every channel; black to white is 1
    "jpeg": (80, 65, 58, 50, 40),  # quality, as libjpeg counts it
    "pixelate": (0.95, 0.9, 0.85, 0.75, 0.65),  # pixels that are left along a side of 32, as a share
    "rotate": (6, 12, 18, 24, 30),  # degrees, anticlockwise; ours
}
NAMES, SEVERITIES = tuple(CORRUPTIONS), (1, 2, 3, 4, 5)
MADE_FOR = 32  # pixels: the side that the strengths are meant for


def draw_noise(seed: Seed, rows: Iterable[int], side: int) -> Tensor:
    """Standard normal numbers (B, 3, side, side) for these rows of the test split.

    Every row has its own stream, so they do not depend on the batch; one draw serves all severities, so every single
    image gets farther from the clean one with each.
    """
    shape = (3, side, side)
    return torch.from_numpy(
        np.stack([seed.numpy("noise", int(row)).standard_normal(shape, dtype=np.float32) for row in rows])
    )


def add_noise(images: Tensor, std: float, noise: Tensor) -> Tensor:
    """Add the same standard normal numbers to the same images, whatever the device."""
    return images + std * noise.to(images)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, cut off at four standard deviations; the border mirrors."""
    sigma *= max(1.0, images.shape[-1] / MADE_FOR)
    side = 2 * int(4 * sigma + 0.5) + 1
    blurred: Tensor = gaussian_blur2d(images, (side, side), (sigma, sigma), "reflect")
    return blurred


def contrast(images: Tensor, factor: float) -> Tensor:
    """Pull every pixel towards the image's mean grey, as Pillow does; CIFAR-10-C takes the mean of each channel."""
    greyed: Tensor = adjust_contrast_with_mean_subtraction(images, factor)
    return greyed


def brightness(images: Tensor, shift: float) -> Tensor:
    """Add to the channels and clip, as over-exposure does; CIFAR-10-C adds to the HSV value."""
    shifted: Tensor = adjust_brightness(images, shift)
    return shifted


def jpeg(images: Tensor, quality: float) -> Tensor:
    """Kornia's differentiable JPEG: its rounding is soft, so it loses about a tenth less than libjpeg.

    In double precision: rounding errors of single precision, which depend on the size of the batch, push a coefficient
    over the edge between two steps now and then, and with it a block of pixels.
    """
    coded: Tensor = jpeg_codec_differentiable(images.double(), images.new_tensor([quality]).double())
    return coded.to(images)


def cells(side: int, share: float, device: torch.device) -> Tensor:
    """The cell (side,) that each pixel of a line falls into, by its centre."""
    count = int(min(side, MADE_FOR) * share)
    return ((torch.arange(side, device=device) + 0.5) * (count / side)).long()


def pixelate(images: Tensor, share: float) -> Tensor:
    """Every cell becomes its mean: Pillow's BOX filter down and up again, as in CIFAR-10-C.

    Not Kornia's resize: the windows of its area filter overlap when a cell is not a whole number of pixels, which makes
    severity 1 of CIFAR-10-C as strong as 4.
    """
    cell = cells(images.shape[-1], share, images.device)
    shared = (cell.unsqueeze(1) == cell).to(images)  # (W, W): 1 where two pixels of a line share a cell
    mean = shared / shared.sum(1, keepdim=True)
    return mean @ images @ mean.T


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn about the centre; the corners are filled by mirroring.

    Black corners would be an artefact that no photograph has, and a crop that avoids them would enlarge the object and
    could cut it: mirrored, the whole object stays, at its size.
    """
    turned: Tensor = turn(images, images.new_tensor([degrees]), padding_mode="reflection")
    return turned


APPLY: dict[str, Callable[[Tensor, float], Tensor]] = {
    "blur": blur,
    "contrast": contrast,
    "brightness": brightness,
    "jpeg": jpeg,
    "pixelate": pixelate,
    "rotate": rotate,
}


def strength(name: str, severity: int) -> float:
    """The strength of a corruption at a severity.

    Raises:
        UserError: there is no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise UserError(f"There is no corruption {name!r}.{nearest(name, NAMES)} Allowed: {', '.join(NAMES)}.")
    if severity not in SEVERITIES:
        raise UserError(f"There is no severity {severity!r}. Allowed: {', '.join(map(str, SEVERITIES))}.")
    return CORRUPTIONS[name][severity - 1]


def corrupt(images: Tensor, name: str, severity: int, noise: Tensor | None = None) -> Tensor:
    """Images (B, 3, H, H) in [0, 1], corrupted, still in [0, 1]; draws nothing.

    `noise` are the numbers (B, 3, H, H) of `draw_noise`; only the corruption called noise reads them.

    Raises:
        UserError: there is no such corruption or severity, or `noise` is missing for the corruption called noise.
    """
    amount = strength(name, severity)
    if name != "noise":
        return APPLY[name](images, amount).clamp(0, 1)
    if noise is None:
        raise UserError("The corruption 'noise' needs random numbers: pass those of draw_noise() to corrupt().")
    return add_noise(images, amount, noise).clamp(0, 1)
