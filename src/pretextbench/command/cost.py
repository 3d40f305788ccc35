"""Cost of a comparison, in words: time, memory and disk. Imports nothing heavy."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from pretextbench.command import processor
from pretextbench.command.sizes import size

LEAST, MOST = 0.6, 1.6  # of the estimate: chosen, from two runs on a machine that others used


@dataclass(frozen=True)
class Estimate:
    """Of the whole comparison."""

    training: Mapping[str, float]  # contestant -> seconds per seed
    evaluation: float  # seconds per contestant and seed
    overhead: float  # seconds: prepare, augment, compare, and the start of every stage
    memory: int  # bytes of the largest process
    device_memory: int  # bytes on the GPU; 0 without one
    disk: int  # bytes that the project will hold
    seeds: int

    @property
    def seconds(self) -> float:
        """Of all stages one after another."""
        return self.seeds * (sum(self.training.values()) + len(self.training) * self.evaluation) + self.overhead


def description(cost: Estimate, place: Path) -> Iterator[str]:
    """Lines for people: time, memory and disk, against what this machine has."""
    each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in cost.training.items() if seconds)
    times = f" x {cost.seeds} seeds" if cost.seeds > 1 else ""
    load = os.getloadavg()[0]
    yield (
        f"\nTime: about {duration(cost.seconds)} on this machine ({processor.name()}), as busy as it is now (load "
        f"{load:.1f}); take it as {duration(cost.seconds * LEAST)} to {duration(cost.seconds * MOST)}."
    )
    yield f"  training {each}{times}"
    yield f"  evaluation {duration(cost.evaluation)} for each of them{times}; all the rest {duration(cost.overhead)}"
    if load > (os.cpu_count() or 1) + 1:
        yield "  other programs are at work here: when they rest it will be less, when more begin, more."
    memory = psutil.virtual_memory()
    yield f"Memory: about {size(cost.memory)} per stage; {size(memory.available)} of {size(memory.total)} are free."
    if cost.device_memory:
        yield f"On the GPU: about {size(cost.device_memory)}."
    free = shutil.disk_usage(place).free
    yield f"Disk: about {size(cost.disk)}; {size(free)} are free."
    if cost.memory > memory.available or cost.disk > free:
        yield "warning: that is more than there is. Lower prepare.image_size, prepare.max_images or the batch size."


def duration(seconds: float) -> str:
    """5 s, 4 min, 3.2 h, 2.5 days."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and unit != "days"):
            value = seconds / length
            return f"{value:.0f} {unit}" if value >= 10 or unit == "min" else f"{value:.1f} {unit}"
    return f"{seconds:.0f} s"
