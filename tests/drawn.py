"""Random images, one augmentation on them, and the numbers that it drew."""

import torch
from torch import Tensor

from pretextbench.augment.pipeline import ViewPipeline
from pretextbench.recipe import Op, View

SIDE = 32
Numbers = dict[str, Tensor]


def images(n: int = 16, side: int = SIDE) -> Tensor:
    return torch.rand(n, 3, side, side)


def through(op: Op, x: Tensor) -> tuple[Tensor, Numbers]:
    """One operation of ours on images, and the numbers it drew."""
    pipeline = ViewPipeline(View(ops=(op,)), x.shape[-1])
    draw = pipeline.draw(tuple(x.shape))
    return pipeline.apply(x, draw), draw[0]


def boxes(numbers: Numbers) -> list[tuple[int, int, int, int]]:
    """top, left, height, width of every drawn crop; Kornia keeps its corner pixels (x, y), clockwise."""
    corners = numbers["src"].long()
    low, high = corners[:, 0].tolist(), corners[:, 2].tolist()
    return [(y0, x0, y1 - y0 + 1, x1 - x0 + 1) for (x0, y0), (x1, y1) in zip(low, high, strict=True)]
