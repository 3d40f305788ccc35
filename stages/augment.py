"""Stage `augment`: a method's recipe -> the frozen policy, a contact sheet, what the method derives from the images.

python -m stages augment METHOD
"""

import argparse
import json

import torch
from safetensors.torch import save

from pretextbench.augment import Policy
from pretextbench.contact import derive, sheet, speed
from pretextbench.data.prepared import Prepared
from pretextbench.files import whole_folder, write_whole
from pretextbench.params import load
from stages import layout
from stages.jobs import contestant


@torch.no_grad()
def main() -> None:
    """Freeze, draw and measure the recipe of one method."""
    parser = argparse.ArgumentParser(prog="python -m stages augment", description=__doc__.splitlines()[0])
    parser.add_argument("method", help="entry-point name")
    name = parser.parse_args().method
    params, data, who = load(layout.PARAMS), Prepared(layout.IMAGES), contestant(name)
    policy = Policy(name, data.image_size, who.method.recipe(who.params, data.image_size))
    with whole_folder(layout.augmented(name)) as out:
        write_whole(out / "policy.json", policy.to_json().encode())
        derived = derive(who.method, who.params, data, params.augment)
        write_whole(out / "derived.safetensors", save(derived))
        sheet(policy, data, params.augment, out / "sheet.png")
        figures = speed(policy, data, params.pretrain.batch_size)
        write_whole(out / "speed.json", (json.dumps(figures, indent=2) + "\n").encode())
    print(f"{name}: {figures['images_per_second']:,.0f} images/s on {figures['device']}")
