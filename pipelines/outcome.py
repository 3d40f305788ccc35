"""Outcome of a stage, and the table of the outcomes of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """How one stage ended."""

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


def table(outcomes: Iterable[Outcome]) -> str:
    """One line per stage, columns aligned, and the reasons of what failed."""
    rows = [("stage", "result", "seconds", "where")]
    rows += [(o.stage, o.state, f"{o.seconds:.1f}", o.where) for o in outcomes]
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in rows)
