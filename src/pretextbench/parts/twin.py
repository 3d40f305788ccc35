"""Twin of a network: a copy whose weights are an exponential moving average (EMA) of the network's."""

import copy
import math
from itertools import chain

import torch
from torch import Tensor, nn


class Twin(nn.Module):
    """Copies of networks, applied one after the other, that get no gradient and follow the originals by `follow`.

    Weights alone follow. Batch norm layers of the copies normalise by their own batches and keep their own running
    statistics (as in BYOL, Grill 2020, and MoCo, He 2020).
    """

    def __init__(self, *networks: nn.Module) -> None:
        super().__init__()
        self.copies = nn.Sequential(*(copy.deepcopy(network) for network in networks)).requires_grad_(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The output of the last copy, without gradients."""
        output: Tensor = self.copies(x)
        return output

    @torch.no_grad()
    def follow(self, momentum: float, *networks: nn.Module) -> None:
        """Move each weight once per optimizer step: twin <- momentum twin + (1 - momentum) network; 1 moves nothing."""
        originals = chain.from_iterable(network.parameters() for network in networks)
        for own, new in zip(self.copies.parameters(), originals, strict=True):
            own.lerp_(new, 1 - momentum)


def cosine_momentum(start: float, progress: float) -> float:
    """Momentum from `start` at progress 0 to 1 at progress 1, along a cosine (Grill 2020, section 3.3)."""
    return 1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2
