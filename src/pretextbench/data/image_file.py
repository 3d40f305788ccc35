"""An image file as Pillow may read it: a regular file of bounded size, whose head costs bounded memory and time.

Formats allow a file gigabytes of text, profiles and tags in addition to its pixels. So the bytes that Pillow reads,
and its calls, are counted.
"""

import contextlib
import io
import logging
import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as pil
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

logging.getLogger("PIL").addHandler(logging.NullHandler())  # without one it writes to the terminal
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow knows more, some of them run other programs
MOST_BYTES = 2 * 2**30  # of a file
MIB = 2**20
NOTES = 64 * MIB  # bytes of text, profiles and tags
HEADS = {  # first bytes -> the same for some formats, which Pillow reads in other ways
    b"GIF8": MIB,  # it puts a comment together piece by piece, so that the time grows with the square of the length
    b"\xff\xd8\xff": 32 * MIB,  # the same with EXIF, in larger pieces
    b"RIFF": 256 * MIB,  # WebP: read whole
}
READS = 20_000  # calls, and another for each EACH bytes of the file: chunks, segments and tags have a few each
EACH = 100
# Pixels that a byte of a file can hold, at most. Deflate packs 1032 bytes into one, of 8 pixels each; JPEG spends a bit
# on a block of 64 (arithmetic codes may do with less, where nothing is to be seen).
DENSEST = {"PNG": 8 * 1032, "JPEG": 8 * 64}
WIDEST = {"PNG": 8, "JPEG": 8, "BMP": 4}  # bytes of a pixel that is not compressed: no picture needs more
FIRST = 256  # bytes by which a foreign format is known
FOREIGN = (  # first bytes of files that are often named like images -> what they are, and what to do
    (rb"version https://git-lfs", "a pointer of Git LFS: run `git lfs pull`"),
    (rb"....ftyp(hei|hev|mif1|msf1|avi)", "HEIC or AVIF: convert it"),
    (rb"....(jP  |JXL )|\xff\x4f\xff\x51|\xff\x0a", "JPEG 2000 or JPEG XL: convert it to PNG"),
    (rb"P[1-7]\s", "PNM (.ppm, .pgm): convert it to PNG"),
    (rb".{128}DICM", "DICOM: export it to PNG"),
    (rb"\s*<(\?xml|svg|!doctype|html)", "text (HTML, XML or SVG): a download has failed?"),
    (rb"%PDF", "a PDF document"),
    (rb"\0+$", "zeros alone: a copy or a download has failed"),
)
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
SAMPLES = {1: "whole numbers", 2: "signed whole numbers", 3: "floating point numbers"}  # by the tag SampleFormat
KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


class Refusal(Exception):
    """A file that is not read; the message is the reason, for people."""


class Metered(io.BufferedReader):
    """A file that Pillow reads; refuses to go on above a number of bytes and of calls."""

    bytes_left: float = NOTES
    most: float = NOTES  # of those, bytes that are not pixels
    reads_left: float = math.inf

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes.

        Raises:
            Refusal: too many of them, or in too many pieces.
        """
        most = min(self.bytes_left, MOST_BYTES) + 1
        content = super().read(int(most) if size is None or size < 0 else int(min(size, most)))
        self.bytes_left -= len(content)
        self.reads_left -= 1
        if self.bytes_left < 0:
            raise Refusal(f"too large: more than {self.most / MIB:g} MiB of text, profiles or tags, pixels not counted")
        if self.reads_left < 0:
            raise Refusal("too large: tens of thousands of pieces of text, profiles or tags")
        return content

    def limit(self, size: int) -> None:
        """Set the limits for a file of this size, which depend on its format."""
        head = self.peek(8)
        self.most = next((most for first, most in HEADS.items() if head.startswith(first)), NOTES)
        self.bytes_left, self.reads_left = self.most, READS + size // EACH


def open_regular(path: Path) -> tuple[Metered, int]:
    """A regular file, opened, and its size in bytes.

    Raises:
        Refusal: see `regular`.
        OSError: it cannot be opened.
    """
    regular(path)
    stream = Metered(io.FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)))  # a pipe came meanwhile?
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode):
        stream.close()
        raise Refusal("not a file: it was replaced")
    return stream, status.st_size


@contextlib.contextmanager
def opened(path: Path) -> Iterator[pil.Image]:
    """An image whose head has been read: its format, mode and size are known, its pixels are not read yet.

    Raises:
        Refusal: the file is not one that is read, or its size and its pixels do not go together.
        Exception: any that Pillow raises for broken bytes.
    """
    stream, size = open_regular(path)
    with stream:
        stream.limit(size)
        try:
            image = pil.open(stream, formats=FORMATS)
        except UnidentifiedImageError:
            raise Refusal(_unknown(stream)) from None
        with image:
            pixels, kind = image.width * image.height, image.format or ""
            if pixels > DENSEST.get(kind, pixels) * size:  # before memory is taken for them
                announced = f"the {image.width} x {image.height} pixels that they announce"
                raise Refusal(f"damaged: {size:,} bytes cannot hold {announced}")
            stream.bytes_left = stream.most + pixels * WIDEST.get(kind, math.inf)
            if kind != "PNG":  # whose text may follow the pixels
                stream.reads_left = math.inf
            yield image


def _unknown(stream: Metered) -> str:
    """The reason why Pillow does not know a file."""
    stream.seek(0)
    head = stream.read(FIRST)
    if head[:4] in TIFF:
        with contextlib.suppress(Exception):  # a parser given broken bytes may raise anything
            return _unknown_tiff(stream)
    for first, kind in FOREIGN:
        if re.match(first, head, re.DOTALL | re.IGNORECASE):
            return f"not an image in a known format, but {kind}"
    return f"not an image in a known format ({', '.join(FORMATS)})"


def _unknown_tiff(stream: Metered) -> str:
    stream.seek(0)
    directory = ImageFileDirectory_v2(stream.read(8))
    stream.seek(directory.next)
    directory.load(stream)
    bands, depth = directory.get(277, 1), directory.get(258, (1,))[0]
    numbers = SAMPLES.get(directory.get(339, (1,))[0], "other numbers")
    return (
        f"a TIFF with {bands} band{'s' if bands > 1 else ''} of {depth}-bit {numbers}, which is not read. These are: "
        "1 band of 8, 16 or 32 bits, and RGB of 8 or 16 bits, with or without alpha. Write the bands that matter so"
    )


def extra_bands(image: pil.Image) -> int:
    """Bands of a TIFF that are neither colour nor alpha: Pillow leaves them out."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return 0
    colour = {2: 3, 5: 4, 6: 3, 8: 3}.get(tags.get(262, 1), 1)  # by the tag PhotometricInterpretation
    alpha = bool({1, 2} & set(tags.get(338, (1,))[:1]))  # a band without a word on its meaning is taken for alpha
    return max(0, int(tags.get(277, 1)) - colour - alpha)


def regular(path: Path) -> os.stat_result:
    """The status of a regular file that is not empty and not too large; links are followed, nothing is opened.

    Raises:
        Refusal: it is something else: opening a pipe would wait for a writer, and a device may never end.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        if os.path.islink(path):
            raise Refusal("not a file: a broken link") from None
        raise Refusal(f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise Refusal(f"not a file: {KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, or a link to one")
    if status.st_size == 0:
        raise Refusal("empty: zero bytes")
    if status.st_size > MOST_BYTES:
        raise Refusal(
            f"too large: {status.st_size / 2**30:.1f} GiB, and files of at most {MOST_BYTES // 2**30} GiB are read"
        )
    return status
