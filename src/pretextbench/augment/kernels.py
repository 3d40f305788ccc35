"""Kornia's slowest operations, same numbers drawn, with their arithmetic written for whole batches.

Kornia crops in a Python loop over the images, on a GPU several launches for each; it turns hue through HSV planes, and
its colour steps write a new batch for each of their operations. They are written out here, and none makes a GPU wait;
tests hold them equal to Kornia and torchvision, `benchmarks/NOTES.md` has the times.
"""

import functools
import math
from typing import Any, cast

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor

DENSE = 64  # px: up to here a product with all pixels of a line is as fast as reading the two that count


def points(low: Tensor, high: Tensor, size: int) -> Tensor:
    """Positions (B, size) of `size` points on the pixels low..high (B,) of a line, in pixels.

    Point i lies at low + (i + 1/2) (high - low + 1) / size - 1/2, kept inside the crop: half-pixel centres, as
    torchvision and Pillow resize (`align_corners=False`).
    """
    low, high = low.view(-1, 1), high.view(-1, 1)
    steps = torch.arange(size, device=low.device, dtype=low.dtype) + 0.5  # (size,)
    return torch.clamp(low + steps * (high - low + 1) / size - 0.5, low, high)


def weights(points: Tensor, side: int) -> Tensor:
    """The weights (B, size, side) that read points (B, size) bilinearly: pixel j weighs 1 - |i - j|, at least 0."""
    pixels = torch.arange(side, device=points.device, dtype=points.dtype)  # (side,)
    return (1 - (points.unsqueeze(-1) - pixels).abs()).clamp_min_(0)


def resize_boxes(images: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """A box of every image (B, C, H, W), resized bilinearly to (B, C, *size), all boxes at once.

    Corners (B, 4, 2) are the (x, y) of the box's corner pixels, clockwise from top left. Small images take one product
    of matrices for each axis, larger ones torch's grid_sample, whose coordinates in [-1, 1] cost a few 1e-5.
    """
    corners = corners.to(images, non_blocking=True)
    (left, top), (right, bottom) = corners[:, 0].unbind(1), corners[:, 2].unbind(1)  # each (B,)
    y, x = points(top, bottom, size[0]), points(left, right, size[1])  # (B, h), (B, w)
    height, width = images.shape[-2:]
    if max(height, width) <= DENSE:
        return torch.einsum("bhy,bcyx,bwx->bchw", weights(y, height), images, weights(x, width))
    y, x = y * (2 / max(1, height - 1)) - 1, x * (2 / max(1, width - 1)) - 1
    grid = torch.stack(torch.broadcast_tensors(x.unsqueeze(1), y.unsqueeze(2)), dim=-1)  # (B, h, w, 2)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=True)


TRIES = 10  # boxes drawn for each image, of which the first that fits is taken


def draw_boxes(images: int, side: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """Corners (B, 4, 2) of a random box in each image of `side` = (H, W) pixels: (x, y), clockwise from top left.

    The area is uniform on `scale` times the image's, width / height log-uniform on `ratio` (Szegedy 2015; torchvision's
    RandomResizedCrop); where none of the tries fits, the whole image as far as `ratio` lets it. The random numbers and
    the arithmetic are Kornia's, bit for bit, in half the time: on a GPU this is most of what augmenting a batch costs.
    """
    height, width = side
    low, high = torch.tensor(scale)
    area = (torch.rand(images, TRIES) * (high - low) + low) * height * width
    low, high = torch.tensor(ratio).log()
    shape = (low + torch.rand(images, TRIES) * (high - low)).exp()  # width / height
    w, h = (area * shape).sqrt().round(), (area / shape).sqrt().round()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    some, oblong = fits.gather(1, first), width / height
    whole_w = width if oblong <= max(ratio) else round(height * max(ratio))
    whole_h = height if oblong >= min(ratio) else round(width / min(ratio))
    w, h = torch.where(some, w.gather(1, first), whole_w), torch.where(some, h.gather(1, first), whole_h)  # (B, 1)
    x, y = ((torch.rand(images, 1) * (whole - part + 1)).floor() for whole, part in ((width, w), (height, h)))
    right, bottom = x + w - 1, y + h - 1
    return torch.cat([x, y, right, y, right, bottom, x, bottom], 1).view(-1, 4, 2)


class BatchedResizedCrop(K.RandomResizedCrop):  # type: ignore[misc]  # Kornia's classes are not checked
    """Kornia's RandomResizedCrop, same numbers drawn, with all boxes resized at once."""

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """One box for each image of a batch (B, C, H, W)."""
        size, ranges = (batch_shape[-2], batch_shape[-1]), self._param_generator
        return {"src": draw_boxes(batch_shape[0], size, ranges.scale, ranges.ratio)}

    def apply_transform(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], **_: Any) -> Tensor:
        """Images (B, C, H, W) and drawn boxes to views (B, C, *size)."""
        return resize_boxes(input, params["src"], flags["size"])


def cut(images: Tensor, left: Tensor, top: Tensor, size: tuple[int, int]) -> Tensor:
    """The window of `size` = (h, w) at pixel (left, top), each (B,), of every image (B, C, H, W): (B, C, h, w)."""
    device = images.device
    image = torch.arange(len(images), device=device).view(-1, 1, 1)
    y = top.long().view(-1, 1, 1) + torch.arange(size[0], device=device).view(1, -1, 1)  # (B, h, 1)
    x = left.long().view(-1, 1, 1) + torch.arange(size[1], device=device)  # (B, 1, w)
    return images[image, :, y, x].movedim(-1, 1)


class BatchedPadCrop(K.RandomCrop):  # type: ignore[misc]  # Kornia's classes are not checked
    """Kornia's padded RandomCrop, same numbers drawn, with all windows cut out at once."""

    def apply_transform(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], **_: Any) -> Tensor:
        """Images (B, C, H, W) and drawn boxes to views (B, C, *size)."""
        if input.device.type == "cpu":  # slices are cheaper than indices there
            return cast(Tensor, super().apply_transform(input, params, flags))
        padded = F.pad(input, self.compute_padding(tuple(input.shape)), mode=flags["padding_mode"])
        left, top = params["src"][:, 0].to(input.device, non_blocking=True).unbind(1)  # each (B,)
        return cut(padded, left, top, flags["size"])


class PatientBlur(K.RandomGaussianBlur):  # type: ignore[misc]  # Kornia's classes are not checked
    """Kornia's RandomGaussianBlur, which on a GPU reads every sigma back to see that it is positive; these are."""

    def apply_transform(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], **_: Any) -> Tensor:
        """Images (B, C, H, W) and drawn sigmas (B,) to blurred images."""
        if input.device.type == "cpu":
            return cast(Tensor, super().apply_transform(input, params, flags))
        height, width = flags["kernel_size"]
        sigma = params["sigma"].to(input, non_blocking=True).view(-1, 1)
        taps = (get_gaussian_kernel1d(side, sigma) for side in (width, height))
        return cast(Tensor, filter2d_separable(input, *taps, flags["border_type"].name.lower()))


@functools.lru_cache
def hexcone(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Centre, slope and offset of the three channels' weights, (3, 3, 1, 1); made once, a GPU waits for a constant."""
    return torch.tensor([[3.0, 2, 4], [-1, 1, 1], [2, -1, -1]], device=device, dtype=dtype).view(3, 3, 1, 1)


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
    centre, slope, offset = hexcone(image.device, image.dtype)  # of R, G, B
    weight = (sextant.unsqueeze(-3) - centre).abs_().mul_(slope).add_(offset).clamp_(0, 1)  # (B, 3, H, W)
    return torch.addcmul(high.unsqueeze(-3), chroma.unsqueeze(-3), weight, value=-1)


PIECE = 2**19  # bytes of images that a CPU core's second-level cache holds together with their results


def luma(image: Tensor) -> Tensor:
    """RGB images (B, 3, H, W) to their luma (B, 1, H, W), ITU-R BT.601."""
    red, green, blue = image.unbind(1)
    return torch.add(red * 0.299, green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


def brighten(image: Tensor, factor: Tensor) -> Tensor:
    """Images times `factor` (B, 1, 1, 1), in place."""
    return image.mul_(factor).clamp_(0, 1)


def contrast(image: Tensor, factor: Tensor) -> Tensor:
    """Images blended with the mean of their luma, in place."""
    mean = luma(image).mean((-2, -1), keepdim=True)
    return image.mul_(factor).add_(mean * (1 - factor)).clamp_(0, 1)


def saturate(image: Tensor, factor: Tensor) -> Tensor:
    """Images blended with their luma, in place."""
    grey = luma(image).mul_(1 - factor)
    return image.mul_(factor).add_(grey).clamp_(0, 1)


def shift_hue(image: Tensor, turns: Tensor) -> Tensor:
    """Images with their hue turned by `turns` (B, 1, 1, 1) of a circle."""
    return turn_hue(image, (turns * 2 * math.pi).flatten())


class FastColorJitter(K.ColorJitter):  # type: ignore[misc]  # Kornia's classes are not checked
    """Kornia's ColorJitter, same numbers drawn and same order of steps.

    The steps work in place, on the CPU on pieces that stay in the cache, and none asks the device whether it has
    anything to do: a GPU would wait four times per view.
    """

    STEPS = (brighten, contrast, saturate, shift_hue)  # Kornia's numbering of them
    FACTORS = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float, **options: Any) -> None:
        super().__init__(brightness, contrast, saturation, hue, **options)
        self._active = [strength > 0 for strength in (brightness, contrast, saturation, hue)]

    def apply_transform(self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], **_: Any) -> Tensor:
        """Images (B, 3, H, W) and drawn factors (B,) to images in [0, 1]; the input is left as it is."""
        order = [step for step in params["order"].tolist() if self._active[step]]
        factors = [params[name].to(input, non_blocking=True).view(-1, 1, 1, 1) for name in self.FACTORS]
        out = torch.empty_like(input)
        several = max(1, PIECE // input[0].nbytes) if input.device.type == "cpu" else len(input)
        for i in range(0, len(input), several):
            part = slice(i, i + several)
            image = input[part].clamp(0, 1)
            for step in order:
                image = self.STEPS[step](image, factors[step][part])
            torch.clamp(image, 0, 1, out=out[part])
        return out
