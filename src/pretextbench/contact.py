"""What a recipe looks like, how fast it is, and what a method derives from the images before training."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretextbench.augment import Augmenter, Policy, as_float, throughput
from pretextbench.data.prepared import Prepared
from pretextbench.method import Picture, PretextMethod
from pretextbench.params import Augment, MethodParams
from pretextbench.picture import draw
from pretextbench.seed import Seed

TIMED, CHUNK = 8, 256  # batches in the speed measurement; images per chunk given to `derive`


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def spread(data: Prepared, count: int) -> Tensor:
    """At most `count` training images, evenly spread over the split: uint8 (n, H, W, 3)."""
    images = data.images("train")
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)
    return torch.from_numpy(images[chosen])


def sheet(policy: Policy, data: Prepared, params: Augment, target: Path) -> None:
    """Write a PNG with one row per image: the image itself, then draws of the recipe, view by view."""
    images = as_float(spread(data, params.sheet_images))
    augmenter = Augmenter(policy.recipe, policy.image_size)
    torch.manual_seed(Seed(params.seed).key("sheet"))
    draws = [view for _ in range(params.sheet_draws) for view in augmenter(images)][: params.sheet_draws]
    same = [torch.nn.functional.interpolate(view, images.shape[-1]) for view in draws]  # views may have other sizes
    grid = torch.stack([images, *same], 1)
    names = ("image", *(f"draw {i + 1}" for i in range(len(same))))
    draw([Picture(f"{policy.method}: what the method sees", names, grid)], target)


def speed(policy: Policy, data: Prepared, batch: int) -> dict[str, Any]:
    """Images per second through the recipe on this machine's device, for the record; it decides nothing."""
    device = _device()
    pixels = spread(data, batch).to(device)
    augmenter = Augmenter(policy.recipe, policy.image_size)
    rate = throughput(augmenter, iter([pixels] * (TIMED + 1)))
    return {"images_per_second": round(rate, 1), "batch": len(pixels), "device": device.type}


def derive(
    method: type[PretextMethod[Any]], params: MethodParams, data: Prepared, limits: Augment
) -> dict[str, Tensor]:
    """What the method measures on at most `limits.derive_images` training images, evenly spread over the split."""
    torch.manual_seed(Seed(limits.seed).key("derive", data.fingerprint))
    chunks = (as_float(chunk) for chunk in spread(data, limits.derive_images).split(CHUNK))
    return {name: value.contiguous() for name, value in method.derive(params, chunks, data.image_size).items()}
