"""Only regular files are opened, and what a file holds beside its pixels costs bounded memory and time."""

import os
import socket
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data import image_file
from pretextbench.data.decode import decode
from tests.data.hostile import PICTURE, SIDE, chunk, encoded, png

MIB = 2**20


def read(path: Path) -> np.ndarray | str:
    return decode(path, SIDE, "crop")


def listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        back = os.getcwd()
        os.chdir(path.parent)
        server.bind(path.name)
        os.chdir(back)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "not a file: a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "not a file: a device, or a link to one"),
        (lambda path: path.symlink_to("/dev/null"), "not a file: a device"),
        (listen, "not a file: a socket"),
        (lambda path: path.symlink_to("nowhere"), "not a file: a broken link"),
        (lambda path: path.symlink_to(path.name), "not a file: a broken link"),
        (Path.mkdir, "not a file: something else"),
        (Path.touch, "empty: zero bytes"),
        (lambda path: sparse(path, b"\x89PNG\r\n\x1a\n", 5 * 2**30), "too large: 5.0 GiB, and files of at most 2 GiB"),
    ],
)
def test_what_is_not_opened(
    make: Callable[[Path], object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a.png")
    monkeypatch.setattr(image_file.os, "open", lambda *_: pytest.fail("was opened"))
    assert str(read(tmp_path / "a.png")).startswith(reason)


def test_a_file_that_becomes_a_pipe_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.png")
    monkeypatch.setattr(image_file, "regular", lambda _: None)
    assert read(tmp_path / "a.png") == "not a file: it was replaced"


def sparse(path: Path, head: bytes, size: int, tail: bytes = b"") -> None:
    """A file of `size` bytes that takes none on the disk, between `head` and `tail`."""
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(size)
        stream.seek(size)
        stream.write(tail)


WHOLE = png(PICTURE, 2)
BEGIN, END = WHOLE[:33], WHOLE[-12:]


def jpeg_segments(path: Path) -> None:
    jpeg = encoded(PICTURE, "jpg")
    segment = b"\xff\xe1" + struct.pack(">H", 65_535) + b"Exif\0\0" + bytes(65_527)
    path.write_bytes(jpeg[:2] + segment * 600 + jpeg[2:])


def gif_comment(path: Path) -> None:
    gif = encoded(PICTURE, "gif")
    place = gif.index(b"\x2c", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    path.write_bytes(gif[:place] + b"\x21\xfe" + (b"\xff" + bytes(255)) * 20_000 + b"\0" + gif[place:])


def tiff_description(path: Path) -> None:
    tags = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (262, 3, 1, 1), (270, 2, 2**30, 200)]
    packed = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    sparse(path, b"II*\0" + struct.pack("<IH", 8, len(tags)) + packed + bytes(4), 2**30 + 300)


def webp(path: Path) -> None:
    sparse(path, b"RIFF" + struct.pack("<I", 2**30) + b"WEBPVP8 ", 2**30)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: sparse(path, BEGIN + struct.pack(">I", 2**30) + b"tEXt", 2**30 + 50, END),
        lambda path: sparse(path, WHOLE[:-12] + struct.pack(">I", 2**30) + b"tEXt", 2**30 + 500, END),
        lambda path: sparse(path, WHOLE[:-12] + struct.pack(">I", 2**30) + b"prIv", 2**30 + 500, END),
        lambda path: path.write_bytes(BEGIN + chunk(b"tEXt", b"a\0b") * 60_000 + WHOLE[33:]),
        lambda path: path.write_bytes(WHOLE[:-12] + chunk(b"tEXt", b"a\0b") * 60_000 + END),
        jpeg_segments,
        gif_comment,
        tiff_description,
        webp,
    ],
)
def test_what_lies_beside_the_pixels_is_bounded(
    make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With limits of a fortieth, so that the test is quick."""
    make(tmp_path / "a")
    monkeypatch.setattr(image_file, "NOTES", 2 * MIB)
    monkeypatch.setattr(image_file, "HEADS", {head: most // 40 for head, most in image_file.HEADS.items()})
    tracemalloc.start()
    try:
        reason = read(tmp_path / "a")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "of text, profiles or tags" in str(reason)
    assert peak < 40 * MIB


@pytest.mark.parametrize("place", [33, -12])
def test_ordinary_text_is_no_reason_to_refuse(place: int, tmp_path: Path) -> None:
    text = chunk(b"tEXt", b"a\0" + b"b" * MIB) * 20 + chunk(b"tEXt", b"a\0b") * 500
    (tmp_path / "a.png").write_bytes(WHOLE[:place] + text + WHOLE[place:])
    np.testing.assert_array_equal(read(tmp_path / "a.png"), PICTURE)


def test_a_large_picture_that_does_not_compress_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels are no notes, whatever their number: with limits below the size of the files."""
    monkeypatch.setattr(image_file, "NOTES", 2**12)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8))
    for kind in ("png", "bmp", "tif", "jpg"):
        (tmp_path / f"a.{kind}").write_bytes(encoded(noise, kind))
        assert not isinstance(result := read(tmp_path / f"a.{kind}"), str), (kind, result)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"P6\n4 4\n255\n" + bytes(48), "PNM"),
        (bytes(128) + b"DICM" + bytes(200), "DICOM"),
        (b"\n<!DOCTYPE html><h1>429</h1>", "download has failed"),
        (b"%PDF-1.7\n", "PDF"),
        (bytes(5000), "zeros alone"),
        (b"something else", "not an image in a known format (JPEG"),
    ],
)
def test_a_foreign_file_is_refused_with_its_name(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    result = decode(tmp_path / "x.jpg", 8, "crop")
    assert isinstance(result, str)
    assert words in result
