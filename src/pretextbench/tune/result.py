"""Result of a method's tuning on disk: trials.csv, best.json with the chosen values, tuning.json with the reasons.

best.json has the values that differ from the method's own parameters, and nothing that varies from run to run: the
trainings of the method depend on it, and on nothing else of the tuning.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretextbench.base.files import read_json, write_whole
from pretextbench.project import layout
from pretextbench.project.search_space import Setting
from pretextbench.tune.halving import Trial, gain, winner

TRIALS, CARD = "trials.csv", "tuning.json"
AFTER = ("images", "seconds", "state", "reason", "chosen")  # columns after the parameters and a score per round


@dataclass(frozen=True)
class Tuning:
    """What was tried for a method, and what was chosen."""

    trials: Sequence[Trial] = ()
    reason: str = ""  # why it keeps its own parameters, where no trial decided that; empty where one did

    @property
    def chosen(self) -> Setting:
        """The chosen values that are not the method's own; empty where these are kept."""
        best = winner(self.trials)
        own = self.trials[0].setting if self.trials else {}
        return {name: value for name, value in best.setting.items() if value != own[name]} if best else {}


def write(tuning: Tuning, folder: Path) -> None:
    """Write the files into an empty folder."""
    write_whole(folder / layout.CHOSEN, _json(tuning.chosen))
    if not tuning.trials and not tuning.reason:  # tuning is off
        return
    best = winner(tuning.trials)
    card = {
        "reason": tuning.reason or ("" if best else "all trials were lost"),
        "trials": len(tuning.trials),
        "lost": sum(trial.state == "lost" for trial in tuning.trials),
        "images": sum(outcome.images for trial in tuning.trials for outcome in trial.outcomes),
        "best": best.number if best else None,
        "score": best.score if best else None,
        "gain": gain(tuning.trials) if best else None,
    }
    write_whole(folder / CARD, _json(card))
    if tuning.trials:
        write_whole(folder / TRIALS, _table(tuning.trials).encode())


def _json(content: Setting) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _table(trials: Sequence[Trial]) -> str:
    rounds, stream = max(len(trial.outcomes) for trial in trials), io.StringIO()
    scores = [f"score_{place + 1}" for place in range(rounds)]
    writer = csv.DictWriter(stream, ["trial", *trials[0].setting, *scores, *AFTER], lineterminator="\n")
    writer.writeheader()
    best = winner(trials)
    for trial in trials:
        measured = {name: outcome.score for name, outcome in zip(scores, trial.outcomes, strict=False)}
        writer.writerow(
            {
                "trial": trial.number,
                **{name: json.dumps(value) for name, value in trial.setting.items()},
                **{name: "" if score is None else f"{score:.6g}" for name, score in measured.items()},
                "images": sum(outcome.images for outcome in trial.outcomes),
                "seconds": f"{sum(outcome.seconds for outcome in trial.outcomes):.3f}",
                "state": trial.state,
                "reason": trial.outcomes[-1].reason,
                "chosen": int(trial is best),
            }
        )
    return stream.getvalue()


@dataclass(frozen=True)
class Row:
    """A line of trials.csv."""

    number: int
    setting: Setting
    scores: tuple[float, ...]  # one per round that it finished
    images: int
    seconds: float
    state: str
    reason: str
    chosen: bool


@dataclass(frozen=True)
class Summary:
    """A method's tuning as it was written."""

    reason: str  # why it keeps its own parameters; empty where a trial decided
    chosen: Setting
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
            scores = [line[name] for name in names if name.startswith("score_") and line[name]]
            setting: dict[str, Any] = {n: json.loads(line[n]) for n in names if not n.startswith("score_")}
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
