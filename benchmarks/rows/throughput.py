"""Training: the loop against its own networks and its encoder alone, and what a step's time goes to."""

from collections.abc import Iterator

from benchmarks.harness import Measure, alternate, ratio, spread
from benchmarks.loops import Case, encoder_alone, looped, networks, passed, pixels, shares, training
from pretextbench import registry
from pretextbench.data.batches import Batches

SMALL = [Case(name) for name in registry.available() if not registry.load(name).uses_labels and name != "random"]
LARGE = [Case("simclr", "resnet18", 64), Case("rotation", "resnet18", 64, batch=32)]
WIDE = [Case("simclr", size=96, batch=32), Case("simclr", size=224, batch=16), Case("simclr", precision="fp32")]


def measure(rounds: int) -> Iterator[Measure]:
    """Ratios of throughput, images/s, and shares of a step."""
    for case in [*SMALL, *WIDE]:
        yield from one(case, rounds, steps=5)
    for case in LARGE:  # seconds per step
        yield from one(case, min(rounds, 5), steps=1)


def one(case: Case, rounds: int, steps: int) -> Iterator[Measure]:
    """All measures of one case."""
    images = pixels(case)
    run = training(case, images)
    data = Batches(images, run.fabric.device, "auto")
    contestants = {
        "loop": looped(run, data, steps),
        "networks": networks(run, case.batch, steps),
        "encoder": encoder_alone(run, passed(run), steps),
    }
    times = alternate(contestants, rounds)
    bar = 0.95 if case.method == "simclr" else 0.90
    rate = [steps * case.batch / seconds for seconds in times["loop"]]
    yield spread(f"{case}: loop", rate, "images/s")
    yield ratio(f"{case}: loop", times["networks"], times["loop"], "of the method's networks alone", at_least=bar)
    yield ratio(f"{case}: loop", times["encoder"], times["loop"], "of the encoder alone")
    spent = shares(run, data, max(3, steps))
    for name, seconds in spent.items():
        yield Measure(f"{case}: {name}", 100 * seconds / sum(spent.values()), "% of a step")
