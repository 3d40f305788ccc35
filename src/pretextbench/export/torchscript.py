"""As TorchScript, normalisation included: loads in C++ and in Python without this library."""

import warnings
from pathlib import Path

import torch

from pretextbench.encoder import Encoder
from pretextbench.export.formats import INPUT, network
from pretextbench.train.encoder_folder import Card

DEPRECATED = r"`torch\.jit\.\w+` is (deprecated|not supported)"  # torch advises torch.export


def write(encoder: Encoder, card: Card, path: Path, layer: str) -> None:
    """A trace: an encoder has no branches that depend on the pixels."""
    example = torch.rand(2, 3, card.image_size, card.image_size, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", DEPRECATED)
        torch.jit.save(torch.jit.trace(network(encoder, layer), example), path)


def code(encoder: Encoder, card: Card, path: Path, layer: str) -> str:
    """Python that loads `path` and turns `images` into `features`."""
    return "\n".join(
        [
            "import torch",
            "",
            f"model = torch.jit.load({str(path)!r})",
            "with torch.no_grad():",
            f"    features = model(images)  # {INPUT}",
        ]
    )
