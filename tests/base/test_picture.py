"""Grids for people: every cell lies where its row and column say, and shows the pixels it was given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pretextbench.base.picture import CELL, GAP, LINE, PAPER, draw, grid, to_image
from pretextbench.method import Picture


def colours(rows: int, columns: int, side: int = 32) -> Tensor:
    """Cells of one colour each: red says the row, green the column."""
    images = torch.zeros(rows, columns, 3, side, side)
    for r in range(rows):
        for c in range(columns):
            images[r, c] = torch.tensor([(r + 1) / 8, (c + 1) / 8, 0.5]).view(3, 1, 1)
    return images


def expected(row: int, column: int) -> tuple[int, ...]:
    return tuple(round(v * 255) for v in ((row + 1) / 8, (column + 1) / 8, 0.5))


@pytest.mark.parametrize(("side", "shown"), [(8, 96), (32, 96), (40, 80), (96, 96), (200, 200)])
def test_small_images_are_enlarged_by_whole_factors(side: int, shown: int) -> None:
    x = torch.rand(3, side, side)
    image = np.asarray(to_image(x))
    factor = shown // side
    assert image.shape == (shown, shown, 3)
    pixels = (x.permute(1, 2, 0) * 255).round().byte().numpy()
    assert np.array_equal(image, pixels.repeat(factor, 0).repeat(factor, 1))  # no interpolation


def test_values_outside_the_range_are_clamped_and_half_precision_is_fine() -> None:
    x = torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1).expand(3, CELL, CELL)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert to_image(x.to(dtype)).getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize("captions", [(), (("a", "b", "c"), ("d", "e", "f"))])
def test_cells_lie_in_their_row_and_column(captions: tuple[tuple[str, ...], ...]) -> None:
    sheet = grid(Picture("title", ("one", "two", "three"), colours(2, 3), captions))
    text = LINE if captions else 0
    for row in range(2):
        for column in range(3):
            x, y = GAP + column * (CELL + GAP), 2 * LINE + 3 * GAP + row * (CELL + GAP + text)
            for corner in [(x, y), (x + CELL - 1, y + CELL - 1)]:
                assert sheet.getpixel(corner) == expected(row, column)
            assert sheet.getpixel((x - 1, y)) == PAPER
    assert sheet.size == (3 * (CELL + GAP) + GAP, 2 * (CELL + GAP + text) + 2 * LINE + 3 * GAP)


def test_captions_headers_and_title_leave_ink() -> None:
    bare = np.asarray(grid(Picture("", ("", ""), colours(1, 2), (("", ""),)))).astype(int)
    for picture in (
        Picture("title", ("", ""), colours(1, 2), (("", ""),)),
        Picture("", ("", "two"), colours(1, 2), (("", ""),)),
        Picture("", ("", ""), colours(1, 2), (("", "says 90"),)),
    ):
        assert (np.asarray(grid(picture)).astype(int) != bare).sum() > 20


def test_more_headers_than_columns_do_not_run_off_the_sheet() -> None:
    assert grid(Picture("t", ("a", "b", "c"), colours(1, 1))).size[0] == CELL + 2 * GAP


def test_a_title_is_as_wide_as_it_has_to_be() -> None:
    """It was cut off above a narrow picture."""
    narrow = grid(Picture("own key, then the nearest keys of the queue", ("",), colours(1, 1)))
    short = grid(Picture("", ("",), colours(1, 1)))
    assert short.size[0] == CELL + 2 * GAP
    top = np.asarray(narrow)[: GAP + LINE]
    dark = np.flatnonzero((top < 128).all(2).any(0))
    assert 2 * CELL < dark.max() < narrow.size[0] - 1


def test_pictures_stand_below_each_other_in_one_png(tmp_path: Path) -> None:
    pictures = [Picture("first", ("a",), colours(1, 1)), Picture("second", ("a", "b"), colours(2, 2))]
    draw(pictures, tmp_path / "deep" / "page.png")
    page = Image.open(tmp_path / "deep" / "page.png")
    sheets = [grid(picture) for picture in pictures]
    assert page.format == "PNG"
    assert page.size == (max(s.width for s in sheets), sum(s.height for s in sheets))
    assert np.array_equal(np.asarray(page)[: sheets[0].height, : sheets[0].width], np.asarray(sheets[0]))
    assert np.array_equal(np.asarray(page)[sheets[0].height :, : sheets[1].width], np.asarray(sheets[1]))
    page.close()


def test_no_pictures_are_an_empty_page(tmp_path: Path) -> None:
    draw([], tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as page:
        assert page.size == (CELL, LINE)


def test_same_pictures_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        draw([Picture("t", ("a",), colours(2, 1))], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
