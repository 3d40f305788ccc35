"""The terminal during and after a run: a live table with the progress of each stage, and the outcomes."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipelines.reproduce import Outcome
from pipelines.time_left import Running, time_left
from pretextbench.project import layout
from pretextbench.project.progress import Progress, estimate


def item(stage: str) -> str:
    """`simclr-0` of `pretrain@simclr-0`; empty for a stage that belongs to no method and seed."""
    return stage.partition("@")[2]


def progress(root: Path, stage: str, since: float) -> Progress | None:
    """The progress of a stage that began at `since` (a time.time()); None where there is none."""
    if not item(stage) or "/" in stage:
        return None
    return Progress.read(root / layout.progress(item(stage)), since)


STYLES = {"running": "bold cyan", "ran": "green", "restored": "green", "failed": "bold red", "stopped": "yellow"}
SHOWN_FIRST = ("running", "failed", "stopped", "ran", "restored", "not run", "waiting", "up to date")
AROUND = 8  # lines of a terminal that are not for stages: head, foot, a few notes
PER_SECOND = 2
SPEED = "images/s"
HEADS = ("%", SPEED, "left", "seconds")
NARROW = 70  # columns of a terminal, below which the speed leaves, so that names of stages are not cut
FEW = 5  # stages of one state that did nothing, each on its own line


class Lines:
    """One line when a stage has ended."""

    def __init__(self, root: Path, names: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        self.root, self.names, self.clock = root, list(names), clock
        self.began = clock()
        self.notes: dict[str, tuple[str, ...]] = {}  # method and seed -> warnings of its training
        self.idle: set[str] = set()  # stages that train nothing, such as that of the control `random`

    def planned(self, names: Collection[str]) -> None:
        """Called when it is known which stages may run; the others are up to date."""

    def ended(self, result: Outcome) -> None:
        """Called from any thread."""
        self._progress(result.stage, self.began)
        if result.state != "not run":
            print(f"{result.stage}: {result.state} ({result.seconds:.1f} s)", flush=True)

    def _progress(self, stage: str, since: float) -> Progress | None:
        result = progress(self.root, stage, since)
        if result and result.notes:
            self.notes[item(stage)] = result.notes
        if result and not result.steps:
            self.idle.add(stage)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is held."""


class Stages(Lines):
    """A table of all stages, drawn again twice a second, and removed when the run has ended: the summary follows."""

    def __init__(
        self,
        root: Path,
        names: Iterable[str],
        clock: Callable[[], float] = time.time,
        console: Console | None = None,
        jobs: int = 1,
    ) -> None:
        super().__init__(root, names, clock)
        self.console, self.jobs = console or Console(), jobs
        self.expected = estimate(root)
        self.current: set[str] = set()  # stages that will not run
        self.starts: dict[str, float] = {}
        self.results: dict[str, Outcome] = {}
        self._live = Live(self, console=self.console, refresh_per_second=PER_SECOND, transient=True)

    def planned(self, names: Collection[str]) -> None:
        """Called when it is known which stages may run; the others are up to date."""
        self.current = set(self.names) - set(names)

    def ended(self, result: Outcome) -> None:
        """Called from any thread."""
        self._progress(result.stage, self.starts.get(result.stage, self.began))
        self.results[result.stage] = result

    def __enter__(self) -> Self:
        self._live.start()  # from here on, what is printed appears above the table
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __rich__(self) -> Group:
        """The table as it is now."""
        self._look()
        states = {name: self._state(name) for name in self.names}
        shown = self._shown(states)
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("stage", no_wrap=True, overflow="ellipsis")
        table.add_column("state", no_wrap=True)
        kept = [number for number, head in enumerate(HEADS) if head != SPEED or self.console.width >= NARROW]
        for number in kept:
            table.add_column(HEADS[number], justify="right", no_wrap=True)
        for name in shown:
            first, state, *cells = self._row(name, states[name])
            table.add_row(first, state, *(cells[number] for number in kept))
        return Group(table, *self._foot(states, len(self.names) - len(shown)))

    def _look(self) -> None:
        """See which stages have begun since the last look."""
        for name in self.names:
            if name not in self.starts and name not in self.results:
                log = self.root / layout.log(name)
                if log.exists() and log.stat().st_mtime >= self.began:
                    self.starts[name] = self.clock()

    def _state(self, name: str) -> str:
        if name in self.results:
            return self.results[name].state
        if name in self.starts:
            return "running"
        return "up to date" if name in self.current else "waiting"

    def _shown(self, states: dict[str, str]) -> list[str]:
        """All stages where the terminal is high enough, else those that matter most, in the order of the graph."""
        room = max(3, self.console.height - AROUND)
        if len(states) <= room:
            return list(states)
        first = sorted(states, key=lambda name: SHOWN_FIRST.index(states[name]))[:room]
        return [name for name in states if name in first]

    def _row(self, name: str, state: str) -> list[Text]:
        progress = self._progress(name, self.starts[name]) if state == "running" else None
        seconds = ""
        if state == "running":
            seconds = f"{self.clock() - self.starts[name]:.0f}"
        elif name in self.results and self.results[name].seconds:
            seconds = f"{self.results[name].seconds:.1f}"
        style = STYLES.get(state, "dim")
        return [Text(name), Text(state, style), *(Text(cell) for cell in [*_training(progress), seconds])]

    def _foot(self, states: dict[str, str], hidden: int) -> list[Text]:
        count = Counter(states.values())
        parts = [f"{count[state]} {state}" for state in SHOWN_FIRST if count[state]]
        more = f"{hidden} not shown; " if hidden else ""
        done = sum(count[state] for state in ("ran", "restored", "up to date"))
        whole = ", ".join(filter(None, [f"{done} of {len(states)} stages", self._time_left(states)]))
        notes = [Text(f"{run}: {note}", "yellow") for run, texts in sorted(self.notes.items()) for note in texts]
        line = Text(f"{whole}; {more}{', '.join(parts)}; {span(self.clock() - self.began)} so far", "dim")
        line.stylize("bold", 0, len(whole))
        return [line, *notes]

    def _time_left(self, states: dict[str, str]) -> str:
        now = self.clock()
        running = {
            name: Running(now - self.starts[name], self._progress(name, self.starts[name]))
            for name, state in states.items()
            if state == "running"
        }
        waiting = [name for name, state in states.items() if state == "waiting"]
        return time_left(waiting, running, self.results.values(), self.idle, self.jobs, self.expected)


def _training(progress: Progress | None) -> list[str]:
    """Three cells of a training: what is not known yet stays empty, and all of it where nothing is trained."""
    if progress is None or not progress.steps:
        return [""] * 3
    if not progress.images_per_second:
        return [f"{progress.share:.0%}", "", ""]
    return [f"{progress.share:.0%}", f"{progress.images_per_second:,.0f}", span(progress.seconds_left)]


def span(seconds: float) -> str:
    """A length of time: `0:07`, `12:30`, `3:05:00`."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def screen(root: Path, names: Iterable[str], jobs: int = 1) -> Lines:
    """The table on a terminal, plain lines elsewhere; `jobs` stages run side by side."""
    console = Console()
    if sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return Stages(root, names, console=console, jobs=jobs)
    return Lines(root, names)


def table(outcomes: Collection[Outcome]) -> str:
    """One line per stage, columns aligned; many stages that did nothing are one line, which gives their number."""
    count = Counter(outcome.state for outcome in outcomes)
    many = [state for state in ("up to date", "not run") if count[state] > FEW]
    rows = [("stage", "result", "seconds", "where")]
    rows += [(o.stage, o.state, f"{o.seconds:.1f}", o.where) for o in outcomes if o.state not in many]
    rows += [(f"{count[state]} stages", state, "", "") for state in many]
    wide = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d}".rstrip() for a, b, c, d in rows)
