"""A table with one label per image: the column of the labels, and the cells that stand for none."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pretextbench.data.class_folders import some
from pretextbench.data.split_names import nfc
from pretextbench.data.table_columns import Sheet, bare, opened
from pretextbench.data.table_file import DELIMITERS
from pretextbench.errors import UserError

UNLABELLED = frozenset({"", "nan", "-nan", "n/a", "na", "null", "<na>", "#n/a", "#na", "nat", "#null!"})

UNLABELLED |= {"#name?", "#ref!", "#value!", "#div/0!", "#num!"}  # of spreadsheets

DOUBTFUL = frozenset({"None", "-", "--", "?", ".", "NONE", "missing", "tbd", "todo", "unlabelled", "unlabeled"})


@dataclass(frozen=True)
class LabelTable:
    """One entry per row that is not empty."""

    files: list[str]
    labels: list[str]  # "" where there is none
    splits: list[str]  # train, val, test or unlabelled; empty where the table has no such column
    notes: list[str]  # how the table was understood


def read(table: Path, known: Collection[str], label: str | None = None) -> LabelTable:
    """A table with one label per image; `known` are the names of the images.

    Raises:
        UserError: it cannot be read, or its columns do not say which is the file and which the label.
    """
    sheet = opened(table, known, [label] if label is not None else [])
    chosen = label_column(sheet, label)
    files, labels, splits = sheet.columns[sheet.file], sheet.columns[chosen], sheet.splits()
    used = [i for i in range(len(files)) if files[i] or labels[i]]
    _no_file(table, files, labels)
    notes = [sheet.note({"label": chosen}), _surplus_note(sheet), *empty_note(labels)]
    missing = [label.casefold() in UNLABELLED for label in labels]
    return LabelTable(
        [files[i] for i in used],
        ["" if missing[i] else nfc(labels[i]) for i in used],
        [splits[i] for i in used] if splits else [],
        [note for note in notes if note],
    )


def _surplus_note(sheet: Sheet) -> str:
    return (
        f"{sheet.surplus:,} rows have more cells than the first line; the surplus is not used." if sheet.surplus else ""
    )


def label_column(sheet: Sheet, label: str | None) -> int:
    """The column of the labels: the one asked for, one that is named so, or the only one left.

    Raises:
        UserError: there is none, or more than one that differ.
    """
    if label is not None:
        return sheet.number(label, "--label-column")
    head, named, left = sheet.head, sheet.named_labels, sheet.left
    if not named and len(left) == 1:
        return left[0]
    if not named:
        kind = f" {some([head[i] for i in left])} hold 0 and 1: one column per class?" if sheet.flags else ""
        remedy = "Write one column label with the name of the class" if kind else "Give --label-column NAME"
        if len(head) == 1:
            remedy = f"That is one column. Write {', '.join(DELIMITERS.values())} between the columns"
        raise UserError(
            f"{sheet.table} needs a first line with the columns file and label, found: {some(head, 12)}."
            f"{kind} {remedy}."
        )
    sheet.one_meaning(head[named[0]])
    pairs = [len(set(zip(sheet.columns[named[0]], sheet.columns[i], strict=True))) for i in named]
    if bare(head[named[0]]) != "label" and len(set(pairs)) > 1:
        raise UserError(
            f"{sheet.table} has several columns that may be the label: {some([head[i] for i in named])}. Say which: "
            f"--label-column {head[named[0]]}."
        )
    return named[0]


def _no_file(table: Path, files: Sequence[str], labels: Sequence[str]) -> None:
    lost = [i for i, (file, label) in enumerate(zip(files, labels, strict=True)) if label and not file]
    if lost:
        raise UserError(
            f"{table}: {len(lost):,} rows have a label and no file, the first with the label {labels[lost[0]]!r}."
        )


def empty_note(labels: Sequence[str]) -> Iterator[str]:
    """Sentences on cells that stand for no label, and on those that may."""
    empty = Counter(label or "(empty)" for label in labels if label.casefold() in UNLABELLED)
    if empty:
        yield f"{empty.total():,} rows have no label ({', '.join(f'{label} {n:,}' for label, n in empty.items())})."
    others = {label for label in labels if label.casefold() not in UNLABELLED | {"-1"}}
    unknown = {"-1"} if all(map(str.isdigit, others)) else set()
    doubtful = Counter(label for label in labels if label in DOUBTFUL | unknown)
    if doubtful:
        listed = some(f"{label} {n:,}" for label, n in doubtful.most_common())
        yield f"These labels are taken for classes: {listed}. If they stand for no label, leave these cells empty."
