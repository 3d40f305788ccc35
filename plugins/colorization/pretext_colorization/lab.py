"""sRGB to CIE Lab and back: D65, 2 degree observer, IEC 61966-2-1 transfer. float32 or float64, never half precision.

Kornia converts whole images; colorization needs L at every pixel for the encoder, and a and b only at those that are
targets, one of 16 at stride 4.
"""

import torch
from torch import Tensor

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)  # X, Y, Z of D65
KNEE = 0.04045  # of the sRGB transfer function
EPSILON, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116  # where the cube root of CIE 1976 becomes a line, and the line

IMAGES = 16  # at a time on a CPU: their intermediate values stay in the cache


def linear(rgb: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light, any shape.

    The line and the power meet at the knee to 3e-9, so both can be added, each clipped to its side: half the time of
    choosing between them per pixel.
    """
    curve = rgb.clamp_min(KNEE).add_(0.055).mul_(1 / 1.055).pow_(2.4)
    return curve.add_(rgb.clamp_max(KNEE).sub_(KNEE), alpha=1 / 12.92)


def compress(t: Tensor) -> Tensor:
    """f(t) of CIE 1976: the cube root, and a line near black."""
    return torch.where(t > EPSILON, t.clamp_min(EPSILON).pow_(1 / 3), SLOPE * t + OFFSET)


def relative(light: Tensor, axis: int) -> Tensor:
    """X / Xn, Y / Yn or Z / Zn, by axis, of linear light (..., 3, H, W): (..., H, W)."""
    if light.device.type == "cpu":  # a product of matrix and vector: images are channels last
        return light.movedim(-3, -1) @ (light.new_tensor(XYZ[axis]) / WHITE[axis])
    return _summed(light, axis)


def _summed(light: Tensor, axis: int) -> Tensor:
    """The same without a constant on the device, which a GPU would wait for, and in float32 under autocast."""
    red, green, blue = light.unbind(-3)
    x, y, z = (weight / WHITE[axis] for weight in XYZ[axis])
    return (red * x).add(green, alpha=y).add(blue, alpha=z)


def lightness(rgb: Tensor) -> Tensor:
    """L (B, 1, H, W) in [0, 100] of sRGB (B, 3, H, W) in [0, 1].

    Part of the encoder: it can be differentiated and exported, and uses operations that autocast leaves in float32.
    Where nobody asks for gradients of the image, as in training, it works in place.
    """
    if rgb.requires_grad or rgb.device.type != "cpu" or torch.compiler.is_compiling():  # which an export is
        light = torch.where(rgb > KNEE, ((rgb.clamp_min(KNEE) + 0.055) / 1.055).pow(2.4), rgb / 12.92)
        y = _summed(light, 1).unsqueeze(-3)  # (B, 1, H, W)
        return 116 * torch.where(y > EPSILON, y.clamp_min(EPSILON).pow(1 / 3), SLOPE * y + OFFSET) - 16
    out = rgb.new_empty(len(rgb), 1, *rgb.shape[-2:])
    with torch.autocast("cpu", enabled=False):  # it would make the product of matrix and vector bfloat16
        for piece, into in zip(rgb.split(IMAGES), out.split(IMAGES), strict=True):
            _lightness_into(piece, into)
    return out


def _lightness_into(rgb: Tensor, out: Tensor) -> None:
    """The same with powers as 2 ** (p log2 x), half the time and 5e-5 off, and added parts as in `linear`."""
    light = rgb.clamp_min(KNEE).add_(0.055).mul_(1 / 1.055).log2_().mul_(2.4).exp2_()
    light.add_(rgb.clamp_max(KNEE).sub_(KNEE), alpha=1 / 12.92)
    y = relative(light, 1).unsqueeze(-3)
    root = y.clamp_min(EPSILON).log2_().mul_(1 / 3).exp2_()
    root.add_(y.clamp_max_(EPSILON).sub_(EPSILON), alpha=SLOPE).mul_(116)
    torch.sub(root, 16, out=out)


def ab(rgb: Tensor, stride: int = 1) -> Tensor:
    """ab (B, 2, h, w) of every stride-th pixel of sRGB (B, 3, H, W) in [0, 1].

    h = ceil(H / stride): pixels 0, stride, 2 stride ... which is where the windows of a network of that stride are
    centred. Units: a in [-86.2, 98.3], b in [-107.9, 94.5] for colours of sRGB.
    """
    light = linear(rgb[..., ::stride, ::stride])
    fx, fy, fz = (compress(relative(light, axis)) for axis in range(3))
    return torch.stack((500 * (fx - fy), 200 * (fy - fz)), -3)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB (B, 3, H, W) in [0, 1] to Lab (B, 3, H, W)."""
    return torch.cat((lightness(rgb), ab(rgb)), -3)


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
