"""A method's tuning, read from its files, for the comparison and the record; imports nothing that trains."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretextbench.base.files import read_json
from pretextbench.project import layout

TRIALS, CARD = "trials.csv", "tuning.json"
SCORE = "score_"  # begins the names of columns: one per round
AFTER = ("images", "seconds", "state", "reason", "chosen")  # columns after the parameters and the scores


@dataclass(frozen=True)
class Row:
    """A line of trials.csv."""

    number: int
    setting: Mapping[str, Any]
    scores: tuple[float, ...]  # one per round that it finished
    images: int  # of all its rounds
    seconds: float  # the same
    state: str
    reason: str
    chosen: bool


@dataclass(frozen=True)
class Summary:
    """A method's tuning as it was written."""

    reason: str  # why it keeps its own parameters; empty where a trial decided
    chosen: Mapping[str, Any]
    gain: float | None  # accuracy on validation in the last round, against the method's own parameters
    rows: tuple[Row, ...] = field(default=())

    @property
    def images(self) -> int:
        """Seen by all trials together."""
        return sum(row.images for row in self.rows)

    @property
    def seconds(self) -> float:
        """Of all trials together."""
        return sum(row.seconds for row in self.rows)


def read(folder: Path) -> Summary | None:
    """The tuning in the output of the tune stage; None where tuning is off.

    Raises:
        UserError: a file cannot be read.
    """
    if not (folder / CARD).is_file():
        return None
    remedy = "Run the tune stage; it writes it."
    card, chosen = read_json(folder / CARD, remedy), read_json(folder / layout.CHOSEN, remedy)
    rows = tuple(_rows(folder / TRIALS)) if (folder / TRIALS).is_file() else ()
    return Summary(str(card["reason"]), chosen, card["gain"], rows)


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            names = [name for name in line if name != "trial" and name not in AFTER]
            scores = [line[name] for name in names if name.startswith(SCORE) and line[name]]
            setting: dict[str, Any] = {n: json.loads(line[n]) for n in names if not n.startswith(SCORE)}
            yield Row(
                int(line["trial"]),
                setting,
                tuple(map(float, scores)),
                int(line["images"]),
                float(line["seconds"]),
                line["state"],
                line["reason"],
                line["chosen"] == "1",
            )
