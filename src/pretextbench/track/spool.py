"""What a training says while it trains, in a file: it never waits for MLflow, and nothing is lost when MLflow is away.

The recorder reads the file as it grows, and the final record has all of it. One JSON object per line:

    {"begin": record, "at": time, "instead": key}    a training begins or goes on; `instead`: of one that is given up
    {"step": n, "seconds": s, "values": {name: x}}   points of metrics: once per step, also when it is trained twice
    {"picture": path}    {"notes": [text]}    {"failed": text}    {"over": true}
"""

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretextbench.track.payload import Point, Record

TOLD = "told.jsonl"


class Spool:
    """The file of one method and seed, in a folder of its own with the pictures."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / TOLD
        self._last: dict[str, int] = {}  # metric -> the last step that is told

    def begin(self, record: Record) -> None:
        """Begin a training, or go on with it where the last one of the same key was cut off."""
        before = story(self.folder)
        if before.key != record.key or before.over:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self._last = {point[0]: point[1] for point in before.points}
        self.folder.mkdir(parents=True, exist_ok=True)
        instead = before.key if before.key != record.key and not before.over else None
        self._add({"begin": dataclasses.asdict(record), "at": time.time(), "instead": instead})

    def values(self, step: int, seconds: float, values: Mapping[str, float]) -> None:
        """Points of metrics, `seconds` of training after its start."""
        new = {name: value for name, value in values.items() if step > self._last.get(name, -1)}
        if new:
            self._last |= dict.fromkeys(new, step)
            self._add({"step": step, "seconds": seconds, "values": new})

    def picture(self, path: Path) -> None:
        """A picture that lies in the folder."""
        self._add({"picture": str(path.resolve())})

    def notes(self, notes: Sequence[str]) -> None:
        """What is wrong now, in the place of what was."""
        self._add({"notes": list(notes)})

    def end(self) -> None:
        """The last step is taken."""
        self._add({"over": True})

    def failed(self, message: str) -> None:
        """The training has ended and will not go on."""
        self._add({"failed": message})

    def _add(self, line: Mapping[str, Any]) -> None:
        with self.file.open("ab") as stream:
            stream.write(b"\n" + json.dumps(line).encode() + b"\n")  # a line that a kill has torn ends here


@dataclass
class Story:
    """All that a file says."""

    key: str | None = None
    points: list[Point] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    over: bool = False
    failed: str | None = None
    begun: dict[str, Any] | None = None  # the last line of that kind


def story(folder: Path) -> Story:
    """What is told in a folder; an empty story where there is nothing."""
    found = Story()
    for line in lines(folder / TOLD):
        listen(found, line)
    return found


def listen(found: Story, line: Mapping[str, Any]) -> None:
    """Add a line to a story."""
    if "begin" in line:
        found.begun, found.key, found.failed = dict(line), line["begin"]["key"], None
    found.points += [(n, line["step"], line["seconds"], x) for n, x in line.get("values", {}).items()]
    if "picture" in line:
        found.pictures.append(line["picture"])
    found.notes = line.get("notes", found.notes)
    found.over = found.over or "over" in line
    found.failed = line.get("failed", found.failed)


def lines(path: Path, skip: int = 0) -> Iterator[dict[str, Any]]:
    """The whole lines of a file, from the `skip`-th on."""
    text = path.read_bytes() if path.is_file() else b""
    whole = [line for line in text[: text.rfind(b"\n") + 1].split(b"\n") if line]
    for line in whole[skip:]:
        try:
            yield dict(json.loads(line))
        except ValueError:  # torn by a kill
            yield {}
