"""sRGB to CIE Lab and back: D65, 2 degree observer, IEC 61966-2-1 transfer. float32 or float64, never half precision.

Kornia's conversion agrees, but takes three times as long on a CPU; and colorization needs a and b only at the pixels
that are targets, one of 16 at stride 4, which saves most of what is left.
"""

import torch
from torch import Tensor

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)  # X, Y, Z of D65
KNEE = 0.04045  # of the sRGB transfer function
EPSILON, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116  # where the cube root of CIE 1976 becomes a line, and the line

IMAGES = 16  # at a time on a CPU: their intermediate values stay in the cache


def power(base: Tensor, exponent: float, fast: bool) -> Tensor:
    """base ** exponent for base > 0, written over base; `fast` takes half the time and is 4e-7 off in float32."""
    return base.log2_().mul_(exponent).exp2_() if fast else base.pow_(exponent)


def linear(rgb: Tensor, fast: bool = False) -> Tensor:
    """sRGB in [0, 1] to linear light, any shape.

    The line and the power meet at the knee to 3e-9, so both can be added, each clipped to its side: half the time of
    choosing between them per pixel.
    """
    curve = power(rgb.clamp_min(KNEE).add_(0.055).mul_(1 / 1.055), 2.4, fast)
    return curve.add_(rgb.clamp_max(KNEE).sub_(KNEE), alpha=1 / 12.92)


def compress(t: Tensor, fast: bool = False) -> Tensor:
    """f(t) of CIE 1976: the cube root, and a line near black."""
    root = power(t.clamp_min(EPSILON), 1 / 3, fast)
    if fast:  # added like the parts of `linear`; the standard's own parts miss each other by 3e-7
        return root.add_(t.clamp_max(EPSILON).sub_(EPSILON), alpha=SLOPE)
    return torch.where(t > EPSILON, root, SLOPE * t + OFFSET)


def response(light: Tensor, axis: int, fast: bool = False) -> Tensor:
    """f(X / Xn), f(Y / Yn) or f(Z / Zn), by axis, of linear light (..., 3, H, W): (..., H, W)."""
    weights = light.new_tensor(XYZ[axis]) / WHITE[axis]
    return compress(light.movedim(-3, -1) @ weights, fast)  # a product of matrix and vector: images are channels last


def split(rgb: Tensor, stride: int = 1) -> tuple[Tensor, Tensor]:
    """sRGB (B, 3, H, W) in [0, 1] to L (B, 1, H, W) of every pixel and ab (B, 2, h, w) of every stride-th.

    h = ceil(H / stride): pixels 0, stride, 2 stride ... which is where the windows of a network of that stride are
    centred. Units: L in [0, 100]; a in [-86.2, 98.3], b in [-107.9, 94.5] for colours of sRGB.
    """
    pieces = rgb.split(IMAGES) if rgb.device.type == "cpu" else (rgb,)
    lightness, ab = zip(*(_split(piece, stride) for piece in pieces), strict=True)
    return torch.cat(lightness), torch.cat(ab)


def _split(rgb: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    y = response(linear(rgb, fast=True), 1, fast=True)  # an error of 4e-7 is 5e-5 in L, but would be 2e-4 in a
    few = linear(rgb[..., ::stride, ::stride])
    fx, fy, fz = (response(few, axis) for axis in range(3))
    return y.mul_(116).sub_(16).unsqueeze(-3), torch.stack((500 * (fx - fy), 200 * (fy - fz)), -3)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (B, 3, H, W) in [0, 1] to Lab (B, 3, H, W)."""
    return torch.cat(split(rgb), -3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Lab (B, 3, H, W) to sRGB (B, 3, H, W), clipped to [0, 1] where the screen cannot show the colour."""
    lightness, a, b = lab.unbind(-3)
    y = (lightness + 16) / 116
    f = torch.stack((y + a / 500, y, y - b / 200), -1).clamp_min(0)  # (B, H, W, 3)
    t = torch.where(f > EPSILON ** (1 / 3), f.pow(3), (f - OFFSET) / SLOPE)
    inverse = torch.linalg.inv(torch.tensor(XYZ, dtype=torch.float64)).to(t)
    light = (t * torch.tensor(WHITE).to(t)) @ inverse.T
    encoded = torch.where(light > 0.0031308, 1.055 * light.clamp_min(0.0031308).pow(1 / 2.4) - 0.055, 12.92 * light)
    return encoded.clamp(0, 1).movedim(-1, -3)
