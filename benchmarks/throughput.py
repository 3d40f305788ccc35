"""Training throughput of each method against its limits, and what its augmentation takes.

    uv run python -m benchmarks.throughput [--rounds 9] [--encoders resnet10:16] [METHOD ...]

Timed in one process, in alternation (A B C D A B C D ...), with the same precision, layout and optimizer:
loop: the project's own steps, from uint8 images to moved weights; networks: the same steps of the method's networks on
random views that lie ready, in plain torch; encoder: the same of the encoder alone, for as many images as the method
passes through it; augment: drawing and making the views. Medians of the ratios within a round, with quartiles.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from pretextbench import optim, registry
from pretextbench.augment import as_float
from pretextbench.budget import Job
from pretextbench.data.batches import Batches
from pretextbench.method import Data
from pretextbench.params import EncoderParams, Pretrain
from pretextbench.pretrain import start_fabric
from pretextbench.training import Training
from stages.memory import keep_freed

SIZE, BATCH, STEPS = 32, 128, 5  # pixels, images per step, steps per timing


def training(name: str, encoder: EncoderParams, images: np.ndarray) -> Training:
    """The project's own loop for a method, at step 0."""
    plugin, method = registry.find(name), registry.load(name)
    params = method.Params()
    pretrain = Pretrain(images=1000 * BATCH, batch_size=BATCH)
    chunks = iter([torch.from_numpy(images[:256]).permute(0, 3, 1, 2).float() / 255])
    data = Data(SIZE, (0.5,) * 3, (0.25,) * 3, len(images), method.derive(params, chunks, SIZE))
    job = Job(plugin, "", method, params, encoder, pretrain, method.recipe(params, SIZE), data.derived, 0)
    return Training(job, data, start_fabric(pretrain))


def looped(run: Training, data: Batches) -> Callable[[], None]:
    """STEPS steps as `pretrain` takes them: fetch, augment, every player's turn."""

    def steps() -> None:
        for index, pixels in data.stream(iter([run.share(run.step + i) for i in range(STEPS)])):
            run.advance(index, pixels)
            run.step += 1

    return steps


def networks(run: Training) -> Callable[[], None]:
    """STEPS bare steps of all of the method's networks on random views: every player's forward, backward and step."""
    views = tuple(torch.rand_like(view) for view in run.augmenter(torch.rand(BATCH, 3, SIZE, SIZE)))
    index = torch.arange(BATCH)
    optimizers = [optim.build(player.parameters, player.optimizer) for player in run.players]

    def steps() -> None:
        for _ in range(STEPS):
            for player, optimizer in zip(run.players, optimizers, strict=True):
                with run.fabric.autocast():
                    total, _named = run.method(views, index, 0.5, player.name, None)
                run.method.zero_grad(set_to_none=True)
                total.backward()
                optimizer.step()

    return steps


def augmenting(run: Training, pixels: torch.Tensor) -> Callable[[], None]:
    """The views of STEPS batches."""

    def steps() -> None:
        for _ in range(STEPS):
            run.augmenter(as_float(pixels))

    return steps


def encoder_alone(run: Training, passes: int) -> Callable[[], None]:
    """STEPS bare steps of the same encoder on random tensors, for as many images as the method passes through it."""
    encoder = run.method.encoder
    x = torch.rand(passes * BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    optimizer = optim.build(encoder.parameters(), run.job.params.optimizer)

    def steps() -> None:
        for _ in range(STEPS):
            with run.fabric.autocast():
                out = encoder(x)
            optimizer.zero_grad(set_to_none=True)
            out.float().square().mean().backward()
            optimizer.step()

    return steps


def passes(run: Training) -> int:
    """Images that go through the encoder for each image of the batch."""
    seen: list[int] = []
    handle = run.method.encoder.conv1.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    index = run.share(0)
    run.advance(index, torch.zeros(BATCH, SIZE, SIZE, 3, dtype=torch.uint8))
    handle.remove()
    return sum(seen) // BATCH


def seconds(steps: Callable[[], None]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    steps()
    return time.perf_counter() - start


def network(words: str) -> EncoderParams:
    """`resnet18:64` is ResNet-18 of 64 channels."""
    name, _, width = words.partition(":")
    return EncoderParams.model_validate({"name": name, "width": int(width)})


def main() -> None:
    """Print one row per method and network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--encoders", nargs="+", default=["resnet10:16", "resnet18:64"], help="name:width")
    parser.add_argument("methods", nargs="*", default=["simclr", "rotation"])
    words = parser.parse_args()
    keep_freed()  # as a stage does
    images = np.random.default_rng(0).integers(0, 256, (2000, SIZE, SIZE, 3), dtype=np.uint8)
    print("| method | encoder | loop images/s | loop / networks | loop / encoder | augmentation of the loop |")
    print("|---|---|--:|--:|--:|--:|")
    for encoder, name in itertools.product(map(network, words.encoders), words.methods):
        run = training(name, encoder, images)
        loop = looped(run, Batches(images, run.fabric.device, "auto"))
        rivals = (networks(run), encoder_alone(run, passes(run)), augmenting(run, torch.from_numpy(images[:BATCH])))
        rounds = [[seconds(steps) for steps in (loop, *rivals)] for _ in range(words.rounds + 1)][1:]  # one to warm up
        rate = STEPS * BATCH / statistics.median(row[0] for row in rounds)
        ratios = [spread([row[k] / row[0] for row in rounds]) for k in (1, 2, 3)]
        print(f"| {name} | {encoder.name} x{encoder.width} | {rate:,.0f} | {' | '.join(ratios)} |", flush=True)


def spread(values: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f}-{high:.3f})"


if __name__ == "__main__":
    main()
