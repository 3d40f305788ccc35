"""Stage `pretrain`: prepared images and a frozen policy -> an encoder with its card, history, pictures and health.

python -m stages pretrain METHOD SEED
"""

from pretextbench.data.prepared import Prepared
from pretextbench.params import load
from pretextbench.pretrain import pretrain
from pretextbench.track.runs import record_pretrain
from stages import layout
from stages.arguments import method_and_seed
from stages.jobs import job


def main() -> None:
    """Train one method with one seed and record it."""
    name, seed = method_and_seed("pretrain", __doc__)
    params = load(layout.PARAMS)
    work = job(name, seed, params)
    data = Prepared(layout.IMAGES, layout.LABELS if work.method.uses_labels else None)
    folder = layout.pretrained(name, seed)
    card = pretrain(work, data, folder, layout.SCRATCH / "pretrain")
    record_pretrain(folder, layout.augmented(name), layout.ROOT)
    pace = f"{card.seconds:.1f} s, {card.images_per_second:,.0f} images/s"
    print(f"{name}-{seed}: {card.images_seen:,} images in {pace}")
