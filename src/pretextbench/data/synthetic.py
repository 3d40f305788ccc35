"""The embedded data set: small scenes, drawn from a seed, with one object each."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from pretextbench.base.seed import Seed
from pretextbench.data.objects import OBJECTS
from pretextbench.data.pen import Array, Draws, Pen, hsv
from pretextbench.data.source import SPLITS, Image, Listing
from pretextbench.params import Prepare


def backdrop(pen: Pen) -> None:
    """Sky above, ground below a horizon that wanders; both shaded with distance, the ground with waves or furrows."""
    u = pen.draws.uniform
    sky = hsv(pen.draws.hue(0.58, 0.06, 0.75), u(0.05, 0.5), u(0.5, 1.0))
    earth = hsv(pen.draws.hue(0.22, 0.12, 0.75), u(0.1, 0.6), u(0.3, 0.75))
    pen.canvas[...] = sky * (1 - u(0, 0.35) * (pen.y + 1) / 2)[..., None]
    horizon, roll, phase = u(-0.1, 0.8), u(0, 0.12), u(0, 2 * np.pi)
    edge = horizon + roll * np.sin(u(1.5, 5) * pen.x + phase)
    depth = (pen.y - edge) / (1 - horizon)
    furrows = u(0, 0.2) * np.sin(u(4, 14) * pen.y + u(-6, 6) * pen.x + phase)
    pen.paint(edge - pen.y, earth * (0.75 + 0.35 * np.clip(depth, 0, 1) + furrows)[..., None])


def clutter(pen: Pen, pieces: int) -> None:
    """Stones, posts and tents that belong to no class, of any colour, standing anywhere."""
    u = pen.draws.uniform
    for _ in range(pieces):
        x, y, kind, size = u(-1, 1), u(-0.9, 0.9), u(), u(0.08, 0.2)
        stone = pen.ellipse(x, y, size, 0.7 * size)
        post = pen.box(x, y, 0.35 * size, size)
        tent = pen.taper(x, y - size, y + size, 0, size)
        shape = np.where(kind < 0.34, stone, np.where(kind < 0.67, post, tent))
        pen.paint(shape, hsv(u(), u(0, 0.8), u(0.1, 1)), u(0.3, 1.0))


def occluder(pen: Pen) -> None:
    """In some images a post, a leaf or a hill hides a part of the thing, from any side."""
    u = pen.draws.uniform
    angle, reach, thick, kind = u(0, 2 * np.pi), u(0.35, 0.9), u(0.05, 0.1), u()
    across = np.cos(angle) * pen.x + np.sin(angle) * pen.y
    post = abs(across - 0.5 * reach) - thick
    leaf = pen.ellipse(reach * np.cos(angle), reach * np.sin(angle), u(0.12, 0.3), u(0.12, 0.3))
    shape = np.where(kind < 0.5, post, leaf)
    pen.paint(shape, hsv(u(), u(0, 0.8), u(0.1, 0.9)), pen.draws.chance(0.15))


def light(pen: Pen) -> None:
    """A tint, a gradient of brightness across the image and a change of contrast, in place."""
    u, canvas = pen.draws.uniform, pen.canvas
    angle, strength = u(0, 2 * np.pi), u(0, 0.15)
    ramp = 1 + strength * (np.cos(angle) * pen.x + np.sin(angle) * pen.y)
    tint = np.stack([u(0.92, 1.08), u(0.96, 1.04), u(0.92, 1.08)], axis=-1)
    contrast, brightness = u(0.85, 1.1), u(-0.08, 0.08)
    canvas *= ramp[..., None] * tint
    canvas -= 0.5
    canvas *= contrast[..., None]
    canvas += (0.5 + brightness)[..., None]


def grain(canvas: Array, noise: Array, draws: Draws) -> None:
    """Sensor noise, in place; `noise` is standard normal, the shape of the canvas, its strength is drawn."""
    canvas += draws.uniform(0.005, 0.02)[..., None] * noise


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
    for k, draw_object in enumerate(OBJECTS.values()):
        rows = np.flatnonzero(labels == k)
        if len(rows):
            canvas[rows] = _scene(table[rows], noise[rows], draw_object)
    return np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def _scene(table: Array, noise: Array, draw_object: Callable[[Pen], None]) -> Array:
    draws, canvas = Draws(table), np.zeros_like(noise)
    image = Pen.on(canvas, draws)
    u = draws.uniform
    backdrop(image)
    clutter(image, pieces=2)
    mirror = np.where(draws.chance(0.5), 1, -1)
    pen = image.moved(u(-0.5, 0.5), u(-0.45, 0.4), u(0.65, 1.0), u(-0.12, 0.12), mirror * u(0.8, 1.2))
    draw_object(pen)
    occluder(image)
    light(image)
    grain(canvas, noise, draws)
    return canvas
