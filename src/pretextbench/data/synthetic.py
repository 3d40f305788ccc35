"""The embedded data set: ten kinds of things in little scenes, drawn from a seed, labelled, a real learning problem.

An image depends on the seed, the size, its split and its number in it, so larger splits never change the first images.
What it takes to tell the things apart, and how well pretext methods learn it, is measured in the README of this folder.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pretextbench.data import scene
from pretextbench.data.objects import OBJECTS
from pretextbench.data.pen import Array, Draws, Pen
from pretextbench.data.source import SPLITS, Image, Listing
from pretextbench.params import Prepare
from pretextbench.seed import Seed

CLASSES = list(OBJECTS)
COLUMNS = 160  # random numbers per image; NumPy refuses to go past the end, and a test draws every class
CHUNK_PIXELS = 128 * 1024  # drawn at once, over all images of a chunk: what one shape needs stays in the cache


def listing(params: Prepare) -> Listing:
    """The images that `params` asks for, all labelled, in three splits."""
    seed, sizes = Seed(params.seed), {split: getattr(params.synthetic, split) for split in SPLITS}
    splits = [split for split in SPLITS for _ in range(sizes[split])]
    numbers = [i for split in SPLITS for i in range(sizes[split])]
    labels = np.concatenate([classes(seed, split, sizes[split]) for split in SPLITS])

    def read(rows: Sequence[int]) -> Iterator[Image]:
        step = max(1, CHUNK_PIXELS // params.image_size**2)
        for start in range(0, len(rows), step):
            chunk = rows[start : start + step]
            yield from draw(
                seed, params.image_size, [(splits[row], numbers[row]) for row in chunk], labels[np.asarray(chunk)]
            )

    names = [f"{split}/{i:06d}" for split, i in zip(splits, numbers, strict=True)]
    return Listing(names, splits, labels, CLASSES, read)


def classes(seed: Seed, split: str, count: int) -> npt.NDArray[np.int64]:
    """Labels (count,) of a split: every ten neighbours show each class once, in an order of their own."""
    k = len(CLASSES)
    order = [seed.numpy("synthetic", split, "classes", block).permutation(k) for block in range(-(-count // k))]
    return np.concatenate(order)[:count].astype(np.int64)


def draw(
    seed: Seed, side: int, keys: Sequence[tuple[str, int]], labels: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Images (m, side, side, 3) of the given (split, number) and class."""
    generators = [seed.numpy("synthetic", split, i) for split, i in keys]
    table = np.stack([g.random(COLUMNS, np.float32) for g in generators])
    noise = np.stack([g.standard_normal((side, side, 3), np.float32) for g in generators])
    canvas = np.zeros_like(noise)
    for k, thing in enumerate(OBJECTS.values()):
        rows = np.flatnonzero(labels == k)
        if len(rows):
            canvas[rows] = _scene(table[rows], noise[rows], thing)
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def _scene(table: Array, noise: Array, thing: Callable[[Pen], None]) -> Array:
    draws, canvas = Draws(table), np.zeros_like(noise)
    image = Pen.on(canvas, draws)
    u = draws.uniform
    scene.backdrop(image)
    scene.clutter(image, pieces=2)
    mirror = np.where(draws.chance(0.5), 1, -1)
    pen = image.moved(u(-0.5, 0.5), u(-0.45, 0.4), u(0.65, 1.0), u(-0.12, 0.12), mirror * u(0.8, 1.2))
    thing(pen)
    scene.occluder(image)
    scene.light(image)
    scene.grain(canvas, noise, draws)
    return canvas
