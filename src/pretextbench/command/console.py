"""Output of commands: plain text, tables, and one colour scheme for verdicts."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Verdict = Literal["ok", "warning", "fault"]
COLOURS: dict[Verdict, str] = {"ok": "green", "warning": "yellow", "fault": "bold red"}
PATIENCE = 2.0  # seconds without a word, where the output is no terminal
PIPED = 200  # columns where the output is no terminal: `| grep` needs each row on one line


def console() -> "Console":
    """Prints to the standard output. Square brackets mean nothing: names of files and of errors come as they are."""
    from rich.console import Console, ConsoleDimensions

    wide = Console(markup=False, highlight=False, emoji=False)
    if not wide.is_terminal and shutil.get_terminal_size((0, 0)).columns == 0:
        wide.width = PIPED
    if wide.is_dumb_terminal:  # Rich takes all of them for 80 wide
        wide.size = ConsoleDimensions(*shutil.get_terminal_size())
    return wide


@contextlib.contextmanager
def progress(out: "Console") -> Iterator[Callable[[str], None]]:
    """Yield a function that shows progress: a spinner on a terminal, elsewhere lines if it takes long."""
    start = time.monotonic()

    def tell(line: str) -> None:
        if time.monotonic() - start > PATIENCE:
            out.print(f"{line} ...")

    if not out.is_terminal:
        yield tell
        return
    with out.status("") as status:
        yield status.update


def table(*columns: str) -> "Table":
    """A table without lines; long cells are folded, never cut."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        drawn.add_column(name, overflow="fold")
    return drawn


def verdict(state: Verdict) -> "Text":
    """ok, warning or fault, in its colour where there are colours."""
    from rich.text import Text

    return Text(state, style=COLOURS[state])
