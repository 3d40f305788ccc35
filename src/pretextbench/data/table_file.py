"""A table of labels as cells of text: CSV of any delimiter and Parquet, read by pandas; words for other files."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pretextbench.data.class_folders import some
from pretextbench.errors import UserError

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAGIC = {
    b"PK\x03\x04": "a workbook or a zip archive: save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV",
    b"\x1f\x8b": "compressed with gzip: unpack it",
    b"\x89HDF": "an HDF5 file: write its columns as CSV",
    b"%PDF": "a PDF document: write its table as CSV",
    b"SQLite format 3\0": "an SQLite database: write its table as CSV",
    b"ARROW1": "an Arrow (Feather) file: write its columns as CSV",
    b"\x93NUMPY": "an array of NumPy: write it as CSV",
    b"BZh": "compressed with bzip2: unpack it",
    b"\xfd7zXZ": "compressed with xz: unpack it",
}


PARQUET = b"PAR1"


@dataclass(frozen=True)
class Cells:
    """The rows that are not empty, as lists by column; no cell has spaces around it."""

    columns: list[list[str]]
    delimiter: str  # in words
    headed: bool = False  # whether the first cell of each column is surely its name

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0


def cells(table: Path) -> Cells:
    """The cells of a table.

    Raises:
        UserError: the file cannot be read, or is no table.
    """
    content = _content(table)
    if content.startswith(PARQUET):
        return _parquet(table, content)
    text = _text(table, content)
    first, _, after = text.partition("\n")
    if first.strip().casefold().startswith("sep=") and len(first.strip()) == 5:  # as Excel writes
        mark = first.strip()[-1]
        return Cells(_parsed(table, after, mark), DELIMITERS.get(mark, "its delimiter"))
    delimiter = max(DELIMITERS, key=lambda mark: _columns(text, mark))
    if _columns(text, delimiter) < 2 and _columns(text, " ") == 2:
        return Cells(_parsed(table, text, " "), "spaces")
    return Cells(_parsed(table, text, delimiter), DELIMITERS[delimiter])


def _content(table: Path) -> bytes:
    try:
        return table.read_bytes()
    except OSError as error:
        raise UserError(f"--labels: cannot read {table}: {error.strerror}.") from None


def _parquet(table: Path, content: bytes) -> Cells:
    """Columns of a Parquet file; several values in one cell, a list, are joined by bars."""
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except ImportError as error:  # an optional extra
        raise UserError(
            f"--labels: {table} is Parquet, which needs pyarrow ({error}). Install it: uv sync --extra export. Or save "
            "the table as CSV."
        ) from None
    except Exception as error:  # a parser given broken bytes may raise anything
        raise UserError(f"--labels: {table} is a damaged Parquet file: {error}.") from None
    if frame.index.name:  # pandas wrote it as a column
        frame = frame.reset_index()
    return Cells([[str(name), *_texts(frame[name])] for name in frame.columns], "Parquet", headed=True)


def _texts(values: pd.Series) -> list[str]:
    if values.dtype == object:
        several = values.map(lambda cell: hasattr(cell, "__len__") and not isinstance(cell, str))
        values = values.mask(several, values[several].map(lambda cell: "|".join(map(str, cell))))
    texts = values.astype(str).str.strip()
    return [str(text) for text in texts.mask(values.isna(), "")]


def _text(table: Path, content: bytes) -> str:
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
        frame = _frame(text, delimiter)
    except (csv.Error, pd.errors.ParserError) as error:
        quote = " A cell with a line break in it: is a quote not closed?" if "EOF inside string" in str(error) else ""
        raise UserError(f"--labels: {table} is not a table of comma-separated values: {error}.{quote}") from None
    frame = frame.apply(lambda cells: cells.str.strip())
    frame = frame[(frame != "").any(axis=1)]
    while len(frame) > 1 and frame.iat[0, 0].startswith("#") and _filled(frame, 0) < _filled(frame, 1):
        frame = frame.iloc[1:]  # a comment
    return [frame[name].tolist() for name in frame.columns]


def _frame(text: str, delimiter: str) -> pd.DataFrame:
    """Cells of text, "" where a row is too short; of rows of different lengths the longest decides."""

    def read(width: int | None) -> pd.DataFrame:
        names = None if width is None else range(width)
        options = {"sep": delimiter, "header": None, "names": names, "skipinitialspace": True}
        return pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False, **options).fillna("")

    try:
        return read(None)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except pd.errors.ParserError:  # a row is longer than the first
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
        return read(max(map(len, rows)))


def _filled(frame: pd.DataFrame, row: int) -> int:
    """The number of a row's last cell that is not empty."""
    return max(i + 1 for i, cell in enumerate(frame.iloc[row]) if cell)
