"""Statistics that a method derives from the training images before it trains, such as the colours of colorization."""

from typing import Any

import torch
from torch import Tensor

from pretextbench.augment.pipeline import as_float
from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared, spread
from pretextbench.method import PretextMethod
from pretextbench.params import Augment, MethodParams

CHUNK = 256  # images at once


def sample(data: Prepared, count: int) -> Tensor:
    """At most `count` training images, evenly spread over the split: uint8 (n, H, W, 3)."""
    images = data.images("train")
    return torch.from_numpy(images[spread(len(images), count)])


def derive(
    method: type[PretextMethod[Any]], params: MethodParams, data: Prepared, limits: Augment
) -> dict[str, Tensor]:
    """The statistics that the method derives from at most `limits.derive_images` training images, evenly spread."""
    torch.manual_seed(Seed(limits.seed).key("derive", data.fingerprint))
    chunks = (as_float(chunk) for chunk in sample(data, limits.derive_images).split(CHUNK))
    return {name: value.contiguous() for name, value in method.derive(params, chunks, data.image_size).items()}
