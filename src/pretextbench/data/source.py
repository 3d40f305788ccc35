"""What every source of images has in common: a listing of its images that says nothing about their pixels yet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # (side, side, 3), RGB
SPLITS = ("train", "val", "test")  # in the order of the prepared array


@dataclass(frozen=True)
class Listing:
    """The images of a source: parallel sequences with one entry per image, and how to read some of them."""

    names: Sequence[str]  # for people: a path inside the folder, or a number in an archive
    splits: Sequence[str]  # "train", "val" or "test", as the source has them; all "train" where it has none
    labels: npt.NDArray[np.int64]  # (n,), -1 where an image has none
    classes: list[str]
    read: Callable[
        [Sequence[int]], Iterator[Image | str]
    ]  # numbers in, and in their order an image or why it is refused
    refused: Sequence[tuple[str, str]] = ()  # (file, reason) of what could not even be listed
    ignored: int = 0  # hidden files and files that are no images
    notes: tuple[str, ...] = ()  # what the user should know about how the source was understood
