"""Writer of the prepared array, image by image, with mean, deviation and exact duplicates of the images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pretextbench.base.names import printable
from pretextbench.data.source import Image, Listing
from pretextbench.errors import UserError
from pretextbench.params import Prepare


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


@dataclass
class Duplicates:
    """Finds images with equal pixels, by their hash."""

    pairs: list[tuple[str, str, str, str]] = field(default_factory=list)  # (split, file, split, file), across splits
    within: int = 0  # images that repeat an earlier one of their own split
    _first: dict[bytes, dict[str, str]] = field(default_factory=dict)  # hash -> split -> its first file

    def add(self, split: str, name: str, image: Image) -> None:
        """Compare one image with all before it."""
        seen = self._first.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), {})
        self.pairs += [(earlier, file, split, name) for earlier, file in seen.items() if earlier != split]
        self.within += split in seen
        seen.setdefault(split, name)


QUOTED_FILES = 3  # refused files that an error names


class Writer:
    """Writes a listing, split by split, to a .npy array (N, side, side, 3) uint8; N is known only at the end."""

    def __init__(self, stream: BinaryIO, params: Prepare, listing: Listing) -> None:
        self.stream, self.params, self.listing = stream, params, listing
        self.refused: list[tuple[str, str]] = list(listing.refused)  # (file, reason)
        self.kept: list[int] = []  # numbers of the listing, in the order of the array
        self.splits: dict[str, tuple[int, int]] = {}
        self.moments, self.duplicates = Moments(), Duplicates()  # moments are those of train
        self._header()

    def split(self, name: str, numbers: Sequence[int]) -> None:
        """Append the images of one split.

        Raises:
            UserError: too many of them cannot be read.
        """
        start = len(self.kept)
        for number, image in zip(numbers, self.listing.read(numbers), strict=True):
            if isinstance(image, str):
                self.refused.append((self.listing.names[number], image))
            else:
                self._add(name, number, image)
        self.splits[name] = (start, len(self.kept))
        self._check(name)

    def close(self) -> None:
        """Put the final N into the header."""
        self.stream.seek(0)
        self._header()

    def _add(self, split: str, number: int, image: Image) -> None:
        self.stream.write(image.tobytes())
        self.kept.append(number)
        self.duplicates.add(split, self.listing.names[number], image)
        if split == "train":
            self.moments.add(image)

    def _header(self) -> None:
        # NumPy pads the header so that its length is the same for any N: it can be written again over itself.
        shape = (len(self.kept), self.params.image_size, self.params.image_size, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.stream, header)

    def _check(self, name: str) -> None:
        files = len(self.kept) + len(self.refused)
        start, stop = self.splits[name]
        reasons = "; ".join(f"{printable(file)}: {reason}" for file, reason in self.refused[:QUOTED_FILES])
        if self.refused and len(self.refused) > self.params.max_refused * files:
            raise UserError(
                f"{len(self.refused)} of the first {files} files cannot be read, more than prepare.max_refused = "
                f"{self.params.max_refused:g} allows. Repair or remove them, or raise prepare.max_refused. "
                f"The first are: {reasons}."
            )
        if start == stop:
            raise UserError(f"No image of the {name} split can be read. Repair the files, or add more. {reasons}.")
