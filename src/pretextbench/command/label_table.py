"""A table of labels: which of its columns are the file, the label and the split, and their values for each row."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pretextbench.command.table_text import DELIMITERS, column, rows_of
from pretextbench.data.class_folders import some
from pretextbench.data.split_names import FILLERS, MEANING, Conflict, nfc, reading, splits_by_name, tokens
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
ABOUT = frozenset((*MEANING, *FILLERS, "is", "in", "use", "for", "training"))  # words of a head such as is_train
YES_NO = frozenset(("0", "1", "0.0", "1.0", "true", "false", "yes", "no", "t", "f", "y", "n", "x", "on", "off", ""))
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
    """Read a table; `known` are the names of the images, by which the column of the files is recognised.

    Raises:
        UserError: it cannot be read, or its columns do not say which is the file and which the label.
    """
    rows, delimiter = rows_of(table)
    stems = {_stem(name) for name in known}
    if not rows:
        raise UserError(f"{table} needs a first line with the columns file and label, found: nothing.")
    headless = not any(_plain(cell) in {*FILES, *LABELS, *SPLITS} for cell in rows[0]) and any(
        cell and _stem(cell) in stems for cell in rows[0]
    )
    head = [f"column {i + 1}" for i in range(len(rows[0]))] if headless else rows[0]
    body = rows if headless else rows[1:]
    if not body:
        raise UserError(f"{table} has a first line and no rows.")
    file = _file_column(table, head, body, stems)
    split = _split_column(table, head, body, file, label)
    chosen = _label_column(table, head, body, file, split, label)
    files, labels = column(body, file), column(body, chosen)
    splits = _splits(table, head[split], column(body, split)) if split is not None else []
    used = [i for i in range(len(body)) if files[i] or labels[i]]
    _no_file(table, files, labels)
    longer = sum(len(row) > len(head) and any(row[len(head) :]) for row in body)
    surplus = f"{longer:,} rows have more cells than the first line; the surplus is not used." if longer else ""
    notes = [_columns_note(head, file, chosen, split, delimiter, headless), surplus, *_empty_note(labels)]
    missing = [label.casefold() in UNLABELLED for label in labels]
    return LabelTable(
        [files[i] for i in used],
        ["" if missing[i] else nfc(labels[i]) for i in used],
        [splits[i] for i in used] if splits else [],
        [note for note in notes if note],
    )


def _plain(name: str) -> str:
    return "".join(character for character in nfc(name).casefold() if character.isalnum())


def _stem(name: str) -> str:
    return PurePosixPath(nfc(name).replace("\\", "/")).stem.casefold()


def _by_name(head: Sequence[str], names: Sequence[str], without: Collection[int | None] = ()) -> list[int]:
    """Columns with one of the names, in the order of the names."""
    order = {name: i for i, name in enumerate(names)}
    numbers = [i for i, cell in enumerate(head) if _plain(cell) in order and i not in without]
    return sorted(numbers, key=lambda i: order[_plain(head[i])])


def _file_column(table: Path, head: Sequence[str], body: list[list[str]], stems: set[str]) -> int:
    """The column named so with most names of images; else one with mostly such names, numbers aside."""
    cells = [[cell for cell in column(body, i) if cell] for i in range(len(head))]
    shares = [sum(_stem(cell) in stems for cell in column) / max(1, len(column)) for column in cells]
    named = _by_name(head, FILES)
    unnamed = [
        i for i in range(len(head)) if shares[i] > 0.5 and (_may_be_files(cells[i]) and _plain(head[i]) not in LABELS)
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


def _split_column(table: Path, head: Sequence[str], body: list[list[str]], file: int, label: str | None) -> int | None:
    """The column that is named for splits, or whose every cell is the name of a split."""
    without = {file, *(i for i, name in enumerate(head) if name == label)}
    for i in _by_name(head, SPLITS, without):
        values = {value for value in column(body, i) if value}
        if _plain(head[i]) in ("split", "subset", "partition") or _mapping(values):
            return i
    for i in (i for i, name in enumerate(head) if i not in without):
        if "split" in tokens(head[i]) and set(tokens(head[i])) <= FILLERS:  # data_split
            return i
    for i in (i for i in range(len(head)) if i not in without and _plain(head[i]) not in LABELS):
        values = set(column(body, i))
        reads = [reading(value) for value in values]
        if len(values) > 1 and all(reads) and any(read and read[0] == "train" for read in reads):
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


def _label_column(
    table: Path, head: Sequence[str], body: list[list[str]], file: int, split: int | None, label: str | None
) -> int:
    """The column of the labels: the one asked for, one that is named so, or the only one left.

    Raises:
        UserError: there is none, or more than one that differ.
    """
    if label is not None:
        if label not in head:
            raise UserError(
                f"--label-column: {table} has no column {label!r}.{nearest(label, head)} Found: {some(head)}."
            )
        _one_meaning(table, head, body, label)
        return list(head).index(label)
    named = _by_name(head, LABELS, {file, split})
    left = [
        i for i, cell in enumerate(head) if i not in {file, split} and _plain(cell) not in ("", "unnamed0", "index")
    ]
    if not named and len(left) == 1:
        return left[0]
    if not named:
        values = [set(column(body, i)) - {""} for i in left]
        hot = len(left) > 1 and all(cells <= {"0", "1", "0.0", "1.0"} for cells in values)
        kind = f" {some([head[i] for i in left])} hold 0 and 1: one column per class?" if hot else ""
        remedy = "Write one column label with the name of the class" if hot else "Give --label-column NAME"
        if len(head) == 1:
            remedy = f"That is one column. Write {', '.join(DELIMITERS.values())} between the columns"
        raise UserError(
            f"{table} needs a first line with the columns file and label, found: {some(head, 12)}.{kind} {remedy}."
        )
    _one_meaning(table, head, body, head[named[0]])
    pairs = [len(set(zip(column(body, named[0]), column(body, i), strict=True))) for i in named]
    if _plain(head[named[0]]) != "label" and len(set(pairs)) > 1:
        raise UserError(
            f"{table} has several columns that may be the label: {some([head[i] for i in named])}. Say which: "
            f"--label-column {head[named[0]]}."
        )
    return named[0]


def _one_meaning(table: Path, head: Sequence[str], body: list[list[str]], name: str) -> None:
    """Raise if columns of one name differ."""
    same = [i for i, cell in enumerate(head) if cell == name]
    if len({tuple(column(body, i)) for i in same}) > 1:
        raise UserError(f"{table} has {len(same)} columns named {name}, which differ. Rename or remove one.")


def _no_file(table: Path, files: Sequence[str], labels: Sequence[str]) -> None:
    lost = [i for i, (file, label) in enumerate(zip(files, labels, strict=True)) if label and not file]
    if lost:
        raise UserError(
            f"{table}: {len(lost):,} rows have a label and no file, the first with the label {labels[lost[0]]!r}."
        )


def _columns_note(head: Sequence[str], file: int, label: int, split: int | None, delimiter: str, headless: bool) -> str:
    """A note on the columns that are used, where the choice is not obvious."""
    used = {file, label, split}
    unused = [cell or "(unnamed)" for i, cell in enumerate(head) if i not in used]
    if [head[file], head[label]] == ["file", "label"] and split is None and not unused and delimiter == "commas":
        return ""
    parts = [
        f"file = {head[file]}",
        f"label = {head[label]}",
        *([f"split = {head[split]}"] if split is not None else []),
    ]
    without = f"; not used: {some(unused, 8)}" if unused else ""
    line = "without a line of names, " if headless else ""
    return f"Table {line}with {delimiter} between columns: {', '.join(parts)}{without}."


def _empty_note(labels: Sequence[str]) -> Iterator[str]:
    empty = Counter(label or "(empty)" for label in labels if label.casefold() in UNLABELLED)
    if empty:
        yield f"{empty.total():,} rows have no label ({', '.join(f'{label} {n:,}' for label, n in empty.items())})."
    others = {label for label in labels if label.casefold() not in UNLABELLED | {"-1"}}
    unknown = {"-1"} if all(map(str.isdigit, others)) else set()
    doubtful = Counter(label for label in labels if label in DOUBTFUL | unknown)
    if doubtful:
        listed = some(f"{label} {n:,}" for label, n in doubtful.most_common())
        yield f"These labels are taken for classes: {listed}. If they stand for no label, leave these cells empty."
