"""Named random generators from one seed: a new consumer of randomness never shifts the draws of the old ones."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Seed:
    """The root of every random number of a run; `Seed(0).key("order", 3)` names one stream of it."""

    root: int

    def key(self, *name: str | int) -> int:
        """A 63-bit seed for the stream called `name`; equal names give equal streams, on every machine."""
        text = "/".join([str(self.root), *map(str, name)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1

    def numpy(self, *name: str | int) -> np.random.Generator:
        """A NumPy generator for the stream called `name`."""
        return np.random.default_rng(self.key(*name))
