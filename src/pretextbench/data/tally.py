"""What is counted over every image on its way into the array: channel statistics and exact duplicates."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pretextbench.data.source import Image


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
