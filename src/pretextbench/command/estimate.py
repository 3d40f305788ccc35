"""Measurement of what a comparison will cost on this machine, before it runs: it imports what trains."""

import contextlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from pretextbench.augment.pipeline import as_float
from pretextbench.command import cost
from pretextbench.command.cost import CORRUPTED, Estimate, Evaluation, disk
from pretextbench.command.rehearsal import GREY, Rehearsal, rehearse
from pretextbench.encoder import Encoder, build
from pretextbench.evaluate.curve import MOST
from pretextbench.params import EncoderParams, Params
from pretextbench.project.inventory import contestants, seen
from pretextbench.train.pretrain import device_and_precision
from pretextbench.tune.halving import rounds
from pretextbench.tune.trials import BANK

STEPS, ENOUGH = 3, 0.4  # timed steps, and seconds of a step above which half a batch tells enough
LEAST_IMAGES = 8  # of a part of a batch: norms over fewer would fail


def estimate(
    params: Params,
    pixels: np.ndarray,
    counts: tuple[int, int],
    classes: int,
    decode: float | None = None,
    tell: Callable[[str], object] = str,
) -> Estimate:
    """Measure here; takes seconds per contestant.

    Args:
        params: what will be run.
        pixels: (n, H, W, 3) uint8, some of the images at any size; they are brought to `image_size` by repetition.
        counts: images of the training split, and of all splits.
        classes: for the supervised control.
        decode: seconds to decode an image here; None where that was not measured.
        tell: receives a line about the measurement in progress.

    Raises:
        UserError: a contestant cannot be used or its parameters have mistakes.
    """
    names = contestants(params)
    tagged = {"name": params.encoder.tagged_name, "weights": None}  # costs the same, and nothing is downloaded for it
    encoder = params.encoder.model_copy(update=tagged)
    params = params.model_copy(update={"encoder": encoder})
    train, images = counts
    sample = resized(pixels, params.prepare.image_size)
    training = {}
    for name in names:
        tell(f"measuring a training step of {name}")
        training[name] = _training(name, params, sample, train, classes)
    slower, slower_fit = cost.python_seconds() / TABLE.loop, cost.algebra_seconds() / TABLE.fit
    views = CORRUPTED * min(params.augment.view_images, images - train) if classes else 0
    rows = {}
    for name, section in {"": params.encoder, **{x: params.references[x] for x in params.compare.references}}.items():
        tell(f"measuring a forward pass of {name or 'the encoder'}")
        curve = 0 if name or not classes else 2 * MOST * len(params.pretrain.snapshots)
        rows[name] = _read_out(params, section, sample, (images, views + curve), slower_fit)
    row = rows.pop("")
    weights = row.weights if params.encoder.libraries else None
    budgets = at_budgets(params, training, train)
    runs = (len(training) + len(budgets) * len(params.compare.methods)) * len(params.compare.seeds) + len(rows)
    tuned = tuning(params, training, counts, row.forward)
    return Estimate(
        training,
        row,
        slower * TABLE.stage * (2 * runs + len(training) + len(tuned) + 5) + (decode or slower * TABLE.decode) * images,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
        torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        disk(params, images, weights),
        len(params.compare.seeds),
        rows,
        tuned,
        params.tune.trials,
        budgets,
        len(params.compare.methods),
    )


def at_budgets(params: Params, training: Mapping[str, float], train: int) -> dict[int, float]:
    """Budget of `compare.budgets` -> seconds of the trainings of all methods there, one seed.

    Args:
        training: contestant -> seconds of its training at the budget of `pretrain`.
        train: images of the training split.
    """
    each = sum(training[name] for name in params.compare.methods) / seen(params.pretrain, train)
    return {images: each * images for images in params.compare.budgets}


def tuning(params: Params, training: Mapping[str, float], counts: tuple[int, int], forward: float) -> dict[str, float]:
    """Seconds of all trials of each method: their training steps, and the features of the images that judge them.

    Args:
        training: contestant -> seconds of its training.
        counts: images of the training split, and of all splits.
        forward: seconds of an image's pass through the encoder.
    """
    if not params.tune.trials:
        return {}
    train, images = counts
    plan = rounds(params.tune.trials, params.tune.images, params.tune.eta)
    share = params.pretrain.devices * sum(each.trials * each.images for each in plan) / seen(params.pretrain, train)
    judging = sum(each.trials for each in plan) * forward * (min(train, BANK) + images - train)
    return {name: share * training[name] + judging for name in params.compare.methods}


@dataclass(frozen=True)
class Table:
    """Seconds of the parts that are not measured, from the default run (9,000 images of 32 px) on two busy cores.

    `loop` and `fit` measure the speed of that processor; the seconds of another processor are in proportion.
    """

    stage: float  # start and end of a stage: imports, Prefect, DVC, the record
    evaluation: float  # per image, fits and pictures, at `dims` features
    dims: int  # of all stages together
    decode: float  # per image
    loop: float  # of `cost.python_seconds`
    fit: float  # of `cost.algebra_seconds`


TABLE = Table(stage=6.0, evaluation=1.9e-3, dims=240, decode=1.2e-3, loop=0.029, fit=0.028)  # AMD EPYC


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Nearest pixels at the wanted side: a step costs the same whatever is on its images."""
    rows = np.arange(side) * pixels.shape[1] // side
    return pixels[:, rows][:, :, rows]


def _training(name: str, params: Params, sample: np.ndarray, train: int, classes: int) -> float:
    """Seconds that one contestant trains."""
    with _undisturbed():
        training = rehearse(name, params, sample, train, classes)
        if not training.players:
            return 0.0
        training.module.train()
        _step(training, sample, 8)  # the first step allocates, and loads what is loaded late
        seconds = [2 * _step(training, sample, 2)]
        if seconds[0] < ENOUGH:  # a device that is so fast waits more than it computes: whole steps tell
            seconds = [_step(training, sample) for _ in range(STEPS)]
    return training.steps * statistics.median(seconds) / params.pretrain.devices


def _step(training: Rehearsal, sample: np.ndarray, part: int = 1) -> float:
    """Seconds of a training step on a batch, or on a part of it: half, an eighth."""
    start = time.perf_counter()
    index = training.share(training.step)
    index = index[: max(len(index) // part, min(len(index), LEAST_IMAGES))]
    pixels = torch.from_numpy(sample[index % len(sample)]).to(training.fabric.device)
    training.advance(index, pixels)
    training.step += 1
    if training.fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Restore the random generators that a training changes."""
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


def _read_out(
    params: Params, section: EncoderParams, sample: np.ndarray, counts: tuple[int, int], slower: float
) -> Evaluation:
    """Evaluation of an encoder: forward passes at its own input size, and the fits on the features of all stages.

    Args:
        params: what will be run.
        section: the encoder; its weights are not read.
        sample: (n, H, W, 3) uint8.
        counts: images, and corrupted ones.
        slower: seconds of a fit on this processor, against the table's.
    """
    side = params.prepare.image_size
    with _undisturbed():
        network = build(section, side, *GREY)
    forward, images = _forward(params, network, sample), counts[0]
    dims = sum(network.channels.values())
    return Evaluation(
        slower * TABLE.evaluation * images * dims / TABLE.dims + forward * sum(counts),
        section.name,
        getattr(network, "side", None) or side,
        dims,
        4.0 * sum(p.numel() for p in network.parameters()),
        forward,
    )


def _forward(params: Params, network: Encoder, sample: np.ndarray) -> float:
    """Seconds per image of an encoder that is only read out."""
    device, _ = device_and_precision(params.pretrain.model_copy(update={"devices": 1}))
    encoder = network.to(device).eval()
    batch = as_float(torch.from_numpy(sample[:128])).to(device)
    seconds = []
    with torch.no_grad():
        for _ in range(3):
            start = time.perf_counter()
            encoder(batch)
            seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / len(batch)
