"""Public data sets, through torchvision: from the disk where they lie there, else downloaded once.

This module, and no other, imports torchvision (five seconds), so `prepare` loads it for these sources only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as pil
from torchvision.datasets import CIFAR10, CIFAR100, STL10, Imagenette

from pretextbench.data.decode import decode_all, square
from pretextbench.data.source import Image, Listing
from pretextbench.errors import UserError
from pretextbench.params import Prepare

DOWNLOADS = Path("data/downloads")
STL10_PARTS = {"train": "train", "unlabeled": "train", "test": "test"}  # theirs -> the split it goes to


@dataclass(frozen=True)
class Part:
    """One part of a public data set: the split it goes to, and its pixels or the files that hold them."""

    split: str
    labels: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.uint8] | None = None  # (n, H, W, 3)
    files: tuple[Path, ...] = ()


def listing(params: Prepare) -> Listing:
    """A public data set. Its own test images are the test split; val is taken from train.

    Raises:
        UserError: it is not on the disk and cannot be downloaded, or the files on the disk are damaged.
    """
    root = Path(params.path) if params.path else DOWNLOADS
    parts, classes = READERS[params.source](root, params.image_size)
    places = [(part, i) for part in parts for i in range(len(part.labels))]

    def read(numbers: Sequence[int]) -> Iterator[Image | str]:
        wanted = [places[number] for number in numbers]
        if parts[0].files:
            return decode_all([part.files[i] for part, i in wanted], params.image_size, params.fit)
        return (_fitted(part, i, params) for part, i in wanted)

    return Listing(
        names=[f"{part.split}/{part.files[i].name if part.files else i}" for part, i in places],
        splits=[part.split for part, _ in places],
        labels=np.concatenate([part.labels for part in parts]),
        classes=classes,
        read=read,
    )


def _fitted(part: Part, i: int, params: Prepare) -> Image:
    assert part.pixels is not None
    return square(pil.fromarray(part.pixels[i]), params.image_size, params.fit)


def _open(name: str, root: Path, make: Callable[..., Any]) -> Any:
    """Call `make(download=...)`, first without a download: a machine without a network can use existing files."""
    try:
        return make(download=False)
    except (RuntimeError, OSError):  # torchvision: "not found or corrupted"
        pass
    try:
        root.mkdir(parents=True, exist_ok=True)
        return make(download=True)
    except (RuntimeError, OSError, EOFError) as error:
        raise UserError(
            f"prepare.source: {name} is not in {root} (or is damaged there) and cannot be downloaded: {error}. "
            f"Connect to a network, or put the original archive into {root} (prepare.path names that folder)."
        ) from error


def _cifar(kind: Callable[..., Any], name: str, root: Path, _: int) -> tuple[list[Part], list[str]]:
    train, test = (_open(name, root, partial(kind, str(root), train=which)) for which in (True, False))
    parts = [Part(s, np.array(d.targets, np.int64), d.data) for s, d in (("train", train), ("test", test))]
    return parts, list(train.classes)


def _stl10(root: Path, _: int) -> tuple[list[Part], list[str]]:
    parts, classes = [], []
    for name, split in STL10_PARTS.items():
        data = _open("stl10", root, partial(STL10, str(root), split=name))
        parts.append(Part(split, np.array(data.labels, np.int64), data.data.transpose(0, 2, 3, 1)))  # of (n, 3, 96, 96)
        classes = list(data.classes)
    return parts, classes


def _imagenette(root: Path, side: int) -> tuple[list[Part], list[str]]:
    size = "160px" if side <= 160 else "320px" if side <= 320 else "full"
    parts, classes = [], []
    for name, split in (("train", "train"), ("val", "test")):
        data = _open("imagenette", root, partial(Imagenette, str(root), split=name, size=size))
        files, labels = zip(*data._samples, strict=True)  # the public way decodes every image
        parts.append(Part(split, np.array(labels, np.int64), files=tuple(map(Path, files))))
        classes = [names[0] for names in data.classes]
    return parts, classes


READERS: dict[str, Callable[[Path, int], tuple[list[Part], list[str]]]] = {
    "cifar10": partial(_cifar, CIFAR10, "cifar10"),
    "cifar100": partial(_cifar, CIFAR100, "cifar100"),
    "stl10": _stl10,
    "imagenette": _imagenette,
}
