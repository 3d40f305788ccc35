"""SIGKILL at random moments of `dvc repro` and of the graph flow; the same command again until it has finished."""

import collections
import contextlib
import dataclasses
import os
import random
import signal
import statistics
import time
from pathlib import Path

from benchmarks.reliability.base import COMMANDS, Base, base
from benchmarks.reliability.project import Project, Running, clean, encoders, leftovers, missing, stage_names
from benchmarks.reliability.table import show

ATTEMPTS, PAUSE = 30, 2.0  # runs after a kill, seconds between a refused one and the next
VICTIMS = ("flow", "dvc", "stage")


@dataclasses.dataclass
class Kill:
    """One kill and what came of it."""

    command: str
    scope: str  # "group" | "single"
    moment: float  # seconds after the start
    victim: str = ""
    during: str = ""
    refused: int = 0  # runs that were told that what the kill had left behind is still at work
    failed: list[str] = dataclasses.field(default_factory=list)  # errors of runs that ended badly otherwise
    seconds: float = 0.0  # from the kill to the end of the work
    finished: bool = False
    faults: list[str] = dataclasses.field(default_factory=list)  # what is wrong at the end


def measure(folder: Path, kills: int) -> None:
    """Kill so many times and print what came of it."""
    there, dice, done = base(folder), random.Random(0), []
    for number in range(kills):
        command, scope = list(COMMANDS)[number % 2], ("group", "single")[number // 2 % 2]
        there.project.restore(there.begun)
        kill = Kill(command, scope, dice.uniform(0.02, 0.95) * there.lengths[command])
        one(there.project, kill, dice)
        judge(there, kill)
        print(f"kill {number + 1}: {kill}", flush=True)
        done.append(kill)
    report(done)


def one(project: Project, kill: Kill, dice: random.Random) -> None:
    """Start, kill, and start again until the work is done."""
    words = COMMANDS[kill.command]
    running = project.start(*words)
    time.sleep(kill.moment)
    strike(project, running, kill, dice)
    began = time.monotonic()
    # What was killed alone may have left the run able to go on: then this is the run that finishes.
    done = running.wait()
    for attempt in range(ATTEMPTS):
        if done.code == 0:
            break
        if done.busy:
            kill.refused += 1
            time.sleep(PAUSE)
        elif attempt:  # the first is the killed one itself
            kill.failed.append(done.error)
        done = project.run(*words)
    kill.finished, kill.seconds = done.code == 0, time.monotonic() - began


def strike(project: Project, running: Running, kill: Kill, dice: random.Random) -> None:
    """Send SIGKILL to one process of the run, or to its group: the terminal's, and the sessions of its stages."""
    alive = {number: what for number, what in project.processes().items() if what in VICTIMS}
    kill.during = working(alive)
    if kill.scope == "single":
        kinds = sorted(set(alive.values()))
        kill.victim = dice.choice(kinds) if kinds else "none"
        numbers = [number for number, what in sorted(alive.items()) if what == kill.victim][:1]
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return
    kill.victim = "+".join(sorted(set(alive.values())))
    groups = [running.process.pid]
    for number in alive:
        with contextlib.suppress(ProcessLookupError):
            groups.append(os.getpgid(number))
    for group in dict.fromkeys(groups):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def working(alive: dict[int, str]) -> str:
    """The stages at work, or that DVC or the flow works between them."""
    names = set()
    for number, what in alive.items():
        if what == "stage":
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                names.add(words.partition("-m stages ")[2].split(" ")[0])
    return "+".join(sorted(names)) or "between stages"


def judge(there: Base, kill: Kill) -> None:
    """Compare what is there at the end with an undisturbed run."""
    project = there.project
    left = project.settled()
    checks = {
        "encoders": encoders(project.root) == there.encoders,
        "lock": stage_names(project.root) == there.stages,
        "cache": not missing(project.root),
        "status": kill.finished and clean(project),
        "orphans": not left,
        "leftovers": not leftovers(project.root),
    }
    kill.faults = [name for name, fine in checks.items() if not fine]


def report(kills: list[Kill]) -> None:
    """Print one row per command and scope, and where the kills fell."""
    groups = collections.defaultdict(list)
    for kill in kills:
        groups[kill.command, kill.scope].append(kill)
    head = ["killed", "what", "kills", "finished", "same encoders", "status clean", "lock complete", "cache complete"]
    head += [
        "orphans",
        "half-written folders left",
        "refused meanwhile",
        "other failed runs",
        "median s to the end",
        "longest",
    ]
    show("Kills", head, [row(*key, group) for key, group in sorted(groups.items())])
    where = collections.Counter(stage for kill in kills for stage in kill.during.split("+"))
    who = collections.Counter(kill.victim for kill in kills if kill.scope == "single")
    show("Where the kills fell", ["at work", "kills"], sorted(where.items()))
    show("Whom the single kills met", ["process", "kills"], sorted(who.items()))
    errors = collections.Counter(error for kill in kills for error in kill.failed)
    if errors:
        show("What the other failed runs said", ["error", "times"], sorted(errors.items()))


def row(command: str, scope: str, kills: list[Kill]) -> list[object]:
    """The counts of one group of kills."""

    def fine(check: str) -> str:
        return f"{sum(check not in kill.faults for kill in kills)} of {len(kills)}"

    seconds = [kill.seconds for kill in kills]
    return [
        command,
        {"group": "process group", "single": "one process"}[scope],
        len(kills),
        sum(kill.finished for kill in kills),
        *map(fine, ("encoders", "status", "lock", "cache")),
        sum("orphans" in kill.faults for kill in kills),
        sum("leftovers" in kill.faults for kill in kills),
        sum(kill.refused for kill in kills),
        sum(len(kill.failed) for kill in kills),
        statistics.median(seconds),
        max(seconds),
    ]
