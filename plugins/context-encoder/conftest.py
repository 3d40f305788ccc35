"""What the context encoder's tests share: repeatable draws, small models, batches of one view."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pretext_context_encoder import MAIN, ContextEncoder, Params
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.2)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def method() -> Callable[..., ContextEncoder]:
    """`method(size, encoder, **params)`: a model with small networks and a small bank."""

    def method(size: int = 32, encoder: EncoderParams | None = None, **params: Any) -> ContextEncoder:
        backbone = build(encoder or EncoderParams(width=4), size, MEAN, STD)
        chosen = Params(**{"discriminator_width": 4, "bank": 16, **params})
        derived = ContextEncoder.derive(chosen, iter(()), size)
        return ContextEncoder(chosen, backbone, Data(size, MEAN, STD, images=100, derived=derived))

    return method


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """`batch(x, player)`: the images as one view."""

    def batch(x: Tensor, player: str = MAIN) -> Batch:
        return Batch((x,), torch.arange(len(x)), player=player)

    return batch
