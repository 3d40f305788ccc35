"""Folders of images for the tests of `init`: drawn here, so that every number in them is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Save = Callable[[Path, int, tuple[int, int]], None]


def photograph(path: Path, number: int, size: tuple[int, int] = (40, 40), mode: str = "RGB") -> None:
    """A smooth picture, different for every number, that no other resembles."""
    draw = np.random.default_rng(number)
    coarse = draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)


def classes(folder: Path, each: int = 30, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    """One folder per class."""
    for k, name in enumerate(names):
        for i in range(each):
            photograph(folder / name / f"{i}.png", 1000 * k + i)
    return folder


def mixed(folder: Path) -> Path:
    """No labels: 24 images of four modes and three sizes, a copy, a near copy, two that cannot be read, a text."""
    for i in range(24):
        mode, size = ("RGB", "L", "P", "RGBA")[i % 4], ((40, 40), (90, 60), (60, 120))[i % 3]
        photograph(folder / f"{i:02}.png", i, size, mode)
    (folder / "99.png").write_bytes((folder / "00.png").read_bytes())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "torn.png").write_bytes((folder / "01.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("not an image")
    return folder
