"""What augmentation and the preparation of targets take of a step, for each built-in method at 32 px.

uv run python -m benchmarks.targets
"""

import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.throughput import BATCH, SIZE, seconds, training
from pretextbench.augment import as_float
from pretextbench.params import EncoderParams
from stages.memory import keep_freed

PREPARE: dict[str, Callable[[Any, Tensor], Any]] = {  # before the network; colorization's loss: benchmarks.colorization
    "simclr": lambda method, x: None,
    "rotation": lambda method, x: sys.modules[type(method).__module__].four_rotations(x),
    "denoising": lambda method, x: method.corrupt(x),
    "context-encoder": lambda method, x: method.draw(len(x)),
    "colorization": lambda method, x: (
        method.encoder.normalise(x),
        method.target(x),
    ),
}


def median(work: Callable[[], Any], rounds: int = 15) -> float:
    """Milliseconds, after one call to warm up."""
    return 1e3 * statistics.median([seconds(work) for _ in range(rounds + 1)][1:])


def main() -> None:
    """Print one row per method."""
    keep_freed()
    images = np.random.default_rng(0).integers(0, 256, (2000, SIZE, SIZE, 3), dtype=np.uint8)
    index, pixels = np.arange(BATCH), torch.from_numpy(images[:BATCH])
    print("| method | augmentation ms | targets ms | step ms | share |\n|---|--:|--:|--:|--:|")
    for name, prepare in PREPARE.items():
        run = training(name, EncoderParams(), images)
        view = run.augmenter(as_float(pixels))[0]
        times = [
            median(lambda run=run: run.augmenter(as_float(pixels))),
            median(lambda run=run, prepare=prepare, view=view: prepare(run.method, view)),
            median(lambda run=run: run.advance(index, pixels)),
        ]
        print(f"| {name} | {' | '.join(f'{t:.1f}' for t in times)} | {sum(times[:2]) / times[2]:.1%} |", flush=True)


if __name__ == "__main__":
    main()
