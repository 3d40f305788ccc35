"""Deep grey, alpha, bands and contrast: which pixels come out of a set, and what its card says of them."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.base.names import by_reason
from pretextbench.data.folder import listing
from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Card, Prepared
from pretextbench.errors import UserError
from pretextbench.params import Prepare

SIDE, FILES = 16, 12
Put = Callable[[Path, int], object]
HIDDEN = "have an alpha that hides nearly all of the picture: it is ignored."
BANDS = "have bands that are neither colour nor alpha: these bands are left out."


def tiff(path: Path, values: np.ndarray, photometric: int = 1, kind: int = 1, extra: tuple[int, ...] = ()) -> None:
    """A plain TIFF of (H, W) or (H, W, bands) little-endian values; `kind` is 1, 2 or 3: unsigned, int, float."""
    bands = values.reshape(SIDE, SIDE, -1).shape[2]
    data, bits = np.ascontiguousarray(values).tobytes(), values.dtype.itemsize * 8
    blobs = {258: [bits] * bands, 338: list(extra), 339: [kind] * bands}
    tags = {256: SIDE, 257: SIDE, 259: 1, 262: photometric, 273: 8, 277: bands, 278: SIDE, 279: len(data)}
    after, tail = 8 + len(data), b""
    for tag in sorted({*tags, *(tag for tag, shorts in blobs.items() if shorts)}):
        shorts = blobs.get(tag, [])
        packed = struct.pack(f"<{len(shorts)}H", *shorts)
        if len(packed) > 4:
            tail += struct.pack("<HHII", tag, 3, len(shorts), after)
            after, data = after + len(packed), data + packed
        elif shorts:
            tail += struct.pack("<HHI", tag, 3, len(shorts)) + packed.ljust(4, b"\0")
        else:
            tail += struct.pack("<HHII", tag, 4, 1, tags[tag])
    path.write_bytes(b"II*\0" + struct.pack("<I", after) + data + struct.pack("<H", len(tail) // 12) + tail + bytes(4))


def grey(i: int, dtype: str = "<u2") -> np.ndarray:
    """(SIDE, SIDE), 0 .. 240 in the set, another picture for every number."""
    return np.random.default_rng(i).integers(0, 241, (SIDE, SIDE)).astype(dtype)


def colour(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def prepared(tmp_path: Path, put: Put, suffix: str = "tif") -> tuple[Card, dict[str, np.ndarray]]:
    """The card, and name of file -> pixels, of FILES images."""
    (tmp_path / "in").mkdir()
    for i in range(FILES):
        put(tmp_path / "in" / f"{i}.{suffix}", i)
    params = Prepare(source="folder", path=str(tmp_path / "in"), image_size=SIDE)
    card = prepare(params, tmp_path / "images", tmp_path / "labels")
    names = (tmp_path / "labels" / "files.txt").read_text().splitlines()
    data = Prepared(tmp_path / "images")
    pixels = np.concatenate([data.images(split) for split in ("train", "val", "test")])
    return card, dict(zip(names, pixels, strict=True))


@pytest.mark.parametrize(
    ("values", "kind", "grey_range"),
    [
        (lambda i: grey(i, "<u4"), 1, (0, 240)),
        (lambda i: grey(i) * 17, 1, (0, 4080)),  # 12 bits in 16
        (lambda i: 30_000 + grey(i), 1, (30_000, 30_240)),
        (lambda i: grey(i, "<i2") - 100, 2, (-100, 140)),
        (lambda i: grey(i, "<u4") * 17_000_000, 1, (0, 4_080_000_000)),
        (lambda i: grey(i, "<i4") * 10_000 - 5, 2, (-5, 2_399_995)),
        (lambda i: grey(i) * 273, 1, None),  # 0 .. 65,520: as always by 65,535
        (lambda i: 40_000 + grey(i) * 70, 1, None),  # a quarter is enough
    ],
)
def test_deep_grey_is_scaled_by_the_range_of_the_set(
    tmp_path: Path, values: Callable[[int], np.ndarray], kind: int, grey_range: tuple[int, int] | None
) -> None:
    card, pixels = prepared(tmp_path, lambda path, i: tiff(path, values(i), kind=kind))
    assert card.grey_range == grey_range
    black, white = grey_range or (0, 65535)
    for i in range(FILES):
        expected = np.round((values(i).astype(np.float64) - black) * (255 / (white - black)))
        np.testing.assert_array_equal(pixels[f"{i}.tif"], np.repeat(expected[..., None], 3, -1))
    range_notes = [note for note in card.notes if f"values from {black:,} to {white:,}" in note]
    assert len(range_notes) == (grey_range is not None)
    assert ("grey_range" in (tmp_path / "images" / "card.json").read_text()) == (grey_range is not None)


def test_a_set_of_one_grey_value_has_no_range(tmp_path: Path) -> None:
    card, pixels = prepared(tmp_path, lambda path, i: tiff(path, np.full((SIDE, SIDE), 257 * 9, "<u2")))
    assert card.grey_range is None
    assert all((image == 9).all() for image in pixels.values())


def test_other_images_of_the_set_stay_as_they_are(tmp_path: Path) -> None:
    def put(path: Path, i: int) -> None:
        tiff(path, grey(i)) if i % 2 else tiff(path, colour(i), 2)

    _, pixels = prepared(tmp_path, put)
    np.testing.assert_array_equal(pixels["2.tif"], colour(2))
    assert pixels["3.tif"].max() > 230


def alpha(path: Path, i: int, values: np.ndarray) -> None:
    Image.fromarray(np.dstack([colour(i), np.broadcast_to(values, (SIDE, SIDE)).astype(np.uint8)])).save(path)


SPOT = np.where(np.arange(SIDE * SIDE).reshape(SIDE, SIDE) < 8, 255, 0)


@pytest.mark.parametrize(
    ("suffix", "put", "note"),
    [
        ("tif", lambda path, i: tiff(path, np.dstack([colour(i), grey(i, "u1")]), 2, extra=(0,)), BANDS),
        ("tif", lambda path, i: tiff(path, np.dstack([colour(i)] + [grey(i, "u1")] * 2), 2, extra=(0, 0)), BANDS),
        ("tif", lambda path, i: tiff(path, np.dstack([colour(i), grey(i, "u1")]) // 2, 2, extra=(2,)), HIDDEN),
        ("png", lambda path, i: alpha(path, i, np.zeros(1)), HIDDEN),
        ("png", lambda path, i: alpha(path, i, np.full(1, 3)), HIDDEN),
        ("png", lambda path, i: alpha(path, i, np.full(1, 255)), None),
    ],
)
def test_the_picture_stays_where_a_band_is_no_alpha(tmp_path: Path, suffix: str, put: Put, note: str | None) -> None:
    card, pixels = prepared(tmp_path, put, suffix)
    for i in range(FILES):
        expected = colour(i) // 2 if note == HIDDEN and suffix == "tif" else colour(i)
        np.testing.assert_array_equal(pixels[f"{i}.{suffix}"], expected)
    assert [text for text in card.notes if "band" in text or "alpha" in text] == (
        [f"{FILES} images {note}"] * bool(note)
    )


def test_two_bands_are_grey_and_a_band_that_is_left_out(tmp_path: Path) -> None:
    card, pixels = prepared(tmp_path, lambda path, i: tiff(path, colour(i)[..., :2], extra=(0,)))
    np.testing.assert_array_equal(pixels["1.tif"], np.repeat(colour(1)[..., :1], 3, -1))
    assert f"{FILES} images {BANDS}" in card.notes


def test_a_small_thing_on_a_clear_ground_is_laid_over_white(tmp_path: Path) -> None:
    card, pixels = prepared(tmp_path, lambda path, i: alpha(path, i, SPOT), "png")
    np.testing.assert_array_equal(pixels["0.png"], np.where(SPOT[..., None] > 0, colour(0), 255))
    assert not [note for note in card.notes if "alpha" in note]


def test_an_alpha_that_is_partial_everywhere_is_questioned(tmp_path: Path) -> None:
    card, _ = prepared(tmp_path, lambda path, i: alpha(path, i, np.full(1, 200)), "png")
    assert [note for note in card.notes if f"{FILES} images have an alpha that is partial over most" in note]


@pytest.mark.parametrize(
    ("values", "photometric", "kind", "reason"),
    [
        (np.zeros((SIDE, SIDE, 13), np.uint8), 1, 1, "a TIFF with 13 bands of 8-bit whole numbers, which is not read"),
        (np.zeros((SIDE, SIDE, 13), "<u2"), 1, 1, "a TIFF with 13 bands of 16-bit whole numbers"),
        (np.zeros((SIDE, SIDE, 3), "<f4"), 2, 3, "a TIFF with 3 bands of 32-bit floating point numbers"),
        (np.zeros((SIDE, SIDE), "<f8"), 1, 3, "a TIFF with 1 band of 64-bit floating point numbers"),
        (np.zeros((SIDE, SIDE, 5), np.uint8), 1, 1, "a TIFF with 5 bands of 8-bit whole numbers"),
    ],
)
def test_what_is_not_read_is_called_by_its_name_once(
    tmp_path: Path, values: np.ndarray, photometric: int, kind: int, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    extra = (0,) * (values.reshape(SIDE, SIDE, -1).shape[2] - (3 if photometric == 2 else 1))
    with pytest.raises(UserError) as caught:
        prepared(tmp_path, lambda path, i: tiff(path, values, photometric, kind, extra))
    assert str(caught.value).count("a TIFF with") == 1
    assert reason in str(caught.value)
    assert "1 band of 8, 16 or 32 bits, and RGB of 8 or 16 bits" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_reasons_that_differ_in_numbers_are_told_once() -> None:
    refused = [(f"{i}.tif", f"floating point values from {i} to 2{i}.5e+07, where 0 to 1") for i in range(9)]
    assert list(by_reason([*refused, ("x\n.tif", "empty")], 5)) == [
        "9 files (0.tif, 1.tif, 2.tif, ...): floating point values from 0 to 20.5e+07, where 0 to 1",
        "x\\n.tif: empty",
    ]


@pytest.mark.parametrize(("flat", "messages"), [(FILES, True), (1, True), (0, False)])
def test_pictures_of_one_colour_are_told(tmp_path: Path, flat: int, messages: bool) -> None:
    def put(path: Path, i: int) -> None:
        Image.fromarray(colour(i) // (100 if i < flat else 1)).save(path)

    card, _ = prepared(tmp_path, put, "png")
    notes = [note for note in card.notes if f"{flat} of {FILES} images have hardly any contrast" in note]
    assert len(notes) == messages


def test_a_listing_tells_what_a_part_of_it_shows(tmp_path: Path) -> None:
    for i in range(4):
        tiff(tmp_path / f"{i}.tif", grey(i))
    result = listing(tmp_path, SIDE, "crop")
    list(result.read([0, 1]))
    low, high = result.rescale() or (0, 0)
    assert (low, high) == (min(grey(0).min(), grey(1).min()), max(grey(0).max(), grey(1).max()))
    assert result.rescale() is None, "once"
