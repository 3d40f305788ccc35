"""Files that an image folder of the real world, or of an enemy, may hold, each with what is to become of it."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

SIDE = 16
Y, X = np.mgrid[0:SIDE, 0:SIDE]
PICTURE = np.stack([16 * X, 16 * Y, 8 * (X + Y)], -1).astype(np.uint8)  # differs from all that it can be turned into
NOISE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)  # does not compress: half of it is half
GREY = np.repeat(PICTURE[..., :1], 3, -1)
WHITE, RED = (np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in ((255, 255, 255), (255, 0, 0)))
FORMATS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "webp": "WEBP", "tif": "TIFF", "bmp": "BMP"}
Fate = Literal["image", "refused", "ignored", "either"]  # either: these pixels, or refused


@dataclass(frozen=True)
class Hostile:
    """One file."""

    name: str
    make: bytes | Callable[[Path], object]
    fate: Fate = "image"
    pixels: np.ndarray | None = None  # (SIDE, SIDE, 3), what must come out where an image comes out
    tolerance: int = 0
    reason: str = ""  # a part of it

    def put(self, folder: Path) -> Path:
        """Make the file."""
        path = folder / self.name
        path.write_bytes(self.make) if isinstance(self.make, bytes) else self.make(path)
        return path


def encoded(pixels: Any, kind: str, **options: Any) -> bytes:
    """A file's bytes; `pixels` is an image or an array."""
    image, buffer = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels), io.BytesIO()
    image.save(buffer, FORMATS[kind], **({"lossless": True} if kind == "webp" else {}) | options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    pixels: bytes | np.ndarray, colour: int, depth: int = 8, size: tuple[int, int] = (SIDE, SIDE), *chunks: bytes
) -> bytes:
    """A PNG that Pillow would not write: `pixels` are rows of big-endian samples, or the stream as it is."""
    if isinstance(pixels, np.ndarray):
        pixels = b"".join(b"\0" + row.tobytes() for row in pixels)
    return _png(struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0), *chunks, chunk(b"IDAT", zlib.compress(pixels)))


def _png(header: bytes, *chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND")


def interlaced() -> bytes:
    """Adam7, seven passes."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [row for x, y, dx, dy in passes for row in PICTURE[y::dy, x::dx]]
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return _png(struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 1), chunk(b"IDAT", stream))


def tiff16() -> bytes:
    """A TIFF of 16 bits per channel, uncompressed, big-endian."""
    tags = [(256, 3, 1, SIDE << 16), (257, 3, 1, SIDE << 16), (258, 3, 3, 200), (259, 3, 1, 1 << 16)]
    tags += [(262, 3, 1, 2 << 16), (273, 4, 1, 256), (277, 3, 1, 3 << 16), (278, 3, 1, SIDE << 16)]
    tags += [(279, 4, 1, PICTURE.size * 2), (284, 3, 1, 1 << 16)]
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHII", *tag) for tag in tags) + bytes(4)
    head = (b"MM\0*" + struct.pack(">I", 8) + directory).ljust(200, b"\0") + struct.pack(">HHH", 16, 16, 16)
    return head.ljust(256, b"\0") + (PICTURE.astype(">u2") * 257).astype(">u2").tobytes()


def ycck() -> bytes:
    """A CMYK JPEG as Photoshop writes it: luma and chroma of the inverse, marked by the Adobe segment."""
    luma, blue, red = (255 - np.asarray(band) for band in Image.fromarray(255 - PICTURE).convert("YCbCr").split())
    bands = [Image.fromarray(band) for band in (luma, blue, red, np.zeros_like(luma))]
    content = encoded(Image.merge("CMYK", bands), "jpg", quality=100)
    place = content.index(b"Adobe") + 11  # the colour transform
    return content[:place] + b"\2" + content[place + 1 :]


def truncated() -> Iterator[Hostile]:
    for kind in FORMATS:
        whole = encoded(NOISE, kind, **({"quality": 100} if kind == "jpg" else {}))
        image = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
        for n in (5, len(whole) // 5, len(whole) // 2, 4 * len(whole) // 5, len(whole) - 1):
            yield Hostile(f"truncated-{kind}-{n}.{kind}", whole[:n], "either", image)


def misnamed() -> Iterator[Hostile]:
    kinds = list(FORMATS)
    for kind, other in zip(kinds, kinds[1:] + kinds[:1], strict=True):
        tolerance = {"jpg": 12, "gif": 60}.get(kind, 0)
        yield Hostile(f"wrong-{kind}.{other}", encoded(PICTURE, kind, quality=95), "image", PICTURE, tolerance)


def foreign() -> Iterator[Hostile]:
    """What is no image at all, or in no format that is read."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("../../evil.txt", "evil")
    contents = {
        "text.jpg": b"this is text\n",
        "page.png": b"<!doctype html><script>alert(1)</script>",
        "drawing.jpg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "phone.jpg": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "paper.jpg": b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n%%EOF",
        "film.jpg": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(200),
        "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(evil) run\n",
        "zeros.png": bytes(1000),
        "noise.jpg": NOISE.tobytes(),
        "archive.png": archive.getvalue(),
        "elf.gif": b"\x7fELF" + bytes(100),
        "netpbm.png": b"P6 16 16 255\n" + PICTURE.tobytes(),
    }
    for name, content in contents.items():
        yield Hostile(f"foreign-{name}", content, "refused", reason="not an image in a known format")
    yield Hostile("foreign-empty.jpg", b"", "refused", reason="empty: zero bytes")
    for kind, head in {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff", "gif": b"GIF89a", "tif": b"II*\0"}.items():
        yield Hostile(f"foreign-head.{kind}", head, "refused")


def bombs() -> Iterator[Hostile]:
    """Sizes that files announce without having them."""
    big, huge = struct.pack(">HH", 13_000, 13_000), struct.pack(">HH", 65_000, 65_000)
    jpg = encoded(PICTURE, "jpg")
    place = jpg.index(b"\xff\xc0") + 5
    yield Hostile("bomb-big.png", png(b"\0", 2, 8, (13_000, 13_000)), "refused", reason="cannot hold the 13000 x 13000")
    yield Hostile("bomb-huge.png", png(b"\0", 2, 8, (60_000, 60_000)), "refused", reason="too large")
    yield Hostile("bomb-most.png", png(b"\0", 2, 8, (2**31 - 1, 2**31 - 1)), "refused", reason="too large")
    yield Hostile("bomb-jpeg.jpg", jpg[:place] + huge + jpg[place + 4 :], "refused", reason="too large")
    yield Hostile("bomb-jpeg-big.jpg", jpg[:place] + big + jpg[place + 4 :], "refused", reason="cannot hold")
    gif, bmp, tif = (encoded(PICTURE, kind) for kind in ("gif", "bmp", "tif"))
    yield Hostile("bomb.gif", gif[:6] + b"\xff\xff\xff\xff" + gif[10:], "refused", reason="too large")
    size = struct.pack("<II", 60_000, 60_000)
    yield Hostile("bomb.bmp", bmp[:18] + size + bmp[26:], "refused", reason="too large")
    for tag in (256, 257):  # short or long, one value
        place = tif.index(struct.pack("<HH", tag, 4 if struct.pack("<HH", tag, 4) in tif else 3)) + 2
        tif = tif[:place] + struct.pack("<HII", 4, 1, 60_000) + tif[place + 10 :]
    yield Hostile("bomb.tif", tif, "refused", reason="too large")
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))
    yield Hostile("bomb-text.png", png(PICTURE, 2, 8, (SIDE, SIDE), text), "refused", reason="too large")
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2**23)))
    yield Hostile("bomb-profile.png", png(PICTURE, 2, 8, (SIDE, SIDE), profile), "either", PICTURE)


def frames() -> Iterator[Hostile]:
    """Of many pictures the first."""
    more = {"save_all": True, "append_images": [Image.fromarray(255 - PICTURE)] * 3}
    for kind in ("webp", "tif", "png"):
        yield Hostile(f"frames.{kind}", encoded(PICTURE, kind, **more), "image", PICTURE)
    yield Hostile("frames.gif", encoded(RED, "gif", save_all=True, append_images=more["append_images"]), "image", RED)
    yield Hostile("frames-default.png", encoded(PICTURE, "png", default_image=True, **more), "image", PICTURE)


def sizes() -> Iterator[Hostile]:
    for w, h in ((1, 1), (30_000, 2), (2, 30_000), (1, 17)):
        image = Image.new("RGB", (w, h), (255, 0, 0))
        for kind in ("png", "bmp"):
            yield Hostile(f"size-{w}x{h}.{kind}", encoded(image, kind), "image", RED)


def modes() -> Iterator[Hostile]:
    """Kinds of pixels."""
    wide = (GREY[..., 0].astype(">u2") * 257).astype(">u2")
    opaque = np.dstack([PICTURE, np.full((SIDE, SIDE), 255, np.uint8)])
    half = np.dstack([RED, np.full((SIDE, SIDE), 128, np.uint8)])
    key = struct.pack(">H", 0)  # of the grey value that is transparent: the first column's
    hole = GREY.copy()
    hole[:, 0] = 255
    palette = Image.fromarray(GREY[..., 0]).convert("P")
    files: dict[str, tuple[bytes, np.ndarray, int]] = {
        "cmyk.jpg": (encoded(Image.fromarray(PICTURE).convert("CMYK"), "jpg", quality=100), PICTURE, 6),
        "ycck.jpg": (ycck(), PICTURE, 10),
        "cmyk.tif": (encoded(Image.fromarray(PICTURE).convert("CMYK"), "tif"), PICTURE, 1),
        "grey16.png": (png(wide, 0, 16), GREY, 0),
        "grey16-hole.png": (png(wide, 0, 16, (SIDE, SIDE), chunk(b"tRNS", key)), hole, 0),
        "grey16.tif": (encoded(Image.fromarray(wide.astype("<u2")), "tif"), GREY, 0),
        "rgb16.png": (png((PICTURE.astype(">u2") * 257).astype(">u2"), 2, 16), PICTURE, 0),
        "rgb16-hole.png": (
            png((PICTURE.astype(">u2") * 257).astype(">u2"), 2, 16, (SIDE, SIDE), chunk(b"tRNS", b"\xff\xff" * 3)),
            PICTURE,
            0,
        ),
        "rgb16.tif": (tiff16(), PICTURE, 0),
        "alpha16.png": (png(np.stack([wide, wide * 0 + 65535], -1).astype(">u2"), 4, 16), GREY, 0),
        "palette-hole.png": (encoded(palette, "png", transparency=0), hole, 0),
        "grey-hole.png": (png(GREY[..., 0], 0, 8, (SIDE, SIDE), chunk(b"tRNS", key)), hole, 0),
        "rgb-no-hole.png": (png(PICTURE, 2, 8, (SIDE, SIDE), chunk(b"tRNS", b"\0\xff" * 3)), PICTURE, 0),
        "opaque.webp": (encoded(opaque, "webp"), PICTURE, 0),
        "half.png": (encoded(half, "png"), np.full_like(RED, (255, 127, 127)), 0),
        "la.png": (encoded(np.dstack([GREY[..., 0], WHITE[..., 0]]), "png"), GREY, 0),
        "bits1.png": (png(np.full((SIDE, 2), 0xFF, np.uint8), 0, 1), WHITE, 0),
        "bits2.png": (png(np.full((SIDE, 4), 0xFF, np.uint8), 0, 2), WHITE, 0),
        "bits4.png": (png(np.full((SIDE, 8), 0xFF, np.uint8), 0, 4), WHITE, 0),
        "bits1.tif": (encoded(Image.new("1", (SIDE, SIDE), 1), "tif"), WHITE, 0),
        "float.tif": (encoded(Image.fromarray(GREY[..., 0].astype(np.float32) / 255), "tif"), GREY, 0),
        "packed.tif": (encoded(PICTURE, "tif", compression="tiff_lzw"), PICTURE, 0),
    }
    for name, (content, pixels, tolerance) in files.items():
        yield Hostile(f"mode-{name}", content, "image", pixels, tolerance)
    for name, value in {"negative": -1.0, "above": 2.0, "nan": float("nan"), "infinite": float("inf")}.items():
        content = encoded(Image.new("F", (SIDE, SIDE), value), "tif")
        yield Hostile(f"mode-{name}.tif", content, "refused", reason="where 0 to 1 are expected")


def contents() -> Iterator[Hostile]:
    """All files of this module: hostile by what is in them."""
    for group in (truncated, misnamed, foreign, bombs, frames, sizes, modes):
        yield from group()
