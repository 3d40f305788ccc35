"""The contract of an encoder: what every method trains, and what is kept of it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """What a method trains and what is kept of it. A method with a backbone of its own subclasses this.

    Images come in as float (B, 3, H, W) in [0, 1]; the encoder normalises them itself, so that corruptions and colour
    transforms act on real pixels and an exported encoder needs no recipe beside it.
    """

    dim: int  # of the pooled vector
    channels: dict[str, int]  # stage name -> channels of its map, in order

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def normalise(self, x: Tensor) -> Tensor:
        """Zero mean and unit variance per channel over the training set."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return (x - mean) / std

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        """Feature maps (B, C, h, w) of every stage, by name, first to last."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The average of the last stage over space: (B, dim)."""
        maps = list(self.stages(x).values())
        return maps[-1].mean((2, 3))
