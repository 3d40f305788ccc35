"""One image file in, one square uint8 RGB array out, or the reason why not. Never raises for a bad file.

What is done with unusual images: EXIF orientation is applied; of animations and multi-page files the first frame is
taken; transparency is laid over white, as a browser shows it; 16-bit grey is scaled by its full range, 0 .. 65535.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as pil
from PIL import UnidentifiedImageError

from pretextbench.data.source import Image

Fit = Literal["crop", "squash", "pad"]
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow knows more, some of them run other programs
GAP = 3.0  # a JPEG is decoded, or shrunk by whole factors first, to no less than so many times the wanted side
CHUNK_BYTES = 32 * 2**20  # of decoded images in flight: memory stays bounded whatever their number and size
CHUNK_FILES = 1024
LARGE = 2**24  # pixels: images above it are held one at a time, for each may take gigabytes on its way
# Pixels that a byte of a file can hold, at most. Deflate packs 1032 bytes into one, of 8 pixels each; JPEG spends a bit
# on a block of 64 (arithmetic codes may do with less, where nothing is to be seen).
DENSEST = {"PNG": 8 * 1032, "JPEG": 8 * 64}
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
WHITE = (255, 255, 255, 255)
_one_large = threading.Lock()


def decode(path: Path, side: int, fit: Fit) -> Image | str:
    """Read a file as a (side, side, 3) RGB array, or say why it is refused."""
    try:
        if not path.is_file():  # opening a pipe would wait for a writer
            return "not a file: a broken link, or something that cannot be read"
        if path.stat().st_size == 0:
            return "empty: zero bytes"
        with pil.open(path, formats=FORMATS) as image:
            return _read(image, path.stat().st_size, side, fit)
    except UnidentifiedImageError:
        return f"not an image in a known format ({', '.join(FORMATS)})"
    except pil.DecompressionBombError:
        return f"too large: more than {2 * (pil.MAX_IMAGE_PIXELS or 0):,} pixels"
    except Exception as error:  # a decoder given broken bytes may raise anything: SyntaxError, struct.error, EOFError
        if isinstance(error, OSError) and error.strerror:  # of the system, not of the decoder
            return f"cannot be read: {error.strerror}"
        return f"damaged: {str(error) or type(error).__name__}"


def _read(image: pil.Image, size: int, side: int, fit: Fit) -> Image | str:
    w, h = image.size
    if w * h > DENSEST.get(image.format or "", w * h) * size:  # before memory is taken for them
        return f"damaged: {size:,} bytes cannot hold the {w} x {h} pixels that they announce"
    image.draft(None, (int(GAP * side), int(GAP * side)))  # None keeps the mode
    with _one_large if image.width * image.height > LARGE else contextlib.nullcontext():
        return square(rgb(upright(image)), side, fit)


def upright(image: pil.Image) -> pil.Image:
    """The image turned as its EXIF orientation says; EXIF that cannot be read says nothing."""
    image.load()  # some formats store EXIF behind the pixels
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # a parser given broken bytes, again; Pillow's own `exif_transpose` would give up the image
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def rgb(image: pil.Image) -> pil.Image:
    """Any mode to 8-bit RGB.

    Raises:
        ValueError: the numbers are not those of a picture (32-bit values outside the 16-bit range), or mean nothing.
    """
    if image.mode == "P" and image.palette is None:  # Pillow would give black
        raise ValueError("numbers of colours, but no palette")
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        above = image.convert("RGBA")
        image = pil.alpha_composite(pil.new("RGBA", above.size, WHITE), above)
    return image.convert("RGB")


def _eight_bits(image: pil.Image) -> pil.Image:
    values = np.asarray(image).astype(np.float64)
    low, high, top = values.min(), values.max(), 1.0 if image.mode == "F" else 65535.0
    if not (low >= 0 and high <= top):  # also true of NaN
        raise ValueError(f"grey values from {low:g} to {high:g}, where 0 to {top:g} are expected")
    grey = pil.fromarray(np.round(values * (255 / top)).astype(np.uint8))
    if "transparency" in image.info:  # the value that is transparent
        grey.putalpha(pil.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def square(image: pil.Image, side: int, fit: Fit) -> Image:
    """Scale an RGB image to side x side: cut the longer side (crop), distort (squash), or add black bars (pad)."""
    w, h = image.size
    if (w, h) == (side, side):
        return np.array(image)
    if fit == "squash":
        return np.array(_scaled(image, side, side, (0, 0, w, h)))
    if fit == "crop":
        edge = min(w, h)
        left, top = (w - edge) / 2, (h - edge) / 2
        return np.array(_scaled(image, side, side, (left, top, left + edge, top + edge)))
    across, down = (max(1, round(side * edge / max(w, h))) for edge in (w, h))
    canvas = pil.new("RGB", (side, side))
    canvas.paste(_scaled(image, across, down, (0, 0, w, h)), ((side - across) // 2, (side - down) // 2))
    return np.array(canvas)


def _scaled(image: pil.Image, w: int, h: int, box: tuple[float, float, float, float]) -> pil.Image:
    return image.resize((w, h), pil.Resampling.LANCZOS, box=box, reducing_gap=GAP)


def decode_all(paths: Sequence[Path], side: int, fit: Fit) -> Iterator[Image | str]:
    """The result of `decode` for every path, in order, decoded in parallel.

    Threads, not processes: Pillow leaves Python while it decodes and scales, and threads need no second interpreter.
    """
    step = max(1, min(CHUNK_FILES, CHUNK_BYTES // (3 * side * side)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), step):
            yield from _decode_some(pool, paths[start : start + step], side, fit)


def _decode_some(pool: ThreadPoolExecutor, paths: Sequence[Path], side: int, fit: Fit) -> list[Image | str]:
    # Pillow warns of what is handled here (large images, odd EXIF or palettes). Filters belong to the whole process, so
    # they are changed around a chunk, not inside the threads.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(pool.map(lambda path: decode(path, side, fit), paths))
