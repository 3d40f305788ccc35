"""Stage `pretrain`: prepared images and a frozen policy -> an encoder with its card, history, pictures and health.

python -m stages pretrain METHOD SEED
"""

import logging
import os
import sys

from pipelines.committed import committed
from pretextbench import checkpoint, saved, track
from pretextbench.errors import UserError
from pretextbench.params import load
from pretextbench.track.runs import record_pretrain
from stages import layout
from stages.arguments import method_and_seed
from stages.worker import complaint, train


def main() -> None:
    """Train one method with one seed and record it."""
    name, seed = method_and_seed("pretrain", __doc__)
    forget_committed(name, seed)
    params, told = load(layout.PARAMS), layout.told(name, seed)
    if params.watch.live:
        track.follow(layout.ROOT, told)
    if params.pretrain.devices > 1:
        side_by_side(name, seed, params.pretrain.devices)
        card = saved.read_card(layout.pretrained(name, seed))
    else:
        card = train(name, seed)
    output, experiment = layout.pretrained(name, seed), layout.experiment(params)
    record_pretrain(output, layout.augmented(name), layout.ROOT, layout.IMAGES, told, experiment)
    pace = f"{card.seconds:.1f} s, {card.images_per_second:,.0f} images/s"
    print(f"{name}-{seed}: {card.images_seen:,} images in {pace}")


def forget_committed(name: str, seed: int) -> None:
    """Let a training begin anew that DVC asks for although it has committed the last one: `dvc repro --force`."""
    for folder in checkpoint.finished(layout.kept(name, seed)):
        if committed(layout.pretrained(name, seed), folder):
            checkpoint.forget(folder)


def side_by_side(name: str, seed: int, devices: int) -> None:
    """Train in as many processes, which torchrun's agent starts, watches and ends together.

    Raises:
        UserError: a worker found a mistake of the user's.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # 0.3 s, and one device needs neither

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the message is told by `stages.run`
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns that a method with one player moves everything
    told = complaint(name, seed)
    told.unlink(missing_ok=True)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id=f"{name}-{seed}-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,  # a mistake would repeat itself; a killed run goes on from its checkpoint by `dvc repro`
    )
    try:
        elastic_launch(config, sys.executable)("-m", "stages.worker", name, str(seed))
    except ChildFailedError:
        if told.is_file():
            raise UserError(told.read_text(encoding="utf-8")) from None
        raise
    finally:
        told.unlink(missing_ok=True)
