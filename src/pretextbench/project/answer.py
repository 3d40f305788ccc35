"""The answer of a finished comparison on a terminal: first sentences, a short leaderboard, the report, what to do next.

It is read from the files of `reports`, so that a run without work ends with it too.
"""

import csv
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

from pretextbench.base.names import printable
from pretextbench.project import layout

WIDEST, SHORTEST = 100, 8  # characters of a line; of a name
UNJUDGED = ("rankme", "uniformity", "feature_std")  # columns of leaderboard.csv, where no labels rank the rows


def answer(root: Path) -> str:
    """The answer in the project at `root`; empty where no comparison is finished."""
    recommendation, board = root / layout.REPORTS / "recommendation.md", root / layout.REPORTS / "leaderboard.csv"
    if not (recommendation.is_file() and board.is_file()):
        return ""
    lead = recommendation.read_text(encoding="utf-8").partition("\n## ")[0].split("\n\n")[1:]  # without the title
    width = min(WIDEST, shutil.get_terminal_size().columns)
    paragraphs = [textwrap.fill(printable(text.replace("**", "").replace("\n", " ")), width) for text in lead]
    with board.open(encoding="utf-8", newline="") as file:
        table = short_leaderboard(list(csv.DictReader(file)), width)
    places = f"report:  {layout.REPORT}\nnext:    pretextbench report  (opens it in a browser)"
    return "\n\n".join([*filter(None, paragraphs), table, places])


def short_leaderboard(rows: list[dict[str, str]], width: int = WIDEST) -> str:
    """Five columns of leaderboard.csv, a line per row, best first; long names are cut to fit the width."""
    judged = any(row.get("linear") for row in rows)
    header = ["", *(("linear %", "interval", "k-NN %") if judged else UNJUDGED), "seconds"]
    cells = [
        [_title(row), *(_judged(row) if judged else [_short(row, key) for key in UNJUDGED]), _short(row, "seconds", 0)]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    widths[0] = min(widths[0], max(SHORTEST, width - sum(widths[1:]) - 2 * len(widths[1:])))  # two spaces between
    first, *others = widths
    lines = [
        [name[:first].ljust(first), *(cell.rjust(w) for cell, w in zip(numbers, others, strict=True))]
        for name, *numbers in [header, *cells]
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _title(row: Mapping[str, str]) -> str:
    kind = row.get("kind", "method")
    name = printable(row["name"])
    return name if kind == "method" else f"{name} ({kind})"


def _judged(row: Mapping[str, str]) -> list[str]:
    ends = [_percent(row, f"linear_{end}") for end in ("low", "high")]
    return [_percent(row, "linear"), " to ".join(ends) if all(ends) else "", _percent(row, "knn")]


def _percent(row: Mapping[str, str], key: str) -> str:
    return f"{100 * float(row[key]):.1f}" if row.get(key) else ""


def _short(row: Mapping[str, str], key: str, digits: int = 2) -> str:
    return f"{float(row[key]):,.{digits}f}" if row.get(key) else ""
