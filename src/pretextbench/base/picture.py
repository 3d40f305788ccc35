"""Grids of images for people: contact sheets and pictures of a method's batch, as one PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from pretextbench.base.files import write_whole

CELL, GAP, LINE = 96, 4, 18  # pixels: side of a cell at least, space between cells, height of a line of text
INK, PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True)
class Picture:
    """A grid of images for people, with a title, column headers and captions."""

    title: str
    columns: tuple[str, ...]
    images: Tensor  # (rows, columns, 3, H, W), float in [0, 1]
    captions: tuple[tuple[str, ...], ...] = ()  # (rows, columns) under the cells, or empty


def to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1] to an image, enlarged by a whole factor so that single pixels stay visible."""
    array = (pixels.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    factor = max(1, round(CELL / array.shape[1]))
    return Image.fromarray(array).resize((array.shape[1] * factor, array.shape[0] * factor), Image.Resampling.NEAREST)


def grid(picture: Picture) -> Image.Image:
    """One picture: its title, a header per column, rows of cells, a caption under each cell where there are any."""
    cells = [[to_image(cell) for cell in row] for row in picture.images]
    rows, columns = len(cells), len(cells[0])
    width, height = cells[0][0].size
    step_x, step_y = width + GAP, height + GAP + (LINE if picture.captions else 0)
    font, title = ImageFont.load_default(13), ImageFont.load_default(15)
    page = max(columns * step_x, round(title.getlength(picture.title)) + GAP) + GAP
    sheet = Image.new("RGB", (page, rows * step_y + 2 * LINE + 3 * GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), picture.title, INK, title)
    for x, name in enumerate(picture.columns[:columns]):
        pen.text((GAP + x * step_x, LINE + 2 * GAP), name, INK, font)
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            corner = (GAP + x * step_x, 2 * LINE + 3 * GAP + y * step_y)
            sheet.paste(cell, corner)
            if picture.captions:
                pen.text((corner[0], corner[1] + height), picture.captions[y][x], INK, font)
    return sheet


def png(pictures: Sequence[Picture]) -> bytes:
    """The pictures, one below the other."""
    sheets = [grid(picture) for picture in pictures]
    if not sheets:
        sheets = [Image.new("RGB", (CELL, LINE), PAPER)]
    page = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    y = 0
    for sheet in sheets:
        page.paste(sheet, (0, y))
        y += sheet.height
    stream = io.BytesIO()
    page.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def draw(pictures: Sequence[Picture], target: Path) -> None:
    """Write the pictures, one below the other, as a PNG."""
    write_whole(target, png(pictures))
