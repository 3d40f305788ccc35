"""Networks between the encoder and the loss: heads, twins (EMA copies), and batch norms on groups of a batch."""

import copy
import math
from itertools import chain, pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from pretextbench.errors import UserError
from pretextbench.parts.pairs import encode

LastNorm = Literal["none", "affine", "plain"]  # batch norm after the last layer; plain: without scale and shift


def mlp(
    *sizes: int, norm: bool = True, last_norm: LastNorm = "none", last_bias: bool = True, gelu: bool = False
) -> nn.Sequential:
    """Linear layers from `sizes[0]` to `sizes[-1]` with batch norm and ReLU between them: (B, in) -> (B, out).

    A linear layer before a batch norm has no bias, which the norm would take away. `norm`: batch norm between the
    layers. `last_bias`: of the last layer, where no norm follows it. `gelu`: instead of ReLU.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers += [nn.Linear(inputs, outputs, bias=not norm), *([nn.BatchNorm1d(outputs)] if norm else [])]
        layers.append(nn.GELU() if gelu else nn.ReLU(inplace=True))
    layers.append(nn.Linear(sizes[-2], sizes[-1], bias=last_bias and last_norm == "none"))
    if last_norm != "none":
        layers.append(nn.BatchNorm1d(sizes[-1], affine=last_norm == "affine"))
    return nn.Sequential(*layers)


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


def require_groups(method: str, images: int, count: int) -> None:
    """Refuse groups of fewer than two images, which have no statistics.

    Raises:
        UserError: a process has fewer than two `images` at a time (0: not known) for each of `count` groups.
    """
    if count > 1 and 0 < images < 2 * count:
        raise UserError(
            f"Method {method!r} normalises {count} groups of a batch, which needs at least {2 * count} images at a "
            f"time, found {images}. Lower its `norm_groups`, or raise the batch size."
        )


def crossing_groups(images: int, count: int) -> tuple[list[list[int]], list[list[int]]]:
    """Numbers of the images of each group: of the queries, and of the keys. The two cross each other.

    A Latin square: of `count` images in a row no two share a group, and the groups of the keys are turned by one from
    row to row. So a group of keys takes its images from all groups of queries, as evenly as possible, and all groups
    have the same size, up to one image.
    """
    of_queries, of_keys = (
        [[i for i in range(images) if (i + turn * (i // count)) % count == group] for group in range(count)]
        for turn in (0, 1)
    )
    return of_queries, of_keys


def in_groups(network: nn.Module, view: Tensor, groups: list[list[int]]) -> Tensor:
    """The network (B, ...) -> (B, D) on each group by itself: batch norm sees one group at a time."""
    if len(groups) == 1:
        return encode(network, [view])[0]
    numbers = torch.tensor([number for group in groups for number in group], device=view.device)
    outputs = encode(network, view[numbers].split([len(group) for group in groups]))
    return torch.cat(outputs)[numbers.argsort()]
