"""Stage `augment`: a method's recipe -> the frozen policy, a contact sheet, what the method derives from the images.

python -m stages augment METHOD
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from pretextbench.augment.pipeline import Augmenter, Policy, as_float, throughput
from pretextbench.base.files import whole_folder, write_whole
from pretextbench.base.picture import draw
from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared, spread
from pretextbench.method import Picture, PretextMethod
from pretextbench.params import Augment, MethodParams
from pretextbench.project import layout
from pretextbench.project.settings import parameters
from stages.arguments import contestant, only_method

TIMED, CHUNK = 8, 256  # batches in the speed measurement; images per chunk given to `derive`


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sample(data: Prepared, count: int) -> Tensor:
    """At most `count` training images, evenly spread over the split: uint8 (n, H, W, 3)."""
    images = data.images("train")
    return torch.from_numpy(images[spread(len(images), count)])


def sheet(policy: Policy, data: Prepared, params: Augment, target: Path) -> None:
    """Write a PNG with one row per image: the image itself, then draws of the recipe, view by view."""
    images = as_float(sample(data, params.sheet_images))
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
    pixels = sample(data, batch).to(device)
    augmenter = Augmenter(policy.recipe, policy.image_size)
    rate = throughput(augmenter, iter([pixels] * (TIMED + 1)))
    return {"images_per_second": round(rate, 1), "batch": len(pixels), "device": device.type}


def derive(
    method: type[PretextMethod[Any]], params: MethodParams, data: Prepared, limits: Augment
) -> dict[str, Tensor]:
    """The statistics that the method derives from at most `limits.derive_images` training images, evenly spread."""
    torch.manual_seed(Seed(limits.seed).key("derive", data.fingerprint))
    chunks = (as_float(chunk) for chunk in sample(data, limits.derive_images).split(CHUNK))
    return {name: value.contiguous() for name, value in method.derive(params, chunks, data.image_size).items()}


@torch.no_grad()
def main() -> None:
    """Freeze, draw and measure the recipe of one method."""
    name = only_method("augment", __doc__)
    params, data, entrant = parameters(), Prepared(layout.IMAGES), contestant(name)
    entrant.method.requires.check(name, data.image_size, colour=data.colour)
    policy = Policy(name, data.image_size, entrant.method.recipe(entrant.params, data.image_size))
    with whole_folder(layout.augmented(name)) as out:
        write_whole(out / "policy.json", policy.to_json().encode())
        derived = derive(entrant.method, entrant.params, data, params.augment)
        write_whole(out / "derived.safetensors", save(derived))
        sheet(policy, data, params.augment, out / "sheet.png")
        figures = speed(policy, data, params.pretrain.batch_size)
        write_whole(out / "speed.json", (json.dumps(figures, indent=2) + "\n").encode())
    print(f"{name}: {figures['images_per_second']:,.0f} images/s on {figures['device']}")
