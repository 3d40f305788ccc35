"""What a table of the report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretextbench.compare.runs import Run

Groups = Mapping[str, Sequence[Run]]  # row -> its runs, rows best first


@dataclass(frozen=True)
class Cell:
    """One number of a table with its interval, or the reason why there is none."""

    text: str = ""
    interval: str = ""
    why: str = ""
    best: bool = False  # of the methods in its column
    heat: float = 0.0  # from 0 to 1


def scores(group: Sequence[Run], stage: str) -> list[dict[str, Any]]:
    """The test scores of the linear probe at one stage, one per seed that has any."""
    tests = [run.metrics["linear"]["layers"][stage].get("test") for run in group]
    return [test for test in tests if test]
