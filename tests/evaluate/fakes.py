"""A small data set and a small encoder for the tests of the protocol; the data set guards its test labels."""

import sys

import numpy as np
import torch
from torch import Tensor, nn

from pretextbench.encoder import Encoder


class FakeData:
    """Looks like `Prepared`. Reading the test labels anywhere but in the final scoring is an error, and is counted."""

    def __init__(self, train=120, val=60, test=80, classes=3, side=8, seed=0):
        rng = np.random.default_rng(seed)
        self.classes = [f"class{i}" for i in range(classes)]
        self.image_size, self.mean, self.std, self.fingerprint = side, (0.5,) * 3, (0.25,) * 3, "f" * 64
        self._labels, self._images, self.reads = {}, {}, []
        for split, n in (("train", train), ("val", val), ("test", test)):
            labels = rng.permutation(np.arange(n) % classes)
            images = rng.integers(0, 120, (n, side, side, 3)) + rng.integers(
                0, 80, (n, 1, 1, 3)
            )  # noise, a colour cast
            images[np.arange(n), :, :, labels % 3] += 40
            self._labels[split], self._images[split] = labels, images.astype(np.uint8)  # at most 119 + 79 + 40

    task = "class"

    def groups(self, split):
        return None

    def images(self, split):
        view = self._images[split].view()
        view.flags.writeable = False  # as the memory map is
        return view

    def labels(self, split):
        self.reads.append(split)
        if split == "test":
            callers = [f.f_globals["__name__"] + "." + f.f_code.co_name for f in _frames()]
            assert "pretextbench.evaluate.scoring.score_test" in callers, f"test labels read by {callers[0]}"
        return self._labels[split]


def _frames():
    frame = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


class FakeViews:
    """Looks like `Views`: every third test image, brighter or mirrored; validation images and their mirror images."""

    names, severities = ("bright", "mirror"), (1, 2)

    def __init__(self, data):
        self.rows = np.arange(1, len(data.images("test")), 3)
        clean = data.images("test")[self.rows]
        bright = np.stack([np.minimum(clean.astype(int) + more, 255).astype(np.uint8) for more in (20, 90)])
        self.corrupted = np.stack([bright, np.stack([clean[:, :, ::-1], clean[:, ::-1]])])
        self.pairs = np.stack([data.images("val"), data.images("val")[:, :, ::-1]])


class TinyEncoder(Encoder):
    """Three stages, one of which has dropout and one a batch norm, so that its mode shows in its features."""

    def __init__(self):
        super().__init__((0.5,) * 3, (0.25,) * 3)
        generator = torch.Generator().manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator) / 3
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout(0.5)
        self.channels, self.dim = {"one": 4, "two": 8, "three": 16}, 16

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        one = self.a(self.normalise(x)).relu()
        two = self.norm(self.b(one)).relu()
        return {"one": one, "two": two, "three": self.drop(self.c(two).relu())}
