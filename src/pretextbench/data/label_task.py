"""The task that the labels of a table set: a class per image, several labels, or a number; and labels that fit none."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pretextbench.base.names import Task
from pretextbench.data.class_folders import some
from pretextbench.data.label_table import UNLABELLED, label_column
from pretextbench.data.table_columns import FLAGS, Sheet
from pretextbench.data.targets import TaskName
from pretextbench.errors import UserError

MANY = 20  # different numbers with a fraction: more are measurements
MISTAKES = 0.05  # share of images with two labels up to which they are mistakes in a table of classes
SEPARATORS = {"|": "bars", ";": "semicolons", ",": "commas", " ": "spaces", "+": "plus signs", "&": "ampersands"}
SEPARATORS |= {"/": "slashes", ":": "colons"}
YES, NO = {"1", "1.0", "true", "yes", "t", "y", "x", "on"}, {"0", "0.0", "false", "no", "f", "n", "off"}


@dataclass(frozen=True)
class Meaning:
    """What the labels of a table stand for."""

    task: TaskName
    columns: list[int]
    reason: str  # a clause
    mark: str = ""  # between several labels in a cell
    flags: bool = False  # one column of yes and no per label


def meaning(sheet: Sheet, images: npt.NDArray[np.int64], names: Sequence[str], task: Task) -> Meaning:
    """The task of a table.

    Args:
        sheet: the table.
        images: (rows,) the image of each row.
        names: the columns of the labels; empty: those that are recognised.
        task: `prepare.task`.

    Raises:
        UserError: the columns do not say it, or do not go together with the task.
    """
    if task == "mask":
        raise UserError(f"prepare.task: {sheet.table} is a table, which holds no masks. Give their folder.")
    columns = [sheet.number(name, "prepare.columns") for name in names]
    if not columns:
        flags = sheet.flags if task in ("auto", "multi-label") else []
        columns = flags or [label_column(sheet, None)]
    if len(columns) > 1:
        return _columns(sheet, columns, task)
    cells = [sheet.columns[columns[0]][i] for i in np.flatnonzero(images >= 0)]
    chosen, reason, mark = _of_cells(cells, images[images >= 0], sheet.delimiter != "commas")
    if task != "auto" and task != chosen:
        mark = mark if task == "multi-label" else ""
        chosen, reason = task, "as it was asked for"
    return Meaning(chosen, columns, reason, mark)


def _columns(sheet: Sheet, columns: list[int], task: str) -> Meaning:
    """Several columns are several labels, one of yes and no for each."""
    listed = some((sheet.head[i] for i in columns), 8)
    if task in ("class", "number"):
        raise UserError(
            f"prepare.columns: {len(columns)} columns ({listed}) with `task: {task}`, which has one. Choose one."
        )
    for i in columns:
        if strange := {cell.casefold() for cell in sheet.columns[i]} - FLAGS - YES - NO:
            raise UserError(
                f"{sheet.table}: the column {sheet.head[i]} holds {some(sorted(strange), 3)}, where several columns of "
                "labels hold 0, 1 or nothing each. Choose one column, or correct the cells."
            )
    return Meaning("multi-label", columns, f"{len(columns)} columns hold 0 and 1: {listed}", flags=True)


def _of_cells(cells: list[str], images: npt.NDArray[np.int64], commas: bool) -> tuple[TaskName, str, str]:
    """Task, reason and mark of one column of labels."""
    labels = [cell for cell in cells if cell.casefold() not in UNLABELLED]
    decimal = [label.replace(",", ".") for label in labels] if commas else labels
    counts = Counter(labels)
    if all(map(is_number, set(decimal))) and is_quantity(decimal):
        return "number", f"{len(counts):,} different numbers for {len(labels):,} images", ""
    if repeated := _repeated(images, cells):
        mark = several[0] if (several := separator(counts)) else ""
        return "multi-label", f"{repeated:,} images have several rows, with different labels", mark
    if several := separator(counts):
        mark, divided = several
        return "multi-label", f"cells hold several labels, with {SEPARATORS[mark]} between: {some(divided, 2)}", mark
    return "class", f"{len(counts):,} different labels for {len(labels):,} images", ""


def _repeated(images: npt.NDArray[np.int64], cells: list[str]) -> int:
    """Images with several different labels; 0 where they are so few that they are mistakes."""
    rows = pd.DataFrame({"image": images, "cell": cells}).drop_duplicates()["image"].value_counts()
    several = int((rows > 1).sum())
    return several if several > max(1, MISTAKES * len(rows)) else 0


def is_quantity(labels: Collection[str]) -> bool:
    """Whether labels that are all numbers are measured or counted, and no names of classes."""
    different = set(labels)
    fractions = sum(not float(label).is_integer() for label in different)
    return fractions > MANY or (2 * len(different) > len(labels) and len(different) > 2)


def check_classes(table: Path, labels: Sequence[str]) -> list[str]:
    """Refuse labels that classes cannot be made of; `labels` are those of the images that have one. Returns notes.

    Raises:
        UserError: they look like numbers to predict, several labels in a cell, or a name for each image.
    """
    counts = Counter(labels)
    if len(counts) < 2:
        raise UserError(f"{table} has {len(counts)} label(s) in all: two classes are needed to tell them apart.")
    if several := separator(counts):
        mark, divided = several
        raise UserError(
            f"{table} seems to have several labels per image, with {SEPARATORS[mark]} between them: "
            f"{some(divided, 3)}. If that is so, give `--task multi-label`; else replace the mark in the names."
        )
    fractions = [label for label in counts if is_number(label) and not float(label).is_integer()]
    most = 2 * len(counts) > len(labels) and len(counts) > 2
    if len(fractions) > MANY or (most and all(map(is_number, counts))):
        raise UserError(
            f"{table} has {len(counts):,} different labels for {len(labels):,} images, all or most of them numbers: "
            f"{some(counts)}. To predict the numbers, give `--task number`. For classes, make a few of them, such as "
            "low and high; if they are names of classes, write them with a letter."
        )
    if most:
        raise UserError(
            f"{table} has {len(counts):,} different labels for {len(labels):,} images: {some(counts)}. Classes have "
            "several images each. Is this the column of the labels? --label-column NAME chooses another."
        )
    if len(counts) > MANY and all(map(is_number, counts)):
        return [f"The labels are {len(counts):,} different numbers, and are taken for classes."]
    return []


def is_number(label: str) -> bool:
    """Whether a cell is a decimal number."""
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", label, re.IGNORECASE) is not None


def separator(labels: Collection[str]) -> tuple[str, list[str]] | None:
    """The mark between several labels in a cell and the cells that have it; None where cells hold one label each.

    Cells hold several where parts of them recur in other combinations.
    """
    for mark in SEPARATORS:
        parts: defaultdict[str, set[str]] = defaultdict(set)
        for label in labels:
            for part in parts_of(label, mark):
                parts[part].add(label)
        divided = [label for label in labels if mark in (label.strip(mark) if mark in "+&/:" else label.strip())]  # C++
        recurring = any(len(whole) > 1 for part, whole in parts.items() if part)
        often = 2 * len(divided) >= len(labels)
        alone = any(part.strip() in labels for label in divided for part in label.split(mark))
        clear = len(labels) > max(MANY, 3 * len(parts)) if mark == " " else often or alone
        if divided and recurring and clear:
            return mark, divided
    return None


def parts_of(cell: str, mark: str) -> list[str]:
    """The labels in a cell; a list as Python writes it too."""
    return [part.strip() for part in re.sub(r"[\[\](){}'\"]", "", cell).split(mark)]


def one_each(table: Path, names: Sequence[str], labels: Sequence[str], splits: Sequence[str]) -> list[str]:
    """Notes on images that the table names more than once, always alike.

    Raises:
        UserError: it names an image twice with different labels or splits.
    """
    seen: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for i, name in enumerate(names):
        seen[name].add((labels[i], splits[i] if splits else ""))
    twice = [name for name, rows in seen.items() if len(rows) > 1]
    if twice:
        raise UserError(
            f"{table} names {len(twice):,} file(s) twice: {some(twice, 3)}. Their labels or splits differ: keep "
            "one row for each file, or give `--task multi-label` if images have several labels."
        )
    repeated = len(names) - len(seen)
    return [f"{repeated:,} rows repeat a file with the same label."] if repeated else []
