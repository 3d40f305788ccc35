"""The decoder: from feature maps of the encoder to a map of colours."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """The last two stages of the encoder, brought to one width and one size and added; 3x3 convolutions; 1x1."""

    def __init__(self, channels: Mapping[str, int], width: int, depth: int, out: int) -> None:
        super().__init__()
        self.sources = list(channels)[-2:]
        self.lateral = nn.ModuleList(nn.Conv2d(channels[name], width, 1, bias=False) for name in self.sources)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Sequential(*(layer for _ in range(depth) for layer in self._block(width)))
        self.out = nn.Conv2d(width, out, 1)

    @staticmethod
    def _block(width: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)

    def forward(self, maps: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (B, C, ., .) by stage to (B, out, *size)."""
        pairs = [(lateral(maps[name]), name) for lateral, name in zip(self.lateral, self.sources, strict=True)]
        y = sum((F.interpolate(x, size, mode="nearest") for x, _ in pairs[1:]), F.interpolate(pairs[0][0], size))
        return self.out(self.body(F.relu(self.norm(y), inplace=True)))  # type: ignore[no-any-return]
