"""Writes images as they are decoded, and measures them on the way: memory does not grow with their number."""

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from pretextbench.data.source import Image, Listing
from pretextbench.data.tally import Duplicates, Moments
from pretextbench.data.walk import shown
from pretextbench.errors import UserError
from pretextbench.params import Prepare

SHOWN = 3  # refused files that an error quotes


class Writer:
    """Reads a listing split by split into a .npy array (N, side, side, 3) uint8, whose N is known at the end only."""

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
        reasons = "; ".join(f"{shown(file)}: {reason}" for file, reason in self.refused[:SHOWN])
        if self.refused and len(self.refused) > self.params.max_refused * files:
            raise UserError(
                f"{len(self.refused)} of the first {files} files cannot be read, more than prepare.max_refused = "
                f"{self.params.max_refused:g} allows. Mend or remove them, or raise prepare.max_refused. "
                f"The first are: {reasons}."
            )
        if start == stop:
            raise UserError(f"No image of the {name} split can be read. Mend the files, or add others. {reasons}.")
