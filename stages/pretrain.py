"""Stage `pretrain`: prepared images and a frozen policy -> an encoder with its card, history, pictures and health.

python -m stages pretrain METHOD SEED
"""

from pretextbench import track
from pretextbench.errors import UserError
from pretextbench.project import layout
from pretextbench.project.lockfile import committed
from pretextbench.project.settings import parameters
from pretextbench.track.stage_records import record_pretrain
from pretextbench.train import checkpoint, encoder_folder
from stages import agent, inputs
from stages.arguments import method_and_seed, row_named
from stages.worker import train


def main() -> None:
    """Train one method with one seed and record it."""
    name, seed = method_and_seed("pretrain", __doc__)
    forget_committed(name, seed)
    params, curves = parameters(), layout.live_curves(name, seed)
    if params.watch.live:
        track.follow(layout.root(), curves)
    if params.pretrain.devices * params.pretrain.nodes > 1:
        agent.train(name, seed, params.pretrain)
        card = encoder_folder.read_card(layout.pretrained(name, seed))
    else:
        card = train(name, seed)
    check_inputs(name, seed)
    output, experiment = layout.pretrained(name, seed), layout.experiment(params)
    record_pretrain(output, layout.augmented(row_named(name)), layout.root(), layout.IMAGES, curves, experiment)
    pace = f"{card.seconds:.1f} s, {card.images_per_second:,.0f} images/s"
    print(f"{name}-{seed}: {card.images_seen:,} images in {pace}")


def check_inputs(name: str, seed: int) -> None:
    """Refuse a training whose inputs were changed, and forget it: its copy would be taken for one of the new inputs.

    Raises:
        UserError: an input has changed since the start.
    """
    try:
        inputs.check()
    except UserError:
        for folder in checkpoint.finished(layout.training_scratch(name, seed)):
            checkpoint.forget(folder)
        raise


def forget_committed(name: str, seed: int) -> None:
    """Restart a training that DVC repeats although it has committed the last one: `dvc repro --force`."""
    for folder in checkpoint.finished(layout.training_scratch(name, seed)):
        if committed(layout.pretrained(name, seed), folder):
            checkpoint.forget(folder)
