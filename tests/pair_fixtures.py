"""What the tests of methods that compare views share: facts of small images, embeddings, a batch, a constructor."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.method import Batch, Data, PretextMethod
from pretextbench.params import EncoderParams, MethodParams

SIDE = 16  # pixels


@pytest.fixture
def facts() -> Data:
    """A data set of small images."""
    return Data(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), images=100)


@pytest.fixture
def rows() -> Callable[..., list[Tensor]]:
    """`rows(*counts, dim)`: normal draws in double precision, (count, dim) each."""

    def rows(*counts: int, dim: int = 5) -> list[Tensor]:
        draw = torch.Generator().manual_seed(0)
        return [torch.randn(n, dim, generator=draw, dtype=torch.float64) for n in counts]

    return rows


@pytest.fixture
def pair(rows: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """`pair(n, dim)`: embeddings of two views, (n, dim) each."""
    return lambda n=7, dim=5: rows(n, n, dim=dim)


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """`batch(n, sides, progress, seed)`: a view of each side, that differ: a loss of a view with itself is another."""

    def batch(n: int = 8, sides: Sequence[int] = (SIDE, SIDE), progress: float = 0.0, seed: int = 1) -> Batch:
        draw = torch.Generator().manual_seed(seed)
        views = tuple(torch.rand(n, 3, side, side, generator=draw) for side in sides)
        return Batch(views, torch.arange(n), progress)

    return batch


@pytest.fixture
def built(facts: Data) -> Callable[..., PretextMethod[Any]]:
    """`built(method, params, data)`: a method with a narrow encoder, always with the same weights."""

    def built(method: type[PretextMethod[Any]], params: MethodParams, data: Data = facts) -> PretextMethod[Any]:
        torch.manual_seed(0)
        return method(params, build(EncoderParams(width=4), data.image_size, data.mean, data.std), data)

    return built
