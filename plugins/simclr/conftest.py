"""What SimCLR's tests share: a small model, and a batch of two views that have something in common."""

from collections.abc import Callable

import pytest
import torch
from pretext_simclr import Params, SimCLR

from pretextbench.encoder import build
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams

torch.set_num_threads(1)  # the networks here are too small to share


@pytest.fixture
def method(facts: Data) -> Callable[..., SimCLR]:
    """`method(**params)`: always with the same weights."""

    def method(**params: object) -> SimCLR:
        torch.manual_seed(0)
        return SimCLR(Params(**params), build(EncoderParams(width=8), facts.image_size, facts.mean, facts.std), facts)

    return method


@pytest.fixture
def views() -> Callable[..., Batch]:
    """`views(n)`: n random images, and the same ones a little brighter."""

    def views(n: int = 8) -> Batch:
        draw = torch.Generator().manual_seed(1)
        x = torch.rand(n, 3, 16, 16, generator=draw)
        return Batch((x, (x + 0.1 * torch.rand(x.shape, generator=draw)).clamp(0, 1)), torch.arange(n))

    return views
