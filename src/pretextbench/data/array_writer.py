"""Writer of the prepared array, image by image, with mean, deviation, contrast and exact duplicates of the images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pretextbench.base.names import by_reason
from pretextbench.data.pixels import Contrasts
from pretextbench.data.source import Image, Listing
from pretextbench.errors import UserError
from pretextbench.params import Prepare

QUOTED = 3  # reasons of refused files that an error names


@dataclass
class Moments:
    """Mean and standard deviation per channel, exact: sums of whole numbers do not depend on their order."""

    count: int = 0  # pixels
    total: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    squares: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))

    def add(self, image: Image) -> None:
        """Take in the pixels of one image."""
        pixels = image.reshape(-1, 3).astype(np.int64)
        self.count += len(pixels)
        self.total += pixels.sum(0)
        self.squares += (pixels * pixels).sum(0)

    def mean(self) -> tuple[float, float, float]:
        """On the [0, 1] scale."""
        r, g, b = (self.total / self.count / 255).tolist()
        return r, g, b

    def std(self) -> tuple[float, float, float]:
        """On the [0, 1] scale; at least one grey level, so that images of one colour can be normalised too."""
        variance = self.squares / self.count - (self.total / self.count) ** 2
        r, g, b = (np.sqrt(np.maximum(variance, 1)) / 255).tolist()
        return r, g, b


@dataclass(frozen=True)
class Row:
    """An image of the array: its split, its row and its number in the listing."""

    split: str
    row: int
    number: int


@dataclass
class Duplicates:
    """Finds images with equal pixels, by their hash."""

    pairs: list[tuple[str, str, str, str]] = field(default_factory=list)  # (split, file, split, file), across splits
    within: int = 0  # images that repeat an earlier one of their own split
    left_out: int = 0  # of those, and of `pairs`, that are not in the array
    conflicts: list[tuple[int, int]] = field(default_factory=list)  # numbers of equal images with different labels
    _first: dict[bytes, dict[str, Row]] = field(default_factory=dict)  # hash -> split -> its first image

    def add(self, image: Image, place: Row, listing: Listing) -> Row | None:
        """Compare one image with all before it; returns the first of those that are equal."""
        seen = self._first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), {})
        first = next(iter(seen.values()), None)
        name, label = listing.names[place.number], listing.keys[place.number]
        self.pairs += [
            (earlier, listing.names[row.number], place.split, name)
            for earlier, row in seen.items()
            if earlier != place.split
        ]
        self.within += place.split in seen
        if first and label >= 0 and listing.keys[first.number] not in (-1, label):
            self.conflicts.append((first.number, place.number))
        seen.setdefault(place.split, place)
        return first


class Writer:
    """Writes a listing, split by split, to a .npy array (N, side, side, 3) uint8; N is known only at the end."""

    def __init__(self, stream: BinaryIO, params: Prepare, listing: Listing) -> None:
        self.stream, self.params, self.listing = stream, params, listing
        self.refused: list[tuple[str, str]] = list(listing.refused)  # (file, reason)
        self.stored: list[int] = []  # numbers of the listing, in the order of the array
        self.splits: dict[str, tuple[int, int]] = {}
        self.moments, self.duplicates = Moments(), Duplicates()  # moments are those of train
        self.contrasts = Contrasts()
        self._header()

    def split(self, name: str, numbers: Sequence[int]) -> None:
        """Append the images of one split.

        Raises:
            UserError: too many of them cannot be read, or none is left.
        """
        start = len(self.stored)
        for number, image in zip(numbers, self.listing.read(numbers), strict=True):
            if isinstance(image, str):
                self.refused.append((self.listing.names[number], image))
            else:
                self._add(name, number, image)
        self.splits[name] = (start, len(self.stored))
        self._check(name)

    def close(self) -> None:
        """Put the final N into the header."""
        self.stream.seek(0)
        self._header()

    def _add(self, split: str, number: int, image: Image) -> None:
        first = self.duplicates.add(image, Row(split, len(self.stored), number), self.listing)
        if first and self.params.drop_duplicates:
            self._leave_out(first, split, number)
            return
        self.stream.write(image.tobytes())
        self.stored.append(number)
        self.contrasts.add(image)
        if split == "train":
            self.moments.add(image)

    def _leave_out(self, first: Row, split: str, number: int) -> None:
        """Drop a copy. Where it has a label, and the image of its split that it repeats has none, the label stays."""
        self.duplicates.left_out += 1
        labels = self.listing.keys
        if first.split == split and labels[self.stored[first.row]] < 0 <= labels[number]:
            self.stored[first.row] = number

    def _header(self) -> None:
        # NumPy pads the header so that its length is the same for any N: it can be written again over itself.
        shape = (len(self.stored), self.params.image_size, self.params.image_size, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.stream, header)

    def _check(self, name: str) -> None:
        files = len(self.stored) + len(self.refused)
        start, stop = self.splits[name]
        reasons = "; ".join(by_reason(self.refused, QUOTED))
        if self.refused and len(self.refused) > self.params.max_refused * files:
            raise UserError(
                f"{len(self.refused)} of the first {files} files cannot be read, more than prepare.max_refused = "
                f"{self.params.max_refused:g} allows. Repair or remove them, or raise prepare.max_refused. "
                f"The first are: {reasons}."
            )
        if start == stop and self.duplicates.left_out:
            raise UserError(
                f"Every image of the {name} split repeats an earlier one, and prepare.drop_duplicates is true. Add "
                "other images to it, or set prepare.drop_duplicates to false."
            )
        if start == stop:
            raise UserError(f"No image of the {name} split can be read. Repair the files, or add more. {reasons}.")
