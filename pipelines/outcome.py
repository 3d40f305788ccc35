"""Outcome of a stage, the table of the outcomes of a run, and the answer with which a finished comparison ends."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretextbench.base.names import printable
from pretextbench.project import layout

FEW = 5  # stages of one state that did nothing, each on its own line


@dataclass(frozen=True)
class Outcome:
    """The end of one stage: its state, time and reason."""

    stage: str
    state: str  # ran, restored, up to date, failed, stopped, not run
    seconds: float = 0.0
    reason: str = ""
    mistake: bool = False  # of the user: trying again would not help
    where: str = ""  # machine, device and other checkout, where a process ran
    away: str = ""  # that other checkout, and the stage's entry in its dvc.lock
    entry: Mapping[str, Any] | None = None

    @property
    def good(self) -> bool:
        """Whether the stage's outputs are there and current."""
        return self.state in {"ran", "restored", "up to date"}


def table(outcomes: Collection[Outcome]) -> str:
    """One line per stage, columns aligned; many stages that did nothing are one line, which gives their number."""
    count = Counter(outcome.state for outcome in outcomes)
    many = [state for state in ("up to date", "not run") if count[state] > FEW]
    rows = [("stage", "result", "seconds", "where")]
    rows += [(o.stage, o.state, f"{o.seconds:.1f}", o.where) for o in outcomes if o.state not in many]
    rows += [(f"{count[state]} stages", state, "", "") for state in many]
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in rows)


def answer(outcomes: Iterable[Outcome], root: Path) -> str:
    """The first paragraphs of the recommendation, where all of it is, and what to do next; empty without a comparison.

    `outcomes`: of a run in which every stage is current.
    """
    path = root / layout.REPORTS / "recommendation.md"
    if "compare" not in {outcome.stage for outcome in outcomes} or not path.is_file():
        return ""
    lead = path.read_text(encoding="utf-8").partition("\n## ")[0].split("\n\n")[1:]  # without the title
    width = min(100, shutil.get_terminal_size().columns)
    paragraphs = [textwrap.fill(printable(text.replace("**", "").replace("\n", " ")), width) for text in lead]
    places = f"leaderboard: {layout.REPORTS / 'leaderboard.md'}\nreport:      {layout.REPORT}"
    return "\n\n".join([*paragraphs, f"{places}\nnext:        pretextbench report  (opens the report in a browser)"])
