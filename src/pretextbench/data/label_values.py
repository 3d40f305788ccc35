"""The cells of a table as labels of images: classes, several labels each, or a number."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pretextbench.data.class_folders import similar_names, some
from pretextbench.data.label_table import UNLABELLED, empty_note
from pretextbench.data.label_task import NO, YES, Meaning, check_classes, parts_of
from pretextbench.data.split_names import nfc
from pretextbench.data.table_columns import Sheet
from pretextbench.errors import UserError

Rows = npt.NDArray[np.int64]
MOST_LABELS = 1000
Values = tuple[list[str], npt.NDArray[Any], list[str]]  # names, a value per image, notes


def values(sheet: Sheet, meant: Meaning, images: Rows, count: int) -> Values:
    """The labels of `count` images; `images` (rows,) is the image of each row of the table, -1 where it has none.

    Raises:
        UserError: the cells are not what the task needs, or rows of one image contradict each other.
    """
    if meant.flags:
        return _flags(sheet, meant.columns, images, count)
    column = pd.Series(sheet.columns[meant.columns[0]], dtype=str)[images >= 0]
    column = column.mask(column.str.casefold().isin(UNLABELLED), "")
    rows, name = images[images >= 0], sheet.head[meant.columns[0]]
    if meant.task == "number":
        return _numbers(sheet, name, column, rows, count)
    if meant.task == "class":
        return _classes(sheet.table, column, rows, count)
    return _several(sheet.table, name, column, meant.mark, rows, count)


def _flags(sheet: Sheet, columns: Sequence[int], images: Rows, count: int) -> Values:
    """A column of yes and no per label; of an image with several rows the largest: a yes in one of them."""
    result = np.full((count, len(columns)), -1, np.int8)
    there = images >= 0
    for k, i in enumerate(columns):
        words = pd.Series(sheet.columns[i], dtype=str).str.casefold()
        empty = -1 if set(words) & NO else 0  # where nobody writes 0, an empty cell is one
        cells = np.select([words.isin(YES), words.isin(NO), words == ""], [1, 0, empty], -1).astype(np.int8)
        np.maximum.at(result[:, k], images[there], cells[there])
    unknown = int((result[np.unique(images[there])] == -1).sum())
    notes = [f"{unknown:,} cells are empty or -1: these labels are unknown."] if unknown else []
    return [sheet.head[i] for i in columns], result, notes


def _several(table: Path, name: str, column: pd.Series, mark: str, rows: Rows, count: int) -> Values:
    """Names of labels in cells, several in a cell or in several rows of an image."""
    codes, cells = pd.factorize(column)
    parts = [[part for part in (parts_of(nfc(cell), mark) if mark else [nfc(cell)]) if part] for cell in cells]
    names = sorted({part for cell in parts for part in cell})
    if not 1 < len(names) <= MOST_LABELS:
        raise UserError(
            f"{table}: the column {name} holds {len(names):,} different labels, where 2 to {MOST_LABELS:,} are expected"
            f"{f': {some(names)}' if names else ''}. Is it the column of the labels?"
        )
    index = {label: k for k, label in enumerate(names)}
    kinds = np.array([index[label] for labels in parts for label in labels], np.int64)
    sizes = np.array([len(labels) for labels in parts], np.int64)
    lengths, starts = sizes[codes], (np.cumsum(sizes) - sizes)[codes]  # of the labels of each row, in `kinds`
    positions = np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    result = marked(count, len(names), rows[(column != "").to_numpy()], np.repeat(rows, lengths), kinds[positions])
    empty = int((column == "").sum())
    notes = [f"{empty:,} rows name no label: unknown."] if empty else []
    return names, result, [*notes, *similar_names(names)]


def marked(count: int, labels: int, listed: Rows, images: Rows, kinds: Rows) -> npt.NDArray[np.int8]:
    """(count, labels): 1 at each pair of `images` and `kinds`, else 0 for an image that is `listed`, -1 for another."""
    result = np.full((count, labels), -1, np.int8)
    result[listed] = 0
    result[images, kinds] = 1
    return result


def _classes(table: Path, column: pd.Series, rows: Rows, count: int) -> Values:
    labels = column.map(nfc)
    _alike(table, labels[labels != ""], rows[(labels != "").to_numpy()], "labels")
    given = labels[labels != ""].tolist()
    notes = check_classes(table, given)
    names = sorted(set(given))
    index = {name: k for k, name in enumerate(names)}
    result = np.full(count, -1, np.int64)
    there = (labels != "").to_numpy()
    result[rows[there]] = labels[there].map(index).to_numpy(np.int64)
    return names, result, [*empty_note(column.tolist()), *notes, *similar_names(names)]


def _numbers(sheet: Sheet, name: str, column: pd.Series, rows: Rows, count: int) -> Values:
    """A number per image.

    Raises:
        UserError: there is text among them, they are all the same, or rows of one image differ.
    """
    table = sheet.table
    if sheet.delimiter != "commas":  # decimal commas
        column = column.str.replace(",", ".")
    numbers = pd.to_numeric(column.mask(column == ""), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = column[~np.isfinite(numbers) & (column != "").to_numpy()]
    if len(wrong):
        line = int(wrong.index[0]) + (1 if sheet.headless else 2)
        raise UserError(
            f"{table}: the column {name} holds {len(wrong):,} cells that are no numbers: "
            f"{some(dict.fromkeys(wrong), 3)} (the first in row {line}). Correct them, or leave them empty where the "
            "number is not known; names of classes need `task: class`."
        )
    there = ~np.isnan(numbers)
    _alike(table, pd.Series(numbers[there]), rows[there], "numbers")
    result = np.full(count, np.nan)
    result[rows[there]] = numbers[there]
    if not there.any() or np.nanmin(result) == np.nanmax(result):
        kind = f"all {there.sum():,} numbers are {numbers[there][0]:g}" if there.any() else "no image has a number"
        raise UserError(f"{table}: the column {name} has nothing to predict: {kind}. Choose another column.")
    notes = [f"{(~there).sum():,} rows have no number: unknown."] if not there.all() else []
    return [name], result, notes


def _alike(table: Path, values: "pd.Series[Any]", rows: Rows, what: str) -> None:
    """Raise where rows of one image differ."""
    pairs = pd.DataFrame({"row": rows, "value": values.to_numpy()}).drop_duplicates()
    twice = pairs["row"].duplicated()
    if twice.any():
        raise UserError(
            f"{table} names {int(twice.sum()):,} image(s) in several rows with different {what}. Keep one row for each "
            "image, or choose the task `multi-label` if images have several labels."
        )
