"""Heads: the small networks between the encoder and the loss, thrown away after training."""

from itertools import pairwise
from typing import Literal

from torch import nn

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
