"""Every method on a vision transformer: the loop against the method's bare networks, in images per second."""

from collections.abc import Iterator

from benchmarks.harness import Measure, alternate, ratio, spread
from benchmarks.loops import Case, looped, networks, pixels, training
from benchmarks.rows.throughput import METHODS
from pretextbench.train.batches import Batches


def measure(rounds: int) -> Iterator[Measure]:
    """Images/s of the loop, and its share of the speed of the networks alone, at 32 px with patches of 4 px."""
    for case in [Case(name, "vit-tiny", batch=32) for name in METHODS]:
        images = pixels(case)
        run = training(case, images)
        data = Batches(images, run.fabric.device, "auto")
        times = alternate({"loop": looped(run, data, 1), "networks": networks(run, case.batch, 1)}, min(rounds, 5))
        yield spread(f"{case}: loop", [case.batch / seconds for seconds in times["loop"]], "images/s")
        yield ratio(f"{case}: loop", times["networks"], times["loop"], "of the method's networks alone", at_least=0.9)
