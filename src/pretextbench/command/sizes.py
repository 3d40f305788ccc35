"""Bytes of a comparison on the disk, bytes as people read them, and the profiles of `init`. Imports nothing heavy."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pretextbench.params import EncoderParams, Params


class Profile(StrEnum):
    """A choice of `pretextbench init --profile`."""

    quick = "quick"
    standard = "standard"
    gpu = "gpu"
    multi_gpu = "multi-gpu"


CORRUPTED = 35  # copies of each image of the views
PICTURES = 3_000_000  # bytes that a run leaves beside its encoder
KEPT = 2  # in the project, and in DVC's cache or the record
PARAMETERS = {"resnet10": 4.9e6, "resnet18": 11.2e6, "resnet34": 21.3e6, "resnet50": 23.5e6}  # at width 64


def size(count: float) -> str:
    """Bytes as MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def disk(params: "Params", images: int) -> int:
    """Bytes that a comparison holds: the prepared array, the views, and every run with its encoder and pictures."""
    runs = len(params.compare.seeds) * (len(params.compare.methods) + len(params.compare.controls))
    square = 3 * params.prepare.image_size**2
    copies = images + (CORRUPTED + 2) * params.augment.view_images
    return int(KEPT * (square * copies + runs * (2 * encoder(params.encoder) + PICTURES)))


def encoder(params: "EncoderParams") -> float:
    """Bytes of the weights, about: they grow with the square of the width."""
    return 4 * PARAMETERS[params.name] * (params.width / 64) ** 2
