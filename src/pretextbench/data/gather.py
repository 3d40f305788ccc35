"""Images that somebody points at, a file, a folder or a prepared data set: their names and how to read them.

Other than a `Listing` it knows no labels and no splits, and is read at any size.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as pil

from pretextbench.data.decode import Fit, decode_all, square
from pretextbench.data.prepared import CARD, FILES, IMAGES, Prepared
from pretextbench.data.source import Image
from pretextbench.data.walk import explore, shown
from pretextbench.errors import UserError


@dataclass(frozen=True)
class Album:
    """Images in a fixed order, not one of them opened yet."""

    root: Path  # the folder that the names are relative to
    names: Sequence[str]  # one line of text each: a path below `root`, or a name that the prepare stage noted
    read: Callable[[Sequence[int], int, Fit], Iterator[Image | str]]
    # numbers, side in pixels and fit -> in their order a (side, side, 3) image or why it is refused
    refused: Sequence[tuple[str, str]] = ()  # (folder, reason) of what could not even be listed
    ignored: int = 0  # hidden files and files that are no images, passed over


def gather(path: Path, said: str = "IMAGES") -> Album:
    """The images at `path`: one file, all below a folder, or the array that the prepare stage wrote there.

    Raises:
        UserError: there is nothing, there are no images, or the prepared data set is damaged; `said` begins
            the message.
    """
    if (path / IMAGES).is_file() and (path / CARD).is_file():
        return _prepared(path)
    if path.is_file():
        return _files(path.parent, [Path(path.name)])
    walk = explore(path, said)
    return _files(path, walk.images, walk.refused, walk.ignored.total())


def _files(root: Path, files: Sequence[Path], refused: Sequence[tuple[str, str]] = (), ignored: int = 0) -> Album:
    def read(numbers: Sequence[int], side: int, fit: Fit) -> Iterator[Image | str]:
        return decode_all([root / files[i] for i in numbers], side, fit)

    return Album(root, [shown(file.as_posix()) for file in files], read, refused, ignored)


def _prepared(folder: Path) -> Album:
    data = Prepared(folder)
    whole = [(split, i) for split, (start, stop) in data.splits.items() for i in range(stop - start)]

    def read(numbers: Sequence[int], side: int, fit: Fit) -> Iterator[Image | str]:
        arrays = {split: data.images(split) for split in data.splits}
        for split, i in (whole[number] for number in numbers):
            image = arrays[split][i]
            yield image if len(image) == side else square(pil.fromarray(np.array(image)), side, fit)

    return Album(folder, _names(folder, [f"{split}/{i}" for split, i in whole]), read)


def _names(folder: Path, plain: list[str]) -> list[str]:
    """The names of the files that were prepared, which lie beside the labels; else split and number in it."""
    path = folder.parent / "labels" / FILES
    if not os.path.isfile(path):
        return plain
    names = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if len(names) != len(plain):
        raise UserError(
            f"{path} names {len(names)} images and {folder} holds {len(plain)}: they come from different runs of the "
            "prepare stage. Run it again."
        )
    return names
