"""Features of any images: gather the files, decode them, run the encoder, in order and resumable."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as pil
from torch import Tensor

from pretextbench.base.names import printable
from pretextbench.data.decode import Decoder, Fit, square
from pretextbench.data.pixels import FULL, GreyRange
from pretextbench.data.prepared import CARD, FILES, IMAGES, Prepared
from pretextbench.data.source import Image, explore
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError, nearest
from pretextbench.evaluate.features import Clock, LayerFeatures, as_input, frozen, pool


@dataclass(frozen=True)
class Album:
    """Images in a fixed order, not one of them opened yet."""

    root: Path  # the folder that the names are relative to
    names: Sequence[str]  # one line of text each: a path below `root`, or a name that the prepare stage noted
    read: Callable[[Sequence[int], int, Fit], Iterator[Image | str]]
    # numbers, side in pixels and fit -> in their order a (side, side, 3) image or why it is refused
    refused: Sequence[tuple[str, str]] = ()  # (folder, reason) of what could not even be listed
    ignored: int = 0  # hidden files and files that are no images, passed over


def gather(path: Path, option: str = "IMAGES", grey_range: tuple[int, int] | None = None) -> Album:
    """The images at `path`: one file, all below a folder, or the array that the prepare stage wrote there.

    `grey_range` are the values of deep grey images that become black and white, as in the card of the encoder.

    Raises:
        UserError: there is nothing, there are no images, or the prepared data set is damaged; `option` begins
            the message.
    """
    if (path / IMAGES).is_file() and (path / CARD).is_file():
        return _prepared(path)
    if path.is_file():
        return _files(path.parent, [Path(path.name)], grey_range)
    walk = explore(path, option)
    return _files(path, walk.images, grey_range, walk.refused, walk.ignored.total())


def _files(
    root: Path,
    files: Sequence[Path],
    grey_range: tuple[int, int] | None,
    refused: Sequence[tuple[str, str]] = (),
    ignored: int = 0,
) -> Album:
    scale = GreyRange(*grey_range) if grey_range else FULL

    def read(numbers: Sequence[int], side: int, fit: Fit) -> Iterator[Image | str]:
        return Decoder(side, fit, scale).images([root / files[i] for i in numbers])

    return Album(root, [printable(file.as_posix()) for file in files], read, refused, ignored)


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
    """The names of the files that were prepared, which are stored with the labels; else split and number in it."""
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


LAST = "last"
PIXELS = {"cpu": 2**17, "other": 2**22}  # of the images in a batch, where its size is not given: 128 or 4096 of 32 px
Precision = Literal["fp32", "bf16"]


class Embedder:
    """An encoder that turns uint8 images into features of one layer, in evaluation mode, on one device.

    `layer` is "last", what the encoder's `forward` gives, or the name of a layer, pooled as the evaluation pools it.
    `dim` is the length of the features.

    Raises:
        UserError: the encoder has no such layer.
    """

    def __init__(
        self, encoder: Encoder, device: torch.device, layer: str = LAST, precision: Precision = "fp32"
    ) -> None:
        known = [LAST, *encoder.layers]
        if layer not in known:
            raise UserError(
                f"--layer: there is no layer {layer!r}.{nearest(layer, known)} Allowed: {', '.join(known)}."
            )
        self.encoder = encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.precision = device, precision
        self.layer = LAST if layer == known[-1] else layer
        self.dim = LayerFeatures(encoder, known[-1] if layer == LAST else layer).dim

    def __call__(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """(B, H, W, 3) uint8 to (B, D) float32 on the CPU."""
        x, half = as_input(images, self.device), self.precision == "bf16"
        with frozen(self.encoder), torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            return self._features(x).float().cpu()

    def _features(self, x: Tensor) -> Tensor:
        if self.layer == LAST:
            features: Tensor = self.encoder(x)
            return features
        maps = self.encoder.features(x)
        return pool(maps[self.layer], list(maps.values())[-1].shape[1])

    def batch_size(self, side: int) -> int:
        """Default number of images (side x side) in a batch: bounded memory, and small enough for a CPU's caches."""
        pixels = PIXELS["cpu" if self.device.type == "cpu" else "other"]
        return max(4, pixels // side**2)


class Embedded(NamedTuple):
    """The features of some images."""

    names: list[str]
    features: Tensor  # (B, D) float32


@dataclass
class Task:
    """The embedding of an album: `batches` does it; the attributes describe, afterwards, the result."""

    album: Album
    side: int  # pixels
    fit: Fit = "crop"
    refused: list[tuple[str, str]] = field(default_factory=list)  # (file, reason)
    done: int = 0
    clock: Clock = field(default_factory=Clock)

    def batches(self, embed: Embedder, size: int) -> Iterator[Embedded]:
        """The features of every image that can be read, in the order of the album; the others join `refused`.

        Raises:
            UserError: no image can be read, or features are not finite.
        """
        self.refused += self.album.refused
        images = self._readable()
        while batch := self._take(images, size):
            names, pixels = zip(*batch, strict=True)
            with self.clock.part("network"):
                features = embed(np.stack(pixels))
            check_finite(features, names)
            self.done += len(names)
            yield Embedded(list(names), features)
        if not self.done:
            raise UserError(f"None of the {len(self.album.names):,} images can be read. {first_refused(self.refused)}")

    def _take(self, images: Iterator[tuple[str, Image]], size: int) -> list[tuple[str, Image]]:
        with self.clock.part("reading"):
            return list(islice(images, size))

    def _readable(self) -> Iterator[tuple[str, Image]]:
        images = self.album.read(range(len(self.album.names)), self.side, self.fit)
        for name, image in zip(self.album.names, images, strict=True):
            if isinstance(image, str):
                self.refused.append((name, image))
            else:
                yield name, image


def first_refused(refused: list[tuple[str, str]], count: int = 3) -> str:
    """The first refused files and their reasons, in a sentence."""
    return f"The first: {'; '.join(f'{name}: {reason}' for name, reason in refused[:count])}." if refused else ""


def check_finite(features: Tensor, names: tuple[str, ...]) -> None:
    """Refuse features that are not numbers.

    Raises:
        UserError: names the first image that has such.
    """
    bad = (~features.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        raise UserError(
            f"The features of {names[bad[0]]} (and {len(bad) - 1} more of its batch) are not finite: the encoder has "
            "diverged. Lower the method's learning rate or set pretrain.clip, and pretrain again."
        )


def device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`, ... as a device that this machine has; `auto` prefers a GPU.

    Raises:
        UserError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen).item()  # also refuses `meta`, which holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's way of having none varies
        gpus = ", ".join(f"cuda:{i}" for i in range(torch.cuda.device_count())) or "no GPU"
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--device: {name!r} cannot be used here ({reason}). Allowed: auto, cpu; found: {gpus}."
        ) from None
    return chosen
