"""Stage `reference`: an encoder as it is -> a folder as the pretrain stage writes one; nothing is trained.

python -m stages reference NAME
"""

import argparse
import dataclasses

from pretextbench import registry
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.methods.controls import Untouched
from pretextbench.params import Params, Pretrain
from pretextbench.project import layout
from pretextbench.project.settings import parameters
from pretextbench.recipe import Recipe
from pretextbench.track.stage_records import record_pretrain
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain
from stages import inputs


def main() -> None:
    """Build one encoder of the section `references` and record it."""
    parser = argparse.ArgumentParser(prog="python -m stages reference", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="a name of compare.references in params.yaml")
    name, params = parser.parse_args().name, parameters()
    folder = layout.pretrained(name, 0)
    card = pretrain(job(name, params), Prepared(layout.IMAGES), folder, layout.training_scratch(), show=False)
    inputs.check()
    record_pretrain(folder, layout.augmented(name), layout.root(), layout.IMAGES, None, layout.experiment(params))
    print(f"{name}: {card.parameters:,} parameters, as they are")


def job(name: str, params: Params) -> Job:
    """The training of a method that takes no step, with the encoder of the reference.

    Raises:
        UserError: there is no such reference.
    """
    if name not in params.references:
        known = ", ".join(params.references) or "none"
        raise UserError(f"There is no reference {name!r} in params.yaml. Its section `references` has: {known}.")
    plugin = registry.find("untouched")
    alone = Pretrain(images=1, batch_size=1, accelerator=params.pretrain.accelerator, precision="fp32")
    work = Job(plugin, "", Untouched, Untouched.Params(), params.references[name], alone, Recipe(), {}, 0)
    return dataclasses.replace(work, row=name)
