"""Masks as labels: an image file per photograph, whose pixels hold the number or the colour of a kind."""

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as pil

from pretextbench.base.names import by_reason
from pretextbench.data import mask_names
from pretextbench.data.class_folders import some
from pretextbench.data.decode import ORIENTATION, UPRIGHT, Fit, place, upright
from pretextbench.data.image_file import Refusal, opened
from pretextbench.data.image_labels import UNKNOWN, ImageLabels
from pretextbench.data.mask_files import matched
from pretextbench.errors import UserError
from pretextbench.params import Prepare

IGNORE = 255  # in the targets: no label, or padding
MOST_VALUES = 64
SIDEWAYS = (5, 6, 7, 8)  # orientations by EXIF that exchange width and height
Pixels = npt.NDArray[np.int64]  # (h, w)


@dataclass(frozen=True)
class Masks:
    """The masks of the images of a listing, and what their pixels mean."""

    images: list[Path]
    files: list[Path | None]  # of each image
    values: Pixels  # (k,) values of pixels, in the order of their names
    refused: dict[int, str] = field(default_factory=dict)  # image -> why its mask is not used

    def write(self, path: Path, stored: Sequence[int], side: int, fit: Fit) -> None:
        """Write (len(stored), side, side) uint8, cut and scaled as the images: index of the name, 255 where unknown."""
        out = np.lib.format.open_memmap(path, "w+", np.uint8, (len(stored), side, side))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, mask in enumerate(pool.map(lambda image: self.square(image, side, fit), stored)):
                out[row] = mask
        out.flush()

    def square(self, image: int, side: int, fit: Fit) -> npt.NDArray[np.uint8]:
        """The mask of an image, (side, side)."""
        canvas = np.full((side, side), IGNORE, np.uint8)
        file = self.files[image]
        if file is None or image in self.refused:
            return canvas
        pixels = _pixels(file, self.images[image])
        order = np.argsort(self.values)
        positions = np.searchsorted(self.values[order], pixels).clip(max=len(order) - 1)
        index = np.where(self.values[order][positions] == pixels, order[positions], IGNORE).astype(np.uint8)
        part = place((pixels.shape[1], pixels.shape[0]), side, fit)
        scaled = np.array(pil.fromarray(index).resize(part.size, pil.Resampling.NEAREST, box=part.box))
        left, top = part.corner
        canvas[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
        return canvas


def read(place: Path, root: Path, names: Sequence[str], params: Prepare) -> ImageLabels:
    """The masks of the images.

    Raises:
        UserError: there are none, they do not fit the images, or their values have no names.
    """
    if params.task not in ("auto", "mask"):
        raise UserError(f"prepare.task is {params.task}, and {place} holds masks. Allowed: mask, auto.")
    files, how = matched(place, names)
    images = [root / name for name in names]
    counts, refused = _examined(images, files)
    _refuse_many(place, refused, sum(file is not None for file in files), params.max_refused)
    values, titles, notes = _meaning(place, counts)
    known = np.array([UNKNOWN if file is None or i in refused else 0 for i, file in enumerate(files)], np.int64)
    lines = [f"{files[i]}: {reason}" for i, reason in list(refused.items())[:3]]
    left_out = f"{len(refused):,} masks are not used, and their images have no label: {'; '.join(lines)}."
    reason = f"{sum(file is not None for file in files):,} masks{how}"
    notes = [f"The task is mask: {place} holds {reason}.", *notes, *([left_out] if refused else [])]
    write = Masks(images, files, values, refused).write
    return ImageLabels("mask", titles, known, notes, write=write)


def _examined(images: Sequence[Path], files: Sequence[Path | None]) -> tuple[Counter[int], dict[int, str]]:
    """Masks per value of their pixels, and the masks that cannot be used: image -> reason."""
    numbers = [i for i, file in enumerate(files) if file is not None]
    counts: Counter[int] = Counter()
    refused = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, result in zip(numbers, pool.map(lambda i: _values(files[i], images[i]), numbers), strict=True):
            if isinstance(result, str):
                refused[i] = result
            else:
                counts.update(result)
    return counts, refused


def _values(file: Path | None, image: Path) -> list[int] | str:
    """The different values of a mask, or why it is not used."""
    try:
        values: list[int] = np.unique(_pixels(file or Path(), image)).tolist()
    except Refusal as refusal:
        return str(refusal)
    except Exception as error:  # a decoder given broken bytes may raise anything
        return f"damaged: {str(error) or type(error).__name__}"
    return values


def _pixels(file: Path, image: Path) -> Pixels:
    """The values of a mask, upright as its image is: numbers, or colours above 2 ** 24.

    Raises:
        Refusal: its size is not that of the image.
        Exception: any that Pillow raises for broken bytes.
    """
    with opened(image) as photograph:
        stored, orientation = photograph.size, _orientation(photograph)
    size = stored[::-1] if orientation in SIDEWAYS else stored
    with opened(file) as mask:
        own = upright(mask)
        if own.size == stored != size:  # drawn on the pixels as they are stored
            own = own.transpose(UPRIGHT[orientation])
        if own.size != size:
            raise Refusal(f"{own.width} x {own.height} pixels, and its image has {size[0]} x {size[1]}")
        return numbers(own)


def _orientation(image: pil.Image) -> int:
    with contextlib.suppress(Exception):  # a parser given broken bytes may raise anything
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def numbers(mask: pil.Image) -> Pixels:
    """(h, w): the numbers of a palette or of grey, else colours as 2 ** 24 + RGB."""
    if mask.mode in ("LA", "PA"):
        mask = mask.getchannel(0)
    if mask.mode not in ("RGB", "RGBA", "CMYK"):
        return np.asarray(mask).astype(np.int64)
    r, g, b = np.moveaxis(np.asarray(mask.convert("RGB")).astype(np.int64), -1, 0)
    grey: Pixels = np.where((r == g) & (g == b), r, mask_names.colour(r, g, b))
    return grey


def _refuse_many(place: Path, refused: dict[int, str], masks: int, share: float) -> None:
    if len(refused) > share * masks:
        lines = "; ".join(by_reason([(str(image), reason) for image, reason in refused.items()], 3))
        raise UserError(
            f"{len(refused):,} of {masks:,} masks in {place} cannot be used, more than prepare.max_refused = {share:g} "
            f"allows: {lines}. Correct or remove them."
        )


def _meaning(place: Path, counts: Counter[int]) -> tuple[Pixels, list[str], list[str]]:
    """The values of pixels, their names, and notes.

    Raises:
        UserError: the values have no names, are too many, or all the same.
    """
    names, origin = mask_names.read(place)
    occurring = sorted(counts)
    ignored = 255 in counts and 255 not in names and len(counts) > 2
    occurring = [value for value in occurring if value != 255 or not ignored]
    if names and set(occurring) == {0, 255} and set(names) == {0, 1}:  # white is the second
        names = {0: names[0], 255: names[1]}
    strange = [value for value in occurring if value not in names] if names else []
    if strange:
        raise UserError(
            f"{place}: masks hold the values {some(map(mask_names.shown, strange), 8)} (in "
            f"{max(counts[v] for v in strange):,} masks), which {origin} does not name. Allowed: "
            f"{some(map(mask_names.shown, names), 12)}, and 255 for unknown."
        )
    if len(occurring) > MOST_VALUES:
        raise UserError(
            f"{place}: masks hold {len(occurring):,} different values, at most {MOST_VALUES} are expected. Were they "
            "saved as JPEG, or with soft edges? Save PNG files with one value per kind."
        )
    if len(occurring) < 2:
        raise UserError(
            f"{place}: every pixel of the masks is {some(map(mask_names.shown, occurring))}: nothing to learn."
        )
    values = list(names) or occurring
    notes = [f"Values of the masks: {some((f'{mask_names.shown(v)} in {counts[v]:,} masks' for v in occurring), 8)}."]
    notes += ["Pixels of value 255 are unknown: they are not measured."] if ignored else []
    return np.array(values, np.int64), [names.get(v, mask_names.shown(v)) for v in values], notes
