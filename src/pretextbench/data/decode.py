"""One image file in, one square uint8 RGB array out, or the reason why not. Never raises for a bad file.

What is done with unusual images: EXIF orientation is applied; of animations and multi-page files the first frame is
taken; transparency is laid over white, as a browser shows it; grey of more than 8 bits is scaled by its full range,
0 .. 65535, or by the range that the set uses.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as pil

from pretextbench.data.image_file import Refusal, opened
from pretextbench.data.pixels import FULL, Findings, GreyRange, note_left_out, rgb
from pretextbench.data.source import Image

Fit = Literal["crop", "squash", "pad"]
GAP = 3.0  # a JPEG is decoded, or shrunk by whole factors first, to no less than this multiple of the wanted side
CHUNK_BYTES = 32 * 2**20  # of decoded images in flight: bounds the memory for any number and size of images
CHUNK_FILES = 1024
LARGE = 2**24  # pixels: images above it are held one at a time, for each may take gigabytes on its way
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: pil.Transpose.FLIP_LEFT_RIGHT,
    3: pil.Transpose.ROTATE_180,
    4: pil.Transpose.FLIP_TOP_BOTTOM,
    5: pil.Transpose.TRANSPOSE,
    6: pil.Transpose.ROTATE_270,
    7: pil.Transpose.TRANSVERSE,
    8: pil.Transpose.ROTATE_90,
}
_one_large = threading.Lock()


@dataclass
class Decoder:
    """Reader of the files of one set, which remembers what their pixels tell.

    With `scale` None the first reading finds out the range of deep grey images; `rescale` then says whether another
    reading is needed.
    """

    side: int  # pixels
    fit: Fit
    scale: GreyRange | None = FULL
    findings: Findings = field(default_factory=Findings)

    def images(self, paths: Sequence[Path]) -> Iterator[Image | str]:
        """(side, side, 3) of every path, or why it is refused, in order, decoded in parallel.

        Threads, not processes: Pillow leaves Python while it decodes and scales, and threads need no second
        interpreter.
        """
        step = max(1, min(CHUNK_FILES, CHUNK_BYTES // (3 * self.side * self.side)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(paths), step):
                for result, findings in self._some(pool, paths[start : start + step]):
                    self.findings.join(findings)
                    yield result

    def rescale(self) -> tuple[int, int] | None:
        """The range of the deep images that were read, if they are to be read again by it: it is used from now on."""
        if self.scale is not None or (used := self.findings.used()) is None:
            return None
        self.scale, self.findings = used, Findings()
        return used.low, used.high

    def _some(self, pool: ThreadPoolExecutor, paths: Sequence[Path]) -> list[tuple[Image | str, Findings]]:
        # Pillow warns about cases that are handled here (large images, odd EXIF or palettes). Filters belong to the
        # whole process, so they are changed around a chunk, not inside the threads.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(pool.map(self.read_file, paths))

    def read_file(self, path: Path) -> tuple[Image | str, Findings]:
        """One file as a (side, side, 3) RGB array, or the reason for its refusal; and the findings about it."""
        findings = Findings()
        try:
            with opened(path) as image:
                return self._read(image, findings), findings
        except Refusal as refusal:
            return str(refusal), Findings()
        except pil.DecompressionBombError:
            return f"too large: more than {2 * (pil.MAX_IMAGE_PIXELS or 0):,} pixels", Findings()
        except (
            Exception
        ) as error:  # a decoder given broken bytes may raise anything: SyntaxError, struct.error, EOFError
            if isinstance(error, OSError) and error.strerror:  # of the system, not of the decoder
                return f"cannot be read: {error.strerror}", Findings()
            return f"damaged: {str(error) or type(error).__name__}", Findings()

    def _read(self, image: pil.Image, findings: Findings) -> Image:
        note_left_out(image, findings)
        image.draft(None, (int(GAP * self.side), int(GAP * self.side)))  # None keeps the mode
        with _one_large if image.width * image.height > LARGE else contextlib.nullcontext():
            return square(rgb(upright(image), self.scale, findings), self.side, self.fit)


def decode(path: Path, side: int, fit: Fit) -> Image | str:
    """Read a file as a (side, side, 3) RGB array, or say why it is refused."""
    return Decoder(side, fit).read_file(path)[0]


def decode_all(paths: Sequence[Path], side: int, fit: Fit) -> Iterator[Image | str]:
    """The result of `decode` for every path, in order, decoded in parallel."""
    return Decoder(side, fit).images(paths)


def upright(image: pil.Image) -> pil.Image:
    """The image turned as its EXIF orientation says; EXIF that cannot be read is ignored."""
    image.load()  # some formats store EXIF behind the pixels
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # a parser given broken bytes, again; Pillow's own `exif_transpose` would give up the image
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


@dataclass(frozen=True)
class Place:
    """Which part of an image becomes which part of its square; the rest of the square is padding."""

    box: tuple[float, float, float, float]  # of the image: left, top, right, bottom
    size: tuple[int, int]  # in the square: width, height
    corner: tuple[int, int]  # left, top


def place(size: tuple[int, int], side: int, fit: Fit) -> Place:
    """How an image of a size becomes a square: cut the longer side (crop), distort (squash), or add bars (pad)."""
    w, h = size
    if fit == "crop":
        edge = min(w, h)
        left, top = (w - edge) / 2, (h - edge) / 2
        return Place((left, top, left + edge, top + edge), (side, side), (0, 0))
    across, down = (side, side) if fit == "squash" else (max(1, round(side * edge / max(w, h))) for edge in (w, h))
    return Place((0, 0, w, h), (across, down), ((side - across) // 2, (side - down) // 2))


def square(image: pil.Image, side: int, fit: Fit) -> Image:
    """Scale an RGB image to side x side; bars of `pad` are black."""
    if image.size == (side, side):
        return np.array(image)
    part = place(image.size, side, fit)
    scaled = image.resize(part.size, pil.Resampling.LANCZOS, box=part.box, reducing_gap=GAP)
    if part.size == (side, side):
        return np.array(scaled)
    canvas = pil.new("RGB", (side, side))
    canvas.paste(scaled, part.corner)
    return np.array(canvas)
