"""One process of a training on several devices: `python -m stages.worker METHOD SEED`, started by `stages.agent`."""

import os
import sys

from pretextbench.augment.pipeline import Policy
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import Params
from pretextbench.project import layout
from pretextbench.project.settings import parameters
from pretextbench.project.variant import encoder_of
from pretextbench.train.budget import Job
from pretextbench.train.encoder_folder import Card, read_tensors
from pretextbench.train.pretrain import pretrain
from pretextbench.watch import Watching
from stages.agent import complaint
from stages.arguments import contestant, method_and_seed
from stages.lifecycle import keep_freed


def train(name: str, seed: int) -> Card:
    """Train one method with one seed, alone or as one process of several."""
    params = parameters()
    work = job(name, seed, params)
    data = Prepared(layout.IMAGES, layout.LABELS if work.method.uses_labels else None)
    scratch = layout.training_scratch()
    observer = watching(name, seed, params, data)
    return pretrain(work, data, layout.pretrained(name, seed), scratch, observer=observer, tell=print)


def job(name: str, seed: int, params: Params) -> Job:
    """The training job of a method and seed, with the policy and the tensors that its augment stage froze."""
    entrant = contestant(name)
    folder = layout.augmented(entrant.row)
    policy = Policy.read(folder / "policy.json")
    derived = read_tensors(folder / "derived.safetensors", "augment")
    encoder = encoder_of(entrant.from_scratch, params.encoder)
    row = "" if name == entrant.plugin.name else name
    training = params.pretrain.of_images(entrant.images) if entrant.images else params.pretrain
    return Job(*entrant[:4], encoder, training, policy.recipe, derived, seed, row)


def watching(name: str, seed: int, params: Params, data: Prepared) -> Watching:
    """The monitor of a training. It opens the labels of a pretext method's images only if `watch.knn` is set."""
    labelled = Prepared(layout.IMAGES, layout.LABELS) if params.watch.knn else None
    places = layout.progress(f"{name}-{seed}"), layout.live_curves(name, seed)
    return Watching(params.watch, data, *places, layout.experiment(params), layout.IMAGES, labelled)


def main() -> int:
    """Train; 2 is the status of a user's mistake."""
    name, seed = method_and_seed("worker", __doc__)
    keep_freed()
    try:
        train(name, seed)
    except UserError as error:
        left = complaint(name, seed, os.getppid())
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_text(str(error), encoding="utf-8")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
