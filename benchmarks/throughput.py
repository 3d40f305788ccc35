"""Training throughput of each method against the limit: the same network's bare forward, backward and step.

    uv run python -m benchmarks.throughput [--rounds 9] [METHOD ...]

Both run in this process, in alternation (A B A B ...), with the same precision, layout, optimizer and number of views
on random tensors; the median of the pairwise ratios is printed, with its quartiles.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from pretextbench import optim, registry
from pretextbench.budget import Job
from pretextbench.data.batches import Batches
from pretextbench.method import Data
from pretextbench.params import EncoderParams, Pretrain
from pretextbench.pretrain import start_fabric
from pretextbench.training import Training

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


def bare(run: Training, passes: int) -> Callable[[], None]:
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


def main() -> None:
    """Print one row per method and network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("methods", nargs="*", default=["simclr", "rotation"])
    words = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (2000, SIZE, SIZE, 3), dtype=np.uint8)
    print("| method | network | loop images/s | bare images/s | loop / bare (quartiles) |\n|---|---|---|---|---|")
    for encoder in (EncoderParams(), EncoderParams(name="resnet18", width=64)):
        for name in words.methods:
            run = training(name, encoder, images)
            a = looped(run, Batches(images, run.fabric.device, "auto"))
            b = bare(run, passes(run))
            a(), b()
            pairs = [(seconds(a), seconds(b)) for _ in range(words.rounds)]
            low, middle, high = statistics.quantiles([tb / ta for ta, tb in pairs], n=4)
            rates = [STEPS * BATCH / statistics.median(times) for times in zip(*pairs, strict=True)]
            print(
                f"| {name} | {encoder.name} x{encoder.width} | {rates[0]:,.0f} | {rates[1]:,.0f} | "
                f"{middle:.3f} ({low:.3f}-{high:.3f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
