"""Spool of a training: a file of live metrics, so that the training never waits for MLflow and loses no point.

The recorder reads the file while it grows, and the final record contains all of it. One JSON object per line:

    {"begin": record, "at": time, "instead": key}    start or restart; `instead`: key of an abandoned training
    {"step": n, "seconds": s, "values": {name: x}}   points of metrics; one per step, even if the step is trained twice
    {"picture": path}    {"notes": [text]}    {"failed": text}    {"over": true}
"""

import csv
import dataclasses
import io
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretextbench.track.records import Point, Record

FILE = "spool.jsonl"


class Spool:
    """Writer of the spool of one method and seed. The folder also holds the pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / FILE
        self._last: dict[str, int] = {}  # metric -> last step in the file

    def begin(self, record: Record) -> None:
        """Start a training, or continue the file of an interrupted training with the same key."""
        before = read(self.folder)
        if before.key != record.key or before.finished:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self._last = {point[0]: point[1] for point in before.points}
        self.folder.mkdir(parents=True, exist_ok=True)
        instead = before.key if before.key != record.key and not before.finished else None
        self._add({"begin": dataclasses.asdict(record), "at": time.time(), "instead": instead})

    def values(self, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Add points of metrics; `seconds` = training time so far."""
        new = {name: value for name, value in values.items() if step > self._last.get(name, -1)}
        if new:
            self._last |= dict.fromkeys(new, step)
            self._add({"step": step, "seconds": seconds, "values": new})

    def picture(self, path: Path) -> None:
        """Add a picture, which lies in the folder."""
        self._add({"picture": str(path.resolve())})

    def notes(self, notes: Sequence[str]) -> None:
        """Replace the current warnings."""
        self._add({"notes": list(notes)})

    def end(self) -> None:
        """Mark the training as finished."""
        self._add({"over": True})

    def failed(self, message: str) -> None:
        """Mark the training as failed; it will not be continued."""
        self._add({"failed": message})

    def _add(self, line: Mapping[str, Any]) -> None:
        with self.file.open("ab") as stream:
            stream.write(
                b"\n" + json.dumps(line).encode() + b"\n"
            )  # the first newline ends a line that a kill has cut off


@dataclass
class SpoolState:
    """Content of a spool."""

    key: str | None = None
    points: list[Point] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    finished: bool = False
    failed: str | None = None
    begin: dict[str, Any] | None = None  # the last line with the key "begin"


def read(folder: Path) -> SpoolState:
    """The spool in a folder; empty where there is none."""
    state = SpoolState()
    for line in lines(folder / FILE):
        apply(state, line)
    return state


def apply(state: SpoolState, line: Mapping[str, Any]) -> None:
    """Add a line to the content."""
    if "begin" in line:
        state.begin, state.key, state.failed = dict(line), line["begin"]["key"], None
    state.points += [(n, line["step"], line["seconds"], x) for n, x in line.get("values", {}).items()]
    if "picture" in line:
        state.pictures.append(line["picture"])
    state.notes = line.get("notes", state.notes)
    state.finished = state.finished or "over" in line
    state.failed = line.get("failed", state.failed)


def lines(path: Path, skip: int = 0) -> Iterator[dict[str, Any]]:
    """The complete lines of a file, without the first `skip`."""
    text = path.read_bytes() if path.is_file() else b""
    whole = [line for line in text[: text.rfind(b"\n") + 1].split(b"\n") if line]
    for line in whole[skip:]:
        try:
            yield dict(json.loads(line))
        except ValueError:  # cut off by a kill
            yield {}


def history(table: str) -> Iterator[Point]:
    """Points of a training's history.csv: one metric `train/NAME` per numeric column; `step` is the step."""
    for row in csv.DictReader(io.StringIO(table, newline="")):
        step = int(float(row.pop("step")))
        seconds = _number(row.get("seconds"))
        for name, text in row.items():
            value = _number(text)
            if value is not None:
                yield f"train/{name}", step, step / 1000 if seconds is None else seconds, value


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
