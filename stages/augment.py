"""Stage `augment`: a method's recipe -> the frozen policy, a contact sheet, what the method derives from the images.

python -m stages augment METHOD
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from pretextbench.augment.pipeline import Augmenter, Policy, as_float, throughput
from pretextbench.base.files import whole_folder, write_whole
from pretextbench.base.picture import draw
from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared
from pretextbench.method import Picture
from pretextbench.methods.derived import derive, sample
from pretextbench.params import Augment
from pretextbench.project import layout
from pretextbench.project.settings import parameters
from stages.arguments import contestant, only_method

TIMED = 8  # batches in the speed measurement


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
