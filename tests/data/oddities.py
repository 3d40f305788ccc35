"""Hostile files, continued: odd by their metadata and segments, their names, or by what they are in the file system."""

import base64
import os
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.hostile import NOISE, PICTURE, SIDE, Hostile, _png, chunk, encoded, interlaced, png

TURNED = {  # what EXIF calls 1 .. 8: the stored pixels of the upright picture
    1: PICTURE,
    2: PICTURE[:, ::-1],
    3: PICTURE[::-1, ::-1],
    4: PICTURE[::-1],
    5: PICTURE.transpose(1, 0, 2),
    6: np.rot90(PICTURE),
    7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(PICTURE, -1),
}
# By cjpeg -arithmetic -quality 90, of the grey picture 16 * X: Pillow writes none.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGBYU"
    "GBIUFRT/yQALCAAQABABAREA/8wABgAQEAX/2gAIAQEAAD8A/wDcG+GvECZ7+yuBZff2Q/6f7TJdVuP/2Q=="
)


def exif(orientation: int) -> bytes:
    """EXIF with nothing but an orientation."""
    result = Image.Exif()
    result[0x0112] = orientation
    return result.tobytes()


def directory(*tags: tuple[int, int, int, int], more: int = 0) -> bytes:
    """EXIF with a directory of raw tags (tag, type, count, value), whose next directory is at `more`."""
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + packed + struct.pack("<I", more)


def turned() -> Iterator[Hostile]:
    for orientation, stored in TURNED.items():
        for kind, tolerance in (("png", 0), ("webp", 0), ("tif", 0), ("jpg", 8)):
            options = {"quality": 100, "subsampling": 0} if kind == "jpg" else {}
            content = encoded(np.ascontiguousarray(stored), kind, exif=exif(orientation), **options)
            yield Hostile(f"turned-{orientation}.{kind}", content, "image", PICTURE, tolerance)


def broken_exif() -> Iterator[Hostile]:
    """EXIF is no reason to refuse a picture; the orientation counts where it can be read."""
    side = np.ascontiguousarray(TURNED[6])
    turn = (0x0112, 3, 1, 6)
    cases = {
        "nine": (PICTURE, directory((0x0112, 3, 1, 9))),
        "zero": (PICTURE, directory((0x0112, 3, 1, 0))),
        "text": (PICTURE, directory((0x0112, 2, 4, 0x36363636))),
        "two": (side, directory((0x0112, 3, 2, 6 << 16 | 6))),
        "rational": (PICTURE, directory((0x0112, 5, 1, 4000))),
        "garbage": (PICTURE, b"Exif\0\0II*\0\xff\xff\xff\x00garbage"),
        "short": (PICTURE, b"Exif\0\0II*\0"),
        "empty": (PICTURE, b"Exif\0\0"),
        "not-tiff": (PICTURE, b"Exif\0\0" + bytes(40)),
        "many": (PICTURE, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(20)),
        "loop": (side, directory(turn, more=8)),
        "pointer": (side, directory(turn, (0x8769, 4, 1, 8), (0x8825, 4, 1, 2**32 - 1))),
        "type": (side, directory(turn, (0x0131, 99, 1, 1), (0x010F, 2, 2**31, 8))),
        "undone": (side, directory(turn, (0x8769, 2, 4, 0x41414141))),
        "ratio": (side, directory(turn, (0x011A, 5, 1, 2**31))),
    }
    for name, (pixels, raw) in cases.items():
        for kind, tolerance in (("jpg", 10), ("png", 0)):
            content = encoded(pixels, kind, exif=raw, **({"quality": 100, "subsampling": 0} if kind == "jpg" else {}))
            yield Hostile(f"exif-{name}.{kind}", content, "image", PICTURE, tolerance)


def segments() -> Iterator[Hostile]:
    """Profiles, scans, chunks."""
    noise = encoded(NOISE, "png")
    flipped = bytearray(noise)
    flipped[60] ^= 0xFF
    idat = noise[noise.index(b"IDAT") - 4 : -12]
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    grey = np.repeat(PICTURE[..., :1], 3, -1)
    high = {"quality": 100, "subsampling": 0}
    yield Hostile("icc-broken.jpg", encoded(PICTURE, "jpg", icc_profile=b"nonsense", **high), "image", PICTURE, 8)
    yield Hostile("icc-broken.png", encoded(PICTURE, "png", icc_profile=b"nonsense"), "image", PICTURE)
    yield Hostile("icc-broken.webp", encoded(PICTURE, "webp", icc_profile=b"nonsense"), "image", PICTURE)
    yield Hostile("progressive.jpg", encoded(PICTURE, "jpg", progressive=True, **high), "image", PICTURE, 8)
    yield Hostile("arithmetic.jpg", ARITHMETIC, "image", grey, 2)
    yield Hostile("interlaced.png", interlaced(), "image", PICTURE)
    yield Hostile("interlaced-half.png", interlaced()[:-60], "refused")
    empty = (chunk(b"tEXt"), chunk(b"abCd"), chunk(b"IDAT"))
    yield Hostile("chunks-empty.png", _png(header, *empty, idat, chunk(b"IDAT")), "image", NOISE)
    yield Hostile("chunks-none.png", _png(header), "refused")
    yield Hostile("chunks-palette.png", png(PICTURE[..., 0], 3), "refused")
    yield Hostile("chunks-crc.png", bytes(flipped), "refused")
    yield Hostile("chunks-long.png", _png(header, b"\xff\xff\xff\xffIDAT"), "refused")
    yield Hostile("chunks-short-header.png", _png(header[:6], idat), "refused")
    yield Hostile("chunks-size-0.png", _png(bytes(8) + header[8:], idat), "refused")
    yield Hostile("chunks-mode.png", _png(header[:8] + b"\x07\x09" + header[10:], idat), "refused")
    yield Hostile("comment.jpg", encoded(PICTURE, "jpg", comment=b"<script>" * 4000, **high), "image", PICTURE, 8)


def polyglots() -> Iterator[Hostile]:
    """One file, two meanings: the image is read, the rest is nothing."""

    def zipped(path: Path) -> None:
        path.write_bytes(encoded(PICTURE, "png"))
        with zipfile.ZipFile(path, "a") as stream:
            stream.writestr("../../evil.py", "raise SystemExit")

    yield Hostile("polyglot-zip.png", zipped, "image", PICTURE)
    yield Hostile("polyglot-html.png", encoded(PICTURE, "png") + b"<script>alert(1)</script>", "image", PICTURE)
    yield Hostile("polyglot-php.jpg", encoded(PICTURE, "jpg", comment=b"<?php evil();"), "image", PICTURE, 16)
    yield Hostile("polyglot-pdf.png", b"%PDF-1.7\n" + encoded(PICTURE, "png"), "refused")


def named() -> Iterator[Hostile]:
    """Good pictures with bad names."""
    names = [
        *("line\nbreak.png", "return\rtab\t.png", "line\u2028separator\x85.png", "escape\x1b[2J.png"),
        *("turn\u202egnp.png", "emoji \U0001f469\u200d\U0001f52c.png", "not-utf8-\udcff\udc80.png", "e\u0301.png"),
        *("空.png", "-rf.png", "--help.png", "$(touch evil).png", "`touch evil`.png", "; touch evil.png"),
        *("a && b | c > d.png", "=1+1.png", "%s%n{0}.png", "<b>&amp;.png", "'\"\\.png", "${item.method}.png"),
        *("*.png", "~.png", "CON.png", " .png", "UPPER.PNG", "a.JPeG", "x" * 251 + ".png", "a,b;c\t.png"),
        *("#- yes: [no].png", "|cell|.png", "dots...png"),
    ]
    for name in names:
        yield Hostile(name, encoded(PICTURE, "png"), "image", PICTURE)
    for name in (".png", ".hidden.jpg", "Thumbs.db", "image.png.exe", "image.png.", "image.png ", "suffix.\n"):
        yield Hostile(name, encoded(PICTURE, "png"), "ignored")


def special() -> Iterator[Hostile]:
    """What is no ordinary file."""

    def loop(path: Path) -> None:
        path.symlink_to(path.name)

    def cycle(path: Path) -> None:
        path.symlink_to("cycle-2.jpg")
        (path.parent / "cycle-2.jpg").symlink_to(path.name)

    def listen(path: Path) -> None:
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:  # by the descriptor: the address has room for 100 characters
            server.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)

    def outside(path: Path) -> None:
        target = path.parent.parent.parent / "outside.png"
        target.write_bytes(encoded(PICTURE, "png"))
        path.symlink_to(target)

    yield Hostile("link-loop.jpg", loop, "refused", reason="broken link")
    yield Hostile("link-cycle.jpg", cycle, "refused", reason="broken link")
    yield Hostile("link-dangling.png", lambda path: path.symlink_to("nowhere.png"), "refused", reason="broken link")
    yield Hostile("link-dangling", lambda path: path.symlink_to("nowhere"), "ignored")
    yield Hostile("link-outside.png", outside, "image", PICTURE)
    yield Hostile("link-device.jpg", lambda path: path.symlink_to("/dev/zero"), "refused", reason="not a file")
    yield Hostile("pipe.jpg", os.mkfifo, "refused", reason="not a file")
    yield Hostile("pipe", os.mkfifo, "ignored")
    yield Hostile("socket.png", listen, "refused", reason="not a file")


def oddities() -> Iterator[Hostile]:
    """All files of this module."""
    for group in (turned, broken_exif, segments, polyglots, named, special):
        yield from group()
