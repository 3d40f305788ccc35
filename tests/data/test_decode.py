"""Unusual, broken and hostile files: converted to known pixels, or refused with a reason, never a traceback."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pretextbench.data import decode as module
from pretextbench.data.decode import decode, decode_all

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def read(path: Path, side: int = 8, fit: Any = "crop") -> np.ndarray:
    result = decode(path, side, fit)
    assert isinstance(result, np.ndarray), result
    assert result.shape == (side, side, 3)
    assert result.dtype == np.uint8
    return result


def same(image: np.ndarray, colour: tuple[int, ...], tolerance: int = 0) -> None:
    assert np.abs(image.astype(int) - np.array(colour)).max() <= tolerance, image[0, 0]


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "jpg", "webp"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    same(read(save(tmp_path / f"a.{suffix}", Image.new("RGB", (8, 8), (200, 100, 50)))), (200, 100, 50), tolerance=3)


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "expected"),
    [
        ("L", 100, "png", (100, 100, 100)),
        ("1", 1, "png", WHITE),
        ("LA", (90, 0), "png", (90, 90, 90)),  # transparent everywhere: alpha is ignored
        ("RGBA", (255, 0, 0, 255), "png", RED),
        ("RGBA", (255, 0, 0, 0), "png", RED),
        ("RGBA", (0, 0, 0, 128), "webp", (127, 127, 127)),
        ("CMYK", (0, 255, 255, 0), "jpg", RED),
        ("CMYK", (0, 255, 255, 0), "tif", RED),
        ("I;16", 257 * 100, "png", (100, 100, 100)),
        ("I;16", 65535, "tif", WHITE),
        ("I", 257 * 7, "tif", (7, 7, 7)),
        ("F", 0.5, "tif", (128, 128, 128)),
        ("YCbCr", (76, 85, 255), "jpg", (254, 0, 0)),
        ("LAB", (255, 128, 128), "tif", WHITE),
    ],
)
def test_modes(tmp_path: Path, mode: str, colour: Any, suffix: str, expected: tuple[int, ...]) -> None:
    same(read(save(tmp_path / f"a.{suffix}", Image.new(mode, (8, 8), colour))), expected, tolerance=2)


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.paste(0, (0, 4, 8, 8))  # below
    image.putpalette([0, 0, 255, 255, 0, 0])
    for name, options, above, below in (
        ("opaque", {}, RED, BLUE),
        ("index", {"transparency": 1}, WHITE, BLUE),
        ("bytes", {"transparency": b"\x00\xff"}, RED, WHITE),
    ):
        pixels = read(save(tmp_path / f"{name}.png", image, **options))
        same(pixels[:4], above)
        same(pixels[4:], below)


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("webp", {"lossless": True}), ("png", {}), ("tif", {})])
def test_first_frame(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    path = save(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
    same(read(path), RED)


def halves(wide: int, high: int) -> Image.Image:
    """Upper half red, lower half blue."""
    image = Image.new("RGB", (wide, high), RED)
    image.paste(BLUE, (0, high // 2, wide, high))
    return image


@pytest.mark.parametrize(
    ("orientation", "edge"),
    [
        (1, np.s_[0]),
        (3, np.s_[-1]),
        (6, np.s_[:, -1]),
        (8, np.s_[:, 0]),
        (2, np.s_[0]),
        (4, np.s_[-1]),
        (5, np.s_[:, 0]),
    ],
)
def test_exif_orientation(tmp_path: Path, orientation: int, edge: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read(save(tmp_path / "a.png", halves(8, 8), exif=exif))
    same(image[edge], RED)


def test_broken_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", halves(16, 16), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x00garbage")
    results = list(decode_all([path], 8, "crop"))
    assert isinstance(results[0], np.ndarray), results


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_fit(tmp_path: Path, suffix: str) -> None:
    image = Image.new("RGB", (400, 200), GREEN)  # green in the middle, red left, blue right
    image.paste(RED, (0, 0, 100, 200))
    image.paste(BLUE, (300, 0, 400, 200))
    path = save(tmp_path / f"a.{suffix}", image)
    same(read(path, fit="crop"), GREEN, tolerance=45)  # the scaling filter looks a little over the edge
    squashed, padded = read(path, fit="squash"), read(path, fit="pad")
    same(squashed[:, 0], RED, tolerance=45)
    same(squashed[:, -1], BLUE, tolerance=45)
    same(padded[:2], (0, 0, 0))
    same(padded[-2:], (0, 0, 0))
    same(padded[2:6, 3:5], GREEN, tolerance=45)


def test_the_right_size_is_left_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(read(save(tmp_path / "a.png", Image.fromarray(pixels))), pixels)


def test_shrinking_averages(tmp_path: Path) -> None:
    checker = (np.indices((512, 512)).sum(0) % 2 * 255).astype(
        np.uint8
    )  # sampling without a filter would give 0 or 255
    for suffix in ("png", "bmp"):
        same(read(save(tmp_path / f"a.{suffix}", Image.fromarray(checker))), (128, 128, 128), tolerance=3)


def test_a_large_jpeg_decoded_small_looks_like_one_decoded_whole(tmp_path: Path) -> None:
    y, x = np.mgrid[0:1200, 0:1600]
    pixels = np.stack([x / 1600 * 255, y / 1200 * 255, 128 + 100 * np.sin(x / 90)], -1).astype(np.uint8)
    whole = Image.fromarray(pixels).crop((200, 0, 1400, 1200)).resize((32, 32), Image.Resampling.LANCZOS)
    got = read(save(tmp_path / "a.jpg", Image.fromarray(pixels), quality=95), side=32)
    assert np.abs(got.astype(int) - np.asarray(whole)).mean() < 1.5


@pytest.mark.parametrize(("w", "h"), [(1, 1), (1, 3000), (3000, 1), (3, 2)])
@pytest.mark.parametrize("fit", ["crop", "squash", "pad"])
def test_extreme_shapes(tmp_path: Path, w: int, h: int, fit: str) -> None:
    read(save(tmp_path / "a.png", Image.new("RGB", (w, h), RED)), fit=fit)


def test_wrong_suffix(tmp_path: Path) -> None:
    save(tmp_path / "a.png", Image.new("RGB", (8, 8), RED))
    same(read((tmp_path / "a.png").rename(tmp_path / "b.jpg")), RED)
    (tmp_path / "c.jpg").write_text("not an image at all")
    assert decode(tmp_path / "c.jpg", 8, "crop") == ("not an image in a known format (JPEG, PNG, WEBP, BMP, GIF, TIFF)")


def test_what_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "empty.png").touch()
    assert "broken link" in str(decode(tmp_path / "link.png", 8, "crop"))
    assert decode(tmp_path / "empty.png", 8, "crop") == "empty: zero bytes"


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    content = save(tmp_path / f"a.{suffix}", Image.fromarray(pixels)).read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(content[: int(share * len(content))])
    reason = decode(tmp_path / f"a.{suffix}", 8, "crop")
    assert isinstance(reason, str), "half an image is no image"
    assert len(reason) > 8


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_flipped_bytes_never_raise(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # a flipped size is else allowed to take seconds
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    content = np.frombuffer(save(tmp_path / f"a.{suffix}", Image.fromarray(pixels)).read_bytes(), np.uint8)
    paths = []
    for i in range(60):
        broken = content.copy()
        broken[rng.integers(0, min(len(broken), 200), 4)] = rng.integers(0, 256, 4)
        paths.append(tmp_path / f"{i}.{suffix}")
        paths[-1].write_bytes(broken.tobytes())
    for result in decode_all(paths, 8, "crop"):
        assert isinstance(result, str) or result.shape == (8, 8, 3)


def test_decompression_bomb(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = save(tmp_path / "a.png", Image.new("RGB", (8, 8))).read_bytes()
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "a.png").write_bytes(png[:8] + chunk + png[33:])
    assert "too large: more than" in str(decode(tmp_path / "a.png", 8, "crop"))


def test_large_but_allowed_gives_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 40 x 40 is above this, where Pillow warns, below twice
    result = list(decode_all([save(tmp_path / "a.png", Image.new("RGB", (40, 40), RED))], 8, "crop"))
    same(result[0], RED)  # type: ignore[arg-type]


def test_numbers_that_are_no_picture(tmp_path: Path) -> None:
    for i, value in enumerate((-1.0, 2.0, float("nan"))):
        path = save(tmp_path / f"{i}.tif", Image.new("F", (8, 8), value))
        assert "where 0 to 1 are expected" in str(decode(path, 8, "crop"))


def test_order_is_kept_over_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_FILES", 4)
    paths = [save(tmp_path / f"{i}.png", Image.new("L", (8, 8), i)) for i in range(10)]
    assert [int(image[0, 0, 0]) for image in decode_all(paths, 8, "crop")] == list(range(10))  # type: ignore[arg-type]
