"""Share of augmentation and targets in a step, for each built-in method at 32 px."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import Measure, alternate, ratio
from benchmarks.loops import Case, pixels, training
from pretextbench.augment.pipeline import as_float

# Before the network; what colorization's loss costs is in benchmarks.colorization.
PREPARE: dict[str, Callable[[Any, Tensor], Any]] = {
    "rotation": lambda method, x: sys.modules[type(method).__module__].four_rotations(x),
    "denoising": lambda method, x: method.corrupt(x),
    "context-encoder": lambda method, x: method.draw(len(x)),
    "colorization": lambda method, x: (method.encoder.normalise(x), method.target(x)),
}


def measure(rounds: int) -> Iterator[Measure]:
    """Shares of a step."""
    for name, prepare in PREPARE.items():
        case = Case(name)
        images = pixels(case)
        run, batch = training(case, images), torch.from_numpy(images[: case.batch])
        index, view = run.share(0), run.augmenter(as_float(batch))[0]
        contestants: dict[str, Callable[[], Any]] = {
            "step": lambda run=run, index=index, batch=batch: run.advance(index, batch),
            "augmentation": lambda run=run, batch=batch: run.augmenter(as_float(batch)),
            "targets": lambda prepare=prepare, run=run, view=view: prepare(run.method, view),
        }
        times = alternate(contestants, rounds)
        yield ratio(f"{case}: augmentation", times["augmentation"], times["step"], "of a step")
        yield ratio(f"{case}: targets", times["targets"], times["step"], "of a step")
