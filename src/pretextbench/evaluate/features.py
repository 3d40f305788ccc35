"""Features of a frozen encoder: pooled maps of every stage, vectors of a class token, and what they cost."""

import contextlib
import math
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.encoders.interface import BOTH, CLS
from pretextbench.errors import Diverged, UserError


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every submodule gets its own mode back afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


def pool(feature_map: Tensor, length: int) -> Tensor:
    """(B, C, h, w) -> (B, C g g), with g the largest whole number such that C g g <= max(length, C) and g <= h, w.

    Vectors (B, D), such as a class token, stay as they are.
    """
    if feature_map.ndim == 2:
        return feature_map
    channels, height, width = feature_map.shape[1:]
    return F.adaptive_avg_pool2d(feature_map, _grid(channels, length, min(height, width))).flatten(1)


def _grid(channels: int, length: int, side: int) -> int:
    return min(math.isqrt(max(length, channels) // channels), side)


class LayerFeatures(nn.Module):
    """One layer of an encoder as a network of its own: images (B, 3, H, W) in [0, 1] to features (B, dim).

    At the encoder's image size the features are those of `pool`. At other sizes the grid stays, so that features have
    one length. Means over the grid are products of matrices, which every format of an exported network has.
    """

    def __init__(self, encoder: Encoder, layer: str) -> None:
        super().__init__()
        self.encoder, self.layer = encoder, layer
        if layer in (CLS, BOTH) and encoder.class_token:
            self.grid, self.dim = 0, encoder.dim * (1 + (layer == BOTH))
            return
        channels, side = encoder.shapes[layer]
        self.grid = _grid(channels, list(encoder.shapes.values())[-1][0], side)
        self.dim = channels * self.grid**2

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, dim)."""
        feature_map = self.encoder.features(images)[self.layer]
        if not self.grid:
            return feature_map
        if self.grid == 1:
            return feature_map.mean((2, 3))
        rows, columns = (_bins(self.grid, feature_map.shape[axis], feature_map) for axis in (2, 3))
        return (rows @ feature_map @ columns.T).flatten(1)


def _bins(grid: int, size: int, like: Tensor) -> Tensor:
    """(grid, size): each row averages one of the bins of adaptive pooling, which overlap where they do not divide."""
    place, number = torch.arange(size, device=like.device), torch.arange(grid, device=like.device)[:, None]
    inside = (place >= number * size // grid) & (place < ((number + 1) * size + grid - 1) // grid)
    weights = inside.to(like.dtype)
    return weights / weights.sum(1, keepdim=True)


def extract(
    encoder: Encoder, images: npt.NDArray[np.uint8], device: torch.device, batch_size: int = 128
) -> dict[str, Tensor]:
    """The pooled features of every layer of the encoder, by name, first to last.

    Args:
        encoder: moved to `device`; its modes (training or evaluation) are left as they were.
        images: (n, H, W, 3) uint8, taken as they are.
        device: where the encoder runs.
        batch_size: images per forward pass; changes memory and speed only.

    Returns:
        layer -> (n, D) float32 on the CPU.

    Raises:
        UserError: there are no images, or a feature is not finite; names the stage.
    """
    if not len(images):
        raise UserError("There are no images to take features of: a split is empty. Run the prepare stage on more.")
    encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches: dict[str, list[Tensor]] = {}
    with frozen(encoder):
        for start in range(0, len(images), batch_size):
            for stage, features in _forward(encoder, images[start : start + batch_size], device).items():
                batches.setdefault(stage, []).append(features)
    whole = {stage: torch.cat(parts) for stage, parts in batches.items()}
    for stage, values in whole.items():
        _check_finite(stage, values)
    return whole


def _forward(encoder: Encoder, images: npt.NDArray[np.uint8], device: torch.device) -> dict[str, Tensor]:
    maps = encoder.features(as_input(np.array(images), device))  # a copy: the memory map is read-only
    length = list(maps.values())[-1].shape[1]
    return {stage: pool(feature_map, length).float().cpu() for stage, feature_map in maps.items()}


def as_input(images: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [0, 1] on the device, channels-last as it lies in memory."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255)


def _check_finite(stage: str, values: Tensor) -> None:
    bad = int((~values.isfinite().all(1)).sum())
    if bad:
        raise Diverged(
            f"The features of stage {stage!r} are not finite for {bad} of {len(values)} images: the encoder has "
            "diverged. Lower the method's learning rate or set pretrain.clip, and pretrain again."
        )


class Clock:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of this block to a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def __str__(self) -> str:
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
