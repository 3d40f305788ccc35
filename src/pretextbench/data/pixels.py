"""Pixels of any mode as 8-bit RGB, and the facts of a whole set of images: the range of deep grey, alpha, bands."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from PIL import Image as pil

from pretextbench.data.image_file import Refusal, extra_bands
from pretextbench.data.source import Image

WHITE = (255, 255, 255, 255)
SEEN, CLEAR = 128, 0.01  # alpha of a pixel that shows, and share of such pixels below which alpha hides the picture
PARTIAL = 0.5  # share of pixels that are neither opaque nor clear, above which alpha may be something else
LEAST_RANGE = 0.25  # of what 16 bits can hold: grey that uses less of it is scaled by the range that it uses
FLAT = 3.0  # standard deviation, grey levels of 255, below which a picture is nearly one colour
DIM, OUTLIERS = 64, 0.01  # grey levels that hold all values of a dark or pale picture, but this share at each end
DIM_SHARE = 0.25  # of the images: some photographs are taken in fog or at night
THINNED = 64  # rows and columns from which the width is taken
NARROW = 32  # grey levels: 12 bits in 16 use fewer, of which Pillow keeps the upper eight in images with colour
FLAT_SHARE = 0.01  # of the images


class Remark(StrEnum):
    """Conversions of a picture that a user may not expect."""

    pages = "have more than one page or frame: the first is used, the others are left out"
    bands = "have bands that are neither colour nor alpha: these bands are left out"
    hidden = "have an alpha that hides nearly all of the picture: it is ignored"
    partial = "have an alpha that is partial over most of the picture; it is laid over white. If it is another band, \
write these files without it"


@dataclass(frozen=True)
class GreyRange:
    """Grey values that become black and white."""

    low: int
    high: int


FULL = GreyRange(0, 65535)


@dataclass
class Findings:
    """Facts about the pixels of some images; `join` adds those of more images."""

    remarks: Counter[Remark] = field(default_factory=Counter)  # -> images
    deep: GreyRange | None = None  # values of the grey images of more than 8 bits

    def join(self, more: "Findings") -> None:
        """Add the findings of other images: their order does not matter."""
        self.remarks += more.remarks
        parts = [part for part in (self.deep, more.deep) if part]
        if parts:
            self.deep = GreyRange(min(part.low for part in parts), max(part.high for part in parts))

    def used(self) -> GreyRange | None:
        """The range by which deep grey images are to be scaled; None where it is the full one, 0 .. 65535."""
        if self.deep is None or self.deep.low == self.deep.high:
            return None
        outside = self.deep.low < FULL.low or self.deep.high > FULL.high
        narrow = self.deep.high - self.deep.low < LEAST_RANGE * (FULL.high - FULL.low)
        return self.deep if outside or narrow else None

    def sentences(self) -> Iterator[str]:
        """Lines for people."""
        for remark, images in sorted(self.remarks.items()):
            yield f"{images:,} images {remark}."
        if used := self.used():
            yield (
                f"Grey images of more than 8 bits hold values from {used.low:,} to {used.high:,}: these two become "
                "black and white, in all images of the set."
            )


def is_flat(image: Image) -> bool:
    """Whether a picture has hardly any contrast: in its most varied channel, or over all channels."""
    return bool(image.reshape(-1, 3).std(0).max() < FLAT or np.ptp(image) < NARROW)


def width(image: Image) -> int:
    """Grey levels that hold the middle 98 % of the values: single bright pixels do not count."""
    step = max(1, len(image) // THINNED)
    counts = np.bincount(image[::step, ::step].ravel(), minlength=256).cumsum()
    low, high = np.searchsorted(counts, (OUTLIERS * counts[-1], (1 - OUTLIERS) * counts[-1]))
    return int(high - low)


@dataclass
class Contrasts:
    """Counts of the decoded images that have little contrast."""

    images: int = 0
    flat: int = 0  # nearly one colour
    dim: int = 0  # of the others: nearly all of their values lie within a quarter of the grey levels

    def add(self, image: Image) -> None:
        """Count one image, (side, side, 3)."""
        flat = is_flat(image)
        self.images += 1
        self.flat += flat
        self.dim += not flat and width(image) < DIM

    def sentences(self) -> Iterator[str]:
        """Lines for people, where such images are more than a few."""
        if self.flat > FLAT_SHARE * self.images:
            yield (
                f"{self.flat:,} of {self.images:,} images have hardly any contrast (standard deviation below {FLAT:g} "
                f"of 255 grey levels, or all values within {NARROW}): they are nearly one colour. Look at some; if "
                "their values use a small part of their range, stretch them before."
            )
        if self.dim > DIM_SHARE * self.images:
            yield (
                f"{self.dim:,} of {self.images:,} images use less than a quarter of the grey levels: they are dark or "
                "pale. Look at some; if the files hold 10 to 14 bits in 16, stretch their values before."
            )


def note_left_out(image: pil.Image, findings: Findings) -> None:
    """Remarks on parts of a file that are not read; `image` as it was opened."""
    with contextlib.suppress(Exception):  # a parser given broken bytes may raise anything: what can be read counts
        if getattr(image, "is_animated", False) and image.format != "MPO":  # whose pictures are of one moment
            findings.remarks[Remark.pages] += 1
    if extra_bands(image):
        findings.remarks[Remark.bands] += 1


def rgb(image: pil.Image, scale: GreyRange | None = FULL, findings: Findings | None = None) -> pil.Image:
    """Any mode to 8-bit RGB.

    `scale` are the grey values that become black and white, of images of more than 8 bits; None where they are to be
    found out. Values outside of it are cut off; only those outside of the full range are refused, where that is the
    scale. `findings` collects remarks about the picture.

    Raises:
        ValueError: the numbers mean nothing.
        Refusal: they are outside of 0 .. 65535, or of 0 .. 1 where they are floating point numbers.
    """
    findings = Findings() if findings is None else findings
    if image.mode == "P" and image.palette is None:  # Pillow would give black
        raise ValueError("numbers of colours, but no palette")
    if image.mode == "F":
        image = _grey(image, np.asarray(image).astype(np.float64), 0.0, 1.0, "floating point values")
    elif image.mode.startswith("I"):
        image = _deep(image, scale, findings)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = _on_white(image.convert("RGBA"), findings)
    return image.convert("RGB")


def _deep(image: pil.Image, scale: GreyRange | None, findings: Findings) -> pil.Image:
    """Grey of 16 or 32 bits."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if values.dtype == np.int32 and tags.get(258, (0,))[0] == 32 and tags.get(339, (1,))[0] == 1:
        values = values.view(np.uint32)  # Pillow has no mode for them
    findings.deep = GreyRange(int(values.min()), int(values.max()))
    whole, strict = values.astype(np.float64), scale == FULL
    scale = scale or FULL
    if not strict:
        whole = np.clip(whole, scale.low, scale.high)
    return _grey(image, whole, scale.low, scale.high, "grey values")


def _grey(image: pil.Image, values: npt.NDArray[np.float64], black: float, white: float, kind: str) -> pil.Image:
    low, high = values.min(), values.max()
    if not (low >= black and high <= white):  # also true of NaN
        raise Refusal(f"{kind} from {low:g} to {high:g}, where {black:g} to {white:g} are expected")
    grey = pil.fromarray(np.round((values - black) * (255 / (white - black))).astype(np.uint8))
    if "transparency" in image.info:  # the value that is transparent
        grey.putalpha(pil.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def _on_white(above: pil.Image, findings: Findings) -> pil.Image:
    """Laid over white, as a browser shows it, unless nothing of the picture would be left."""
    counts = np.array(above.getchannel("A").histogram())
    if counts[SEEN:].sum() < CLEAR * counts.sum():
        findings.remarks[Remark.hidden] += 1
        return above.convert("RGB")
    if counts[1:255].sum() > PARTIAL * counts.sum():
        findings.remarks[Remark.partial] += 1
    return pil.alpha_composite(pil.new("RGBA", above.size, WHITE), above)
