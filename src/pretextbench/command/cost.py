"""Cost of a comparison on this machine: its processor, bytes on the disk, and the estimate in words.

Imports nothing heavy, because `init` shows its profiles in `--help`.
"""

import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from pretextbench.params import EncoderParams, Params


class Profile(StrEnum):
    """A choice of `pretextbench init --profile`."""

    quick = "quick"
    standard = "standard"
    gpu = "gpu"
    multi_gpu = "multi-gpu"


CORRUPTED = 35  # copies of each image of the views
PICTURES = 3_000_000  # bytes that a run writes in addition to its encoder
COPIES = 2  # in the project, and in DVC's cache or the record
PARAMETERS = {"resnet10": 4.9e6, "resnet18": 11.2e6, "resnet34": 21.3e6, "resnet50": 23.5e6}  # at width 64
BLOCK = {"vit-tiny": 0.45e6, "vit-small": 1.8e6, "vit-base": 7.1e6}  # parameters of a block; the others are few
FOREIGN = 25e6  # parameters of a network of another library, where it is not built: as a ResNet-50 or a ViT-S


def size(count: float) -> str:
    """Bytes as MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def disk(params: "Params", images: int, weights: float | None = None) -> int:
    """Bytes that a comparison holds: the prepared array, the views, and every run with its encoder and pictures.

    `weights`: bytes of an encoder's weights; None: as `encoder` has them.
    """
    trained = len(params.compare.methods) * (1 + len(params.compare.budgets)) + len(params.compare.controls)
    runs = len(params.compare.seeds) * trained
    square = 3 * params.prepare.image_size**2
    copies = images + (CORRUPTED + 2) * params.augment.view_images
    networks = runs * (weights or encoder(params.encoder)) + sum(
        encoder(params.references[x]) for x in params.compare.references
    )
    runs += len(params.compare.references)
    kept = 2 + len(params.pretrain.snapshots)  # of a row: the encoder, its export or checkpoint, and its snapshots
    return int(COPIES * (square * copies + kept * networks + runs * PICTURES))


def encoder(params: "EncoderParams") -> float:
    """Bytes of the weights, about: they grow with the square of a residual network's width."""
    if params.name in BLOCK:
        return 4 * BLOCK[params.name] * (params.depth or 12)
    if "/" in params.name:
        return 4 * FOREIGN
    return 4 * PARAMETERS[params.name] * (params.width / 64) ** 2


TIMES = 3  # each piece is done: the fastest is not disturbed by others
CPUINFO = Path("/proc/cpuinfo")  # of Linux


def processor_name() -> str:
    """The processor and its cores, as people know it."""
    names = re.findall(r"^model name\s*: (.*)$", _cpuinfo(), re.M)
    return f"{names[0].strip() if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text()
    except OSError:
        return ""


def python_seconds() -> float:
    """Seconds of one core for a piece of Python, like the start of a stage."""
    return min(_loop() for _ in range(TIMES))


def _loop() -> float:
    start, total = time.process_time(), 0
    for i in range(400_000):
        total += i * i % 7
    return time.process_time() - start


def algebra_seconds() -> float:
    """Seconds of one core for a piece of linear algebra, like the probes."""
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    x = np.ones((2000, 128), np.float32)
    with threadpool_limits(1):
        return min(_fit(x) for _ in range(TIMES))


def _fit(x: "np.ndarray") -> float:
    import numpy as np

    start, weights = time.process_time(), np.ones((128, 100), np.float32)
    for _ in range(20):
        weights = weights + 1e-9 * (x.T @ (x @ weights))
    return time.process_time() - start


LEAST, MOST = 0.6, 1.6  # of the estimate: chosen, from two runs on a machine that others used


@dataclass(frozen=True)
class Evaluation:
    """Of one trained encoder, or of a reference."""

    seconds: float
    network: str  # name of the encoder
    side: int  # pixels of the images in the network, which some networks enlarge
    dims: int  # features of all stages together
    weights: float  # bytes
    forward: float = 0.0  # seconds of an image's pass through the encoder

    def __str__(self) -> str:
        return f"{self.network} on {self.side} px, {self.dims:,} features"


@dataclass(frozen=True)
class Estimate:
    """Of the whole comparison."""

    training: Mapping[str, float]  # contestant -> seconds per seed
    evaluation: Evaluation  # of each contestant and seed
    overhead: float  # seconds: prepare, augment, compare, and the start of every stage
    memory: int  # bytes of the largest process
    device_memory: int  # bytes on the GPU; 0 without one
    disk: int  # bytes that the project will hold
    seeds: int
    references: Mapping[str, Evaluation] = field(default_factory=dict)  # row -> of its encoder
    tuning: Mapping[str, float] = field(default_factory=dict)  # method -> seconds of all its trials, once for all seeds
    trials: int = 0  # for each method
    budgets: Mapping[int, float] = field(default_factory=dict)  # of `compare` -> seconds of all methods there, a seed
    methods: int = 0  # that are trained at each of these budgets

    @property
    def seconds(self) -> float:
        """Of all stages one after another."""
        once = sum(row.seconds for row in self.references.values()) + sum(self.tuning.values()) + self.overhead
        judged = len(self.training) + len(self.budgets) * self.methods
        trained = sum(self.training.values()) + sum(self.budgets.values())
        return self.seeds * (trained + judged * self.evaluation.seconds) + once


def of_stages(cost: Estimate, params: "Params") -> dict[str, float]:
    """Stage -> seconds, of the stages that train or evaluate at the budget of `pretrain`."""
    rows, seconds = params.compare, dict[str, float]()
    for names, kind in ((rows.methods, ""), (rows.controls, "-control")):
        for name, seed in itertools.product(names, rows.seeds):
            seconds[f"pretrain{kind}@{name}-{seed}"] = cost.training[name]
            seconds[f"evaluate{kind}@{name}-{seed}"] = cost.evaluation.seconds
    seconds |= {f"evaluate-reference@{name}": row.seconds for name, row in cost.references.items()}
    return seconds | {f"tune@{name}": each for name, each in cost.tuning.items()}


def description(cost: Estimate, place: Path) -> Iterator[str]:
    """Lines for people: time, memory and disk, against what this machine has."""
    each = ", ".join(f"{name} {duration(seconds)}" for name, seconds in cost.training.items() if seconds)
    times = f" x {cost.seeds} seeds" if cost.seeds > 1 else ""
    load = os.getloadavg()[0]
    yield (
        f"\nTime: about {duration(cost.seconds)} on this machine ({processor_name()}), as busy as it is now (load "
        f"{load:.1f}); expect {duration(cost.seconds * LEAST)} to {duration(cost.seconds * MOST)}."
    )
    yield f"  training {each}{times}"
    if cost.tuning:
        tuned = ", ".join(f"{name} {duration(seconds)}" for name, seconds in cost.tuning.items())
        yield f"  tuning by {cost.trials} trials {tuned}"
    if cost.budgets:
        amounts = ", ".join(f"{duration(seconds)} at {images:,} images" for images, seconds in cost.budgets.items())
        yield f"  training at other budgets {amounts}{times}"
    rows, row = len(cost.training) + len(cost.budgets) * cost.methods, cost.evaluation
    yield f"  evaluation {duration(row.seconds)} for each of {rows} rows{times} ({row})"
    for name, reference in cost.references.items():
        yield f"  reference {name}: {duration(reference.seconds)} ({reference})"
    yield f"  everything else {duration(cost.overhead)}"
    if load > (os.cpu_count() or 1) + 1:
        yield "  other programs are running: without them it will take less time, with more of them more."
    import psutil

    memory = psutil.virtual_memory()
    yield f"Memory: about {size(cost.memory)} per stage; {size(memory.available)} of {size(memory.total)} are free."
    if cost.device_memory:
        yield f"On the GPU: about {size(cost.device_memory)}."
    free = shutil.disk_usage(place).free
    yield f"Disk: about {size(cost.disk)}; {size(free)} are free."
    if cost.memory > memory.available or cost.disk > free:
        yield "warning: that is more than is available. Lower prepare.image_size, prepare.max_images or the batch size."


def duration(seconds: float) -> str:
    """5 s, 4 min, 3.2 h, 2.5 days."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (seconds >= length and unit != "days"):
            value = seconds / length
            return f"{value:.0f} {unit}" if value >= 10 or unit == "min" else f"{value:.1f} {unit}"
    return f"{seconds:.0f} s"
