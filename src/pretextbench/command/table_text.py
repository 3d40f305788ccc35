"""The text of a table as rows of cells: encoding, delimiter, head; and words for files that are no such table."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from pretextbench.data.class_folders import some
from pretextbench.errors import UserError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAGIC = {
    b"PK\x03\x04": "a workbook or a zip archive: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV",
    b"PAR1": "a Parquet file: write it as CSV",
    b"\x1f\x8b": "compressed with gzip: unpack it",
    b"\x89HDF": "an HDF5 file: write its columns as CSV",
    b"%PDF": "a PDF document: write its table as CSV",
    b"SQLite format 3\0": "an SQLite database: write its table as CSV",
    b"ARROW1": "an Arrow (Feather) file: write its columns as CSV",
    b"\x93NUMPY": "an array of NumPy: write it as CSV",
    b"BZh": "compressed with bzip2: unpack it",
    b"\xfd7zXZ": "compressed with xz: unpack it",
}


def rows_of(table: Path) -> tuple[list[list[str]], str]:
    """The rows that are not empty, cells without spaces around them, and the name of the delimiter.

    Raises:
        UserError: the file cannot be read, or is no table of text.
    """
    text = _text(table)
    first, _, after = text.partition("\n")
    if first.strip().casefold().startswith("sep=") and len(first.strip()) == 5:  # as Excel writes
        return _parsed(table, after, first.strip()[-1]), DELIMITERS.get(first.strip()[-1], "its delimiter")
    delimiter = max(DELIMITERS, key=lambda mark: _columns(text, mark))
    if _columns(text, delimiter) < 2 and _columns(text, " ") == 2:
        return _parsed(table, text, " "), "spaces"
    return _parsed(table, text, delimiter), DELIMITERS[delimiter]


def _text(table: Path) -> str:
    try:
        content = table.read_bytes()
    except OSError as error:
        raise UserError(f"--labels: cannot read {table}: {error.strerror}.") from None
    for magic, kind in MAGIC.items():
        if content.startswith(magic):
            raise UserError(f"--labels: {table} is {kind}, with the columns file and label.")
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"--labels: {table} is not a table of comma-separated values in UTF-8: {error}. Save it as CSV UTF-8."
        ) from None
    if "\0" in text.partition("\n")[0]:
        raise UserError(
            f"--labels: {table} is no text in UTF-8: its first line holds NUL bytes, as UTF-16 without a mark and "
            "binary files have. Save it as CSV UTF-8."
        )
    _refuse_other_languages(table, text.lstrip())
    return text


def _refuse_other_languages(table: Path, text: str) -> None:
    if text.startswith(("{", "[")):
        try:
            keys = json.loads(text)
        except (ValueError, RecursionError):
            keys = None
        coco = isinstance(keys, dict) and {"images", "annotations"} <= set(keys)
        kind = "JSON (annotations in the style of COCO)" if coco else "JSON"
        listed = f", with the keys {some(map(str, keys))}" if isinstance(keys, dict) else ""
        kind_of_file = f"{kind}{listed}"
    elif text.startswith("<"):
        kind_of_file = "XML or HTML"
    else:
        return
    raise UserError(
        f"--labels: {table} is {kind_of_file}, not CSV. Write a table with the columns file and label from it."
    )


def _columns(text: str, delimiter: str) -> int:
    """Columns by the first lines, when they agree on it; 1 or less when the delimiter does not divide them."""
    lines = [line for line in text[:20_000].splitlines()[:20] if line.strip(" ,;|\t")]
    try:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
    except csv.Error:
        return 0
    if delimiter == " " and len(set(counts)) > 1:
        return 0
    return counts[0] if counts else 0


def _parsed(table: Path, text: str, delimiter: str) -> list[list[str]]:
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        rows = [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise UserError(f"--labels: {table} is not a table of comma-separated values: {error}.") from None
    rows = [row for row in rows if any(row)]
    while len(rows) > 1 and rows[0][0].startswith("#") and len(rows[0]) < len(rows[1]):
        del rows[0]  # a comment
    return rows


def column(rows: Sequence[Sequence[str]], number: int) -> list[str]:
    """The cells of one column; rows that are too short have an empty one."""
    return [row[number] if number < len(row) else "" for row in rows]
