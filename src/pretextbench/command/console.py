"""What commands print: text as it is, tables, and one colour scheme for verdicts."""

import shutil
from typing import TYPE_CHECKING, Literal

from pretextbench.base.names import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Verdict = Literal["ok", "warning", "fault"]
COLOURS: dict[Verdict, str] = {"ok": "green", "warning": "yellow", "fault": "bold red"}
PIPED = 200  # columns where the output is no terminal: `| grep` wants a row on one line


def console() -> "Console":
    """Prints to the standard output. Square brackets mean nothing: names of files and of errors come as they are."""
    from rich.console import Console

    wide = Console(markup=False, highlight=False, emoji=False)
    if not wide.is_terminal and shutil.get_terminal_size((0, 0)).columns == 0:
        wide.width = PIPED
    return wide


def table(*columns: str) -> "Table":
    """A table without lines; long cells are folded, never cut."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        drawn.add_column(name, overflow="fold")
    return drawn


def verdict(word: Verdict) -> "Text":
    """ok, warning or fault, in its colour where there are colours."""
    from rich.text import Text

    return Text(word, style=COLOURS[word])


def plain(value: object) -> str:
    """Any value as text that cannot command a terminal; lines are kept."""
    return "\n".join(map(printable, str(value).split("\n")))
