"""Features in a file, with the names of their images: Parquet, or a NumPy array and a file of names.

Parquet: columns `file` (text) and `features` (a list of D float32 per row); the facts about the encoder are JSON under
the key `pretextbench` of the schema. NumPy: `x.npy` (n, D) float32, `x.files.txt` one name per line, `x.about.json` the
facts.
Either way `x.refused.csv` (file, reason) names the images that could not be read, and is not there when all could.
"""

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from pretextbench.base.files import whole_file, write_whole
from pretextbench.errors import UserError

KEY = b"pretextbench"
SUFFIXES = (".parquet", ".npy")
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """The content of a features file."""

    names: list[str]
    values: Floats  # (n, D)
    about: Mapping[str, Any]  # method, seed, weights_sha256, layer, image_size, fit, ...


class Writer(Protocol):
    """Takes features batch by batch."""

    def add(self, names: Sequence[str], values: Floats) -> None:
        """Append names (B,) and features (B, D)."""


def check(target: Path) -> None:
    """Refuse what no features file can be called, before any work is done.

    Raises:
        UserError: another suffix, or pyarrow is missing.
    """
    if target.suffix not in SUFFIXES:
        raise UserError(f"-o: {target} ends in {target.suffix or 'nothing'!r}. Allowed: {', '.join(SUFFIXES)}.")
    if target.is_dir():
        raise UserError(f"-o: {target} is a folder. Give the name of a file.")
    if target.suffix == ".parquet":
        _arrow()


@contextlib.contextmanager
def writing(target: Path, about: Mapping[str, Any], refused: Sequence[tuple[str, str]]) -> Iterator[Writer]:
    """Yield a writer; its file and those that belong to it appear when the block ends well, and otherwise not at all.

    `refused` may still grow while the block runs: it is written last.

    Raises:
        UserError: see `check`; or the place cannot be written or is full.
    """
    check(target)
    with whole_file(target) as scratch:
        with (_parquet if target.suffix == ".parquet" else _npy)(scratch, about) as writer:
            yield writer
        if isinstance(writer, NpyWriter):
            write_whole(target.with_suffix(".files.txt"), "".join(f"{n}\n" for n in writer.names).encode())
            write_whole(target.with_suffix(".about.json"), (json.dumps(about, indent=2) + "\n").encode())
        _note(target.with_suffix(".refused.csv"), refused)


def _note(path: Path, refused: Sequence[tuple[str, str]]) -> None:
    if not refused:
        path.unlink(missing_ok=True)  # of an earlier run
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "reason"), *refused])
    write_whole(path, text.getvalue().encode("utf-8", "backslashreplace"))


@dataclass
class NpyWriter:
    """An array whose number of rows is known at the end only."""

    stream: BinaryIO
    names: list[str] = field(default_factory=list)
    dim: int = 0

    def add(self, names: Sequence[str], values: Floats) -> None:
        """Append names (B,) and features (B, D)."""
        if not self.names:
            self.dim = values.shape[1]
            self.header()
        self.names += names
        self.stream.write(np.ascontiguousarray(values, "<f4").tobytes())

    def header(self) -> None:
        """NumPy pads it so that its length is the same for any number of rows: it can be written again over itself."""
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(self.names), self.dim)}
        np.lib.format.write_array_header_1_0(self.stream, header)


@contextlib.contextmanager
def _npy(path: Path, about: Mapping[str, Any]) -> Iterator[NpyWriter]:
    with path.open("wb") as stream:
        writer = NpyWriter(stream)
        yield writer
        stream.seek(0)
        writer.header()


class ParquetWriter:
    """One row group per batch."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path, self.about = path, about
        self.file: Any = None  # opened with the first batch, which has the length

    def add(self, names: Sequence[str], values: Floats) -> None:
        """Append names (B,) and features (B, D)."""
        pa, pq = _arrow()
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        table = pa.table({"file": pa.array(names, pa.string()), "features": column})
        table = table.replace_schema_metadata({KEY: json.dumps(self.about)})
        self.file = self.file or pq.ParquetWriter(self.path, table.schema)
        self.file.write_table(table)


@contextlib.contextmanager
def _parquet(path: Path, about: Mapping[str, Any]) -> Iterator[ParquetWriter]:
    writer = ParquetWriter(path, about)
    try:
        yield writer
    finally:
        if writer.file is not None:
            writer.file.close()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # an optional extra
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"Parquet needs pyarrow, which is not installed ({error}). Install it: uv sync --extra export. "
            "A name that ends in .npy needs nothing."
        ) from None
    return pyarrow, pyarrow.parquet


def read(path: Path) -> Features:
    """The features that `writing` wrote.

    Raises:
        UserError: the file is missing, is something else, or does not belong to its file of names.
    """
    check(path)
    try:
        return _read_parquet(path) if path.suffix == ".parquet" else _read_npy(path)
    except (OSError, ValueError, KeyError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(
            f"{path} holds no features that can be read ({reason}). Write it: pretextbench embed."
        ) from None


def _read_parquet(path: Path) -> Features:
    _, pq = _arrow()
    with path.open("rb") as stream:
        table = pq.read_table(stream)
    missing = {"file", "features"} - set(table.column_names)
    if missing:
        raise ValueError(f"no column {' and '.join(sorted(missing))}")
    rows = table.column("features").combine_chunks()
    values = np.array(rows.flatten(), np.float32).reshape(len(table), -1)
    about = json.loads((table.schema.metadata or {}).get(KEY, b"{}"))
    return Features(table.column("file").to_pylist(), values, about)


def _read_npy(path: Path) -> Features:
    values = np.load(path, allow_pickle=False)
    names = path.with_suffix(".files.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    if values.ndim != 2 or values.dtype != np.float32 or len(values) != len(names):
        raise ValueError(f"{values.shape} of {values.dtype} for {len(names)} names in {path.stem}.files.txt")
    return Features(names, values, json.loads(path.with_suffix(".about.json").read_text(encoding="utf-8")))
