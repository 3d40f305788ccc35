"""The data path: files prepared per second, batches that lie in memory or stream from the disk, start to first step."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import Measure, alternate, ratio, seconds, spread
from benchmarks.loops import Case, pixels
from pretextbench.data.prepare import prepare
from pretextbench.params import Prepare
from pretextbench.train.batches import Batches

FILES, STREAMED = 3000, 50_000
FIRST_STEP = """
from benchmarks.loops import Case, looped, pixels, training
from pretextbench.train.batches import Batches
images = pixels(Case("simclr"), 500)
run = training(Case("simclr"), images)
looped(run, Batches(images, run.fabric.device, "auto"), 1)()
"""
IMPORTS = {
    "torch": "import torch",
    "the library": "import torch, pretextbench, pretextbench.method, pretextbench.registry",
}


def measure(rounds: int) -> Iterator[Measure]:
    """Files/s, the cost of streaming, seconds to the first step, imports over torch's own."""
    with tempfile.TemporaryDirectory() as folder:
        yield files(Path(folder), min(rounds, 3))
        yield streaming(Path(folder), rounds)
    times = alternate({name: lambda code=code: python(code) for name, code in IMPORTS.items()}, rounds)
    over = [library - torch_alone for library, torch_alone in zip(times["the library"], times["torch"], strict=True)]
    yield spread("import of the library, over torch's own", over, "s", at_most=0.3)
    yield spread("a process from its start to the first step", [timed(FIRST_STEP) for _ in range(min(rounds, 3))], "s")


def files(folder: Path, rounds: int) -> Measure:
    """Photographs of 500 x 375 px, JPEG, prepared at 64 px."""
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for i in range(FILES):
        small = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        small.resize((500, 375), Image.Resampling.BICUBIC).save(folder / "photos" / f"{i}.jpg", quality=85)
    params = Prepare.model_validate({"source": "folder", "path": str(folder / "photos"), "image_size": 64})
    times = [seconds(lambda: prepare(params, folder / "images", folder / "labels")) for _ in range(rounds)]
    return spread("prepare, JPEG of 500 x 375 px to 64 px", [FILES / s for s in times], "files/s")


def streaming(folder: Path, rounds: int) -> Measure:
    """An epoch's batches from a memory map against the same from memory, without training."""
    np.save(folder / "images.npy", pixels(Case("simclr"), STREAMED))
    images = np.load(folder / "images.npy", mmap_mode="r")
    order = np.random.default_rng(0).permutation(STREAMED).reshape(-1, 125)
    ways = {keep: Batches(images, torch.device("cpu"), keep) for keep in ("always", "never")}
    times = alternate({keep: lambda b=b: [None for _ in b.stream(iter(order))] for keep, b in ways.items()}, rounds)
    return ratio(f"an epoch of {STREAMED:,} images streamed", times["never"], times["always"], "times one in memory")


def python(code: str) -> None:
    """Run code in a process of its own."""
    subprocess.run([sys.executable, "-c", code], check=True)


def timed(code: str) -> float:
    """Seconds of such a process."""
    start = time.perf_counter()
    python(code)
    return time.perf_counter() - start
