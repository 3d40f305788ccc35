"""Table of trainings as a CSV file: each is a row, and one that has a row is not run again."""

import csv
import fcntl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def find(table: Path, key: Mapping[str, object]) -> list[dict[str, Any]]:
    """The rows with these values."""
    if not table.is_file():
        return []
    with table.open() as file:
        return [row for row in csv.DictReader(file) if all(row[k] == str(v) for k, v in key.items())]


def append(table: Path, columns: Sequence[str], row: Mapping[str, Any]) -> None:
    """Add a row; two processes may do so at once."""
    with table.open("a", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)
