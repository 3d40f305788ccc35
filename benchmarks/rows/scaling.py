"""Growth of time and memory with the number and the size of the images, and the prediction for ImageNet-1k.

Memory is the peak of a process of its own that streams an epoch's batches and takes training steps; the memory map's
pages belong to the system, which takes them back, so the file-backed part is left out (RssAnon of /proc).
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import Measure

CHILD = """
import json, re, sys, time
from pathlib import Path
import numpy as np
from benchmarks.loops import Case, looped, training
from pretextbench.train.batches import Batches
path, steps = Path(sys.argv[1]), int(sys.argv[2])
images = np.load(path, mmap_mode="r")
case = Case("simclr", size=images.shape[1], batch=int(sys.argv[3]))
anon = lambda: int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
run = training(case, images)
work = looped(run, Batches(images, run.fabric.device, "never"), 1)
work(); peak = anon(); start = time.perf_counter()
for _ in range(steps):
    work(); peak = max(peak, anon())
print(json.dumps({"seconds": (time.perf_counter() - start) / steps, "mib": peak}))
"""
COUNTS, SIZES = (1_000, 10_000, 100_000, 500_000), (32, 64, 96, 128)
IMAGENET, EPOCHS = 1_281_167, 100


def measure(rounds: int) -> Iterator[Measure]:
    """Seconds per step and MiB, the fitted slopes, and the prediction."""
    with tempfile.TemporaryDirectory() as folder:
        by_count = {count: child(Path(folder), count, 32, 128, rounds) for count in COUNTS}
        by_size = {size: child(Path(folder), 1_000, size, 32, rounds) for size in SIZES}
    for count, costs in by_count.items():
        yield Measure(f"{count:,} images of 32 px: a step of 128", 1e3 * costs["seconds"], "ms")
        yield Measure(f"{count:,} images of 32 px: memory of the process", costs["mib"], "MiB")
    gap = by_count[COUNTS[-1]]["mib"] - by_count[COUNTS[0]]["mib"]
    yield Measure(f"memory of {COUNTS[-1]:,} images over that of {COUNTS[0]:,}, streamed", gap, "MiB", at_most=1024)
    yield Measure("seconds per step ~ images^k, k", slope(COUNTS, by_count), "exponent (0: no growth)")
    for size, costs in by_size.items():
        yield Measure(f"{size} px: a step of 32", 1e3 * costs["seconds"], "ms")
    yield Measure("seconds per step ~ pixels^k of a side, k", slope(SIZES[:2], by_size), "exponent, up to 64 px")
    seconds_per_image = by_size[SIZES[-1]]["seconds"] / 32 * (224 / SIZES[-1]) ** 2
    days = seconds_per_image * IMAGENET * EPOCHS / 86400
    yield Measure(f"ImageNet-1k, {EPOCHS} epochs at 224 px, this machine and network: predicted", days, "days")


def child(folder: Path, count: int, size: int, batch: int, steps: int) -> dict[str, float]:
    """Stream and train in a process of its own."""
    path = folder / f"{count}-{size}.npy"
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (count, size, size, 3))
    random = np.random.default_rng(0)
    for start in range(0, count, 10_000):
        array[start : start + 10_000] = random.integers(0, 256, array[start : start + 10_000].shape, dtype=np.uint8)
    array.flush()
    del array
    command = [sys.executable, "-c", CHILD, str(path), str(steps), str(batch)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    path.unlink()
    return dict(json.loads(done.stdout.splitlines()[-1]))


def slope(xs: tuple[int, ...], costs: dict[int, dict[str, float]]) -> float:
    """The least-squares slope of log seconds over log x."""
    return float(np.polyfit([math.log(x) for x in xs], [math.log(costs[x]["seconds"]) for x in xs], 1)[0])
