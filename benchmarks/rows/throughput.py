"""Training: the loop against its own networks and its encoder alone, and what a step's time goes to.

On a GPU the augmentation is measured twice: by itself over a step, which counts what the processor spends to draw and
launch, and as what the loop loses to its networks, which is what all but the networks cost: work of the processor hides
behind the GPU's.
"""

from collections.abc import Iterator
from typing import get_args

import torch

from benchmarks.harness import Measure, alternate, ratio, spread
from benchmarks.loops import Case, augmentation, encoder_alone, looped, networks, passed, pixels, shares, training
from pretextbench import registry
from pretextbench.encoder import Encoder
from pretextbench.params import Control
from pretextbench.train.batches import Batches

METHODS = [name for name in registry.available() if name not in get_args(Control)]
NAMES = [name for name in METHODS if registry.load(name).requires.encoder is Encoder]  # those that a ResNet suits
LARGE = [Case("simclr", "resnet18", 64), Case("rotation", "resnet18", 64, batch=32)]
WIDE = [Case("simclr", size=96, batch=32), Case("simclr", size=224, batch=16), Case("simclr", precision="fp32")]
GPU = [
    Case("simclr", "resnet18", 64, batch=512),
    Case("simclr", "resnet18", 64, batch=512, compile=True),
    Case("simclr", "resnet50", 64, size=224, batch=128),
    *(Case(name, "resnet18", 64, batch=256) for name in NAMES if name != "simclr"),
]
BARS = {32: 0.10, 224: 0.15}  # of a step for SimCLR's augmentation on a GPU


def measure(rounds: int) -> Iterator[Measure]:
    """Ratios of throughput, images/s, and shares of a step."""
    if torch.cuda.is_available():
        for case in GPU:
            yield from rates(case, min(rounds, 5), steps=20 if case.size == 32 else 4)
        return
    for case in [*(Case(name) for name in NAMES), *WIDE]:
        yield from rates(case, rounds, steps=5)
    for case in LARGE:  # seconds per step
        yield from rates(case, min(rounds, 5), steps=1)


def rates(case: Case, rounds: int, steps: int) -> Iterator[Measure]:
    """All measures of one case."""
    images = pixels(case)
    run = training(case, images)
    data = Batches(images, run.fabric.device, "auto")
    times = alternate(
        {
            "loop": looped(run, data, steps),
            "networks": networks(run, case.batch, steps),
            "encoder": encoder_alone(run, passed(run), steps),
            "augmentation": augmentation(run, data, steps),
        },
        rounds,
    )
    gpu = torch.cuda.is_available()
    bar = {} if gpu else {"at_least": 0.95 if case.method == "simclr" else 0.90}
    rate = [steps * case.batch / seconds for seconds in times["loop"]]
    yield spread(f"{case}: loop", rate, "images/s")
    yield ratio(f"{case}: loop", times["networks"], times["loop"], "of the method's networks alone", **bar)
    yield ratio(f"{case}: loop", times["encoder"], times["loop"], "of the encoder alone")
    yield ratio(f"{case}: augmentation by itself", times["augmentation"], times["loop"], "of a step")
    bar = {"at_most": BARS[case.size]} if gpu and case.method == "simclr" else {}
    lost = [1 - bare / loop for bare, loop in zip(times["networks"], times["loop"], strict=True)]
    yield spread(f"{case}: all but the networks", lost, "of a step", **bar)
    spent = shares(run, data, max(3, steps))
    for name, seconds in spent.items():
        yield Measure(f"{case}: {name}", 100 * seconds / sum(spent.values()), "% of a step")
