"""The columns of a table of labels: which of them hold the file, the split and, perhaps, labels."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pretextbench.data.class_folders import some
from pretextbench.data.split_names import FILLERS, MEANING, Conflict, nfc, reading, splits_by_name, tokens
from pretextbench.data.table_file import Cells, cells
from pretextbench.errors import UserError, nearest

FILES = (
    *("file", "filename", "filepath", "path", "image", "imagename", "imagepath", "imageid", "imagefile", "imageindex"),
    *("img", "imgname", "imgpath", "photo", "id", "idcode", "name"),
)

LABELS = (
    *("label", "class", "classname", "category", "target", "species", "diagnosis", "labelname", "classlabel"),
    *("y", "breed", "tag", "type", "labels"),
)

SPLITS = ("split", "set", "subset", "partition", "phase")

INDEX = ("", "unnamed0", "index")

ABOUT = frozenset((*MEANING, *FILLERS, "is", "in", "use", "for", "training"))  # words of a head such as is_train

YES_NO = frozenset(("0", "1", "0.0", "1.0", "true", "false", "yes", "no", "t", "f", "y", "n", "x", "on", "off", ""))

FLAGS = {"0", "1", "0.0", "1.0", "-1", "-1.0", ""}  # of a column per label

LOOKED_AT = 5000  # cells of a column that are compared with the names of the images

MOST_SPLITS = 50  # values of a column that is not named for splits


@dataclass(frozen=True)
class Sheet:
    """The columns of a table by number, and which of them are the file and the split."""

    table: Path
    head: list[str]
    columns: list[list[str]]  # cells below the head
    file: int
    split: int | None
    delimiter: str  # in words
    headless: bool
    surplus: int  # rows with more cells than the head
    group: int | None = None

    @property
    def left(self) -> list[int]:
        """Columns that may be labels: neither file, split nor group, nor the index of a data frame."""
        taken = {self.file, self.split, self.group}
        return [i for i, cell in enumerate(self.head) if i not in taken and bare(cell) not in INDEX]

    @property
    def named_labels(self) -> list[int]:
        """Columns that are named like a label, the surest first."""
        return _by_name(self.head, LABELS, {self.file, self.split, self.group})

    @property
    def flags(self) -> list[int]:
        """Columns of 0 and 1, one per label, where none is named like a label; empty where there are fewer than two."""
        values = [(i, set(self.columns[i])) for i in self.left]
        hot = [i for i, cells in values if cells <= FLAGS and cells & {"0", "0.0"}]
        return hot if len(hot) > 1 and not self.named_labels else []

    def splits(self) -> list[str]:
        """The split of each row; empty where there is no such column.

        Raises:
            UserError: a value is not the name of a split, or there is no train among them.
        """
        return [] if self.split is None else _splits(self.table, self.head[self.split], self.columns[self.split])

    def number(self, name: str, option: str) -> int:
        """The number of a column.

        Raises:
            UserError: there is no such column, or there are two that differ.
        """
        if name not in self.head:
            raise UserError(
                f"{option}: {self.table} has no column {name!r}.{nearest(name, self.head)} Found: {some(self.head)}."
            )
        self.one_meaning(name)
        return self.head.index(name)

    def one_meaning(self, name: str) -> None:
        """Make sure that the columns of a name are alike.

        Raises:
            UserError: they differ.
        """
        same = [i for i, cell in enumerate(self.head) if cell == name]
        if any(self.columns[i] != self.columns[same[0]] for i in same):
            raise UserError(f"{self.table} has {len(same)} columns named {name}, which differ. Rename or remove one.")

    def note(self, used: dict[str, int]) -> str:
        """A sentence on the columns that are used, where the choice is not obvious."""
        used = used | ({} if self.group is None else {"group": self.group})
        taken = {self.file, self.split, *used.values()}
        unused = [cell or "(unnamed)" for i, cell in enumerate(self.head) if i not in taken]
        plain = self.head[self.file] == "file" and {key: self.head[i] for key, i in used.items()} == {"label": "label"}
        if plain and self.split is None and not unused and self.delimiter == "commas":
            return ""
        columns = {"file": self.file, **used} | ({} if self.split is None else {"split": self.split})
        parts = ", ".join(f"{key} = {self.head[i]}" for key, i in columns.items())
        without = f"; not used: {some(unused, 8)}" if unused else ""
        line = "without a line of names, " if self.headless else ""
        return f"Table {line}with {self.delimiter} between columns: {parts}{without}."


def opened(table: Path, known: Collection[str], labels: Collection[str] = (), group: str | None = None) -> Sheet:
    """The columns of a table.

    Args:
        table: the file.
        known: names of the images, by which the column of the files is recognised.
        labels: names of the columns that are labels, and so are no splits.
        group: name of the column of the groups.

    Raises:
        UserError: it cannot be read, or no column holds names of images.
    """
    read = cells(table)
    if not len(read):
        raise UserError(f"{table} needs a first line with the columns file and label, found: nothing.")
    stems = {_stem(name) for name in known}
    first = [column[0] for column in read.columns]
    named = read.headed or any(bare(cell) in {*FILES, *LABELS, *SPLITS} for cell in first)
    headless = not named and any(cell and _stem(cell) in stems for cell in first)
    if len(read) == 1 and not headless:
        raise UserError(f"{table} has a first line and no rows.")
    head, columns, surplus = _body(read, first, headless)
    file = _file_column(table, head, columns, stems)
    split = _split_column(table, head, columns, file, [*labels, *([group] if group else [])])
    sheet = Sheet(table, head, columns, file, split, read.delimiter, headless, surplus)
    return replace(sheet, group=sheet.number(group, "prepare.group")) if group else sheet


def _body(read: Cells, first: list[str], headless: bool) -> tuple[list[str], list[list[str]], int]:
    """Head, cells below it, and the number of rows that are longer than the head."""
    if headless:
        return [f"column {i + 1}" for i in range(len(first))], read.columns, 0
    width = max(i + 1 for i, cell in enumerate(first) if cell)
    surplus = sum(any(row) for row in zip(*read.columns[width:], strict=True))
    return first[:width], [column[1:] for column in read.columns[:width]], surplus


def bare(name: str) -> str:
    """A name of a column without case, spaces and marks."""
    return "".join(character for character in nfc(name).casefold() if character.isalnum())


def _stem(name: str) -> str:
    last = nfc(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, suffix = last.rpartition(".")
    return (stem if stem and dot and suffix else last).casefold()


def _by_name(head: Sequence[str], names: Sequence[str], without: Collection[int | None] = ()) -> list[int]:
    """Columns with one of the names, in the order of the names."""
    order = {name: i for i, name in enumerate(names)}
    numbers = [i for i, cell in enumerate(head) if bare(cell) in order and i not in without]
    return sorted(numbers, key=lambda i: order[bare(head[i])])


def _file_column(table: Path, head: Sequence[str], columns: list[list[str]], stems: set[str]) -> int:
    """The column named so with most names of images; else one with mostly such names, numbers aside."""
    cells = [[cell for cell in column[:: max(1, len(column) // LOOKED_AT)] if cell] for column in columns]
    shares = [sum(_stem(cell) in stems for cell in column) / max(1, len(column)) for column in cells]
    named = _by_name(head, FILES)
    unnamed = [
        i for i in range(len(head)) if shares[i] > 0.5 and (_may_be_files(cells[i]) and bare(head[i]) not in LABELS)
    ]
    for candidates in ([i for i in named if shares[i] > 0], unnamed):
        if candidates:
            return max(candidates, key=lambda i: shares[i])
    if named:
        return named[0]
    raise UserError(
        f"{table} needs a first line with the columns file and label, found: {some(head, 12)}. No column holds "
        "names of images of the folder."
    )


def _may_be_files(cells: Sequence[str]) -> bool:
    """Numbers name files where they are many and each is another, as those of rows are; anything else may."""
    return not all(map(str.isdigit, cells)) or (len(cells) > 2 and len(set(cells)) == len(cells))


def _split_column(
    table: Path, head: Sequence[str], columns: list[list[str]], file: int, asked: Collection[str]
) -> int | None:
    """The column that is named for splits, or whose every cell is the name of a split."""
    without = {file, *(i for i, name in enumerate(head) if name in asked)}
    for i in _by_name(head, SPLITS, without):
        values = {value for value in columns[i] if value}
        if bare(head[i]) in ("split", "subset", "partition") or _mapping(values):
            return i
    for i in (i for i, name in enumerate(head) if i not in without):
        if "split" in tokens(head[i]) and set(tokens(head[i])) <= FILLERS:  # data_split
            return i
    for i in (i for i in range(len(head)) if i not in without and bare(head[i]) not in LABELS):
        values = set(columns[i])
        if 1 < len(values) <= MOST_SPLITS and _are_splits(values):
            return i
        if (
            set(tokens(head[i])) & set(MEANING)
            and set(tokens(head[i])) <= ABOUT
            and {v.casefold() for v in values} <= YES_NO
        ):
            raise UserError(
                f"{table}: the column {head[i]} seems to say which images are of a split. Write a column split with "
                "train, val or test in every row, or rename this one if it is no split."
            )
    return None


def _are_splits(values: Collection[str]) -> bool:
    reads = [reading(value) for value in values]
    return all(reads) and any(read and read[0] == "train" for read in reads)


def _mapping(values: Collection[str]) -> dict[str, str]:
    try:
        return splits_by_name([value for value in values if value])
    except Conflict:
        return {}


def _splits(table: Path, name: str, values: list[str]) -> list[str]:
    """Each row's split.

    Raises:
        UserError: a value is not the name of a split, or there is no train among them.
    """
    counts = Counter(values)
    mapping = _mapping(counts)
    strange = [value or "(empty)" for value in counts if value not in mapping]
    if strange or "train" not in mapping.values():
        raise UserError(
            f"{table}: the column {name} holds {some(strange or counts)}. A split is train, val or test in every row, "
            "and some rows must be of train. Correct the values, or rename the column if it is no split."
        )
    return [mapping[value] for value in values]
