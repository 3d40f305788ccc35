"""SIGKILL at moments drawn within every phase of `dvc repro` and of the flow; the same command until it is done."""

import collections
import contextlib
import dataclasses
import os
import random
import re
import signal
import statistics
import time
from pathlib import Path

from benchmarks.reliability.base import COMMANDS, LAST, Base, base
from benchmarks.reliability.phases import PHASES, Phase, end_server, rehearse, wait_for, words
from benchmarks.reliability.project import Project, Running, clean, encoders, leftovers, missing, stage_names
from benchmarks.reliability.table import show

ATTEMPTS, PAUSE = 30, 2.0  # runs after a kill, seconds between a refused one and the next
NOTHING = "nothing"
VICTIMS = ("flow", "dvc", "stage")
# Of ten kills: commits are short, and what DVC writes in them is shared by all stages.
ORDER = ("pretrain", "commit of pretrain", "evaluate", "start", "commit of evaluate", "end")
ORDER = (*ORDER, "pretrain", "commit of pretrain", "evaluate", "pretrain")
TORN = re.compile(r"required key not provided|YAML file structure is corrupted|JSON structure is corrupted")


@dataclasses.dataclass
class Kill:
    """One kill and what came of it."""

    command: str
    scope: str  # "group" | "single"
    phase: str
    moment: float = 0.0  # seconds after the phase has begun, as `rehearse` measures them
    victim: str = ""
    during: str = ""  # what was at work
    refused: int = 0  # runs refused because remains of the killed one were still running
    mended: int = 0  # files of DVC that the kill had cut off
    failed: list[str] = dataclasses.field(default_factory=list)  # errors of runs that ended badly otherwise
    seconds: float = 0.0  # from the kill to the end of the work
    finished: bool = False
    faults: list[str] = dataclasses.field(default_factory=list)  # what is wrong at the end


def measure(folder: Path, kills: int, first: int = 0) -> None:
    """Kill so many times and print what came of it; `first` leaves out as many, which an earlier run has done."""
    baseline, dice, done = base(folder), random.Random(first), list[Kill]()
    lengths = {name: rehearse(baseline, command) for name, command in COMMANDS.items()}
    for name, phases in lengths.items():
        print(f"{name}: {', '.join(f'{phase} {s:.2f} s' for phase, s in phases.items())}", flush=True)
    kinds = collections.Counter[str]()
    for number in range(kills):
        aim = ORDER[number % len(ORDER)]
        turn, kinds[aim] = kinds[aim], kinds[aim] + 1  # each phase meets the commands and the scopes in turn
        command, scope = list(COMMANDS)[turn % 2], ("group", "single")[(turn // 2 + list(PHASES).index(aim)) % 2]
        if number < first:
            continue
        kill = aimed(baseline, Kill(command, scope, aim), lengths[command][PHASES[aim].aim], dice)
        judge(baseline, kill, PHASES[aim])
        print(f"kill {number + 1}: {kill}", flush=True)
        done.append(kill)
    report(done)


def aimed(baseline: Base, kill: Kill, length: float, dice: random.Random) -> Kill:
    """Kill within a phase; again, where the command was quicker than in the rehearsal and had ended."""
    while True:
        drawn = dataclasses.replace(kill, moment=dice.random() * length, failed=[], faults=[])
        kill_and_finish(baseline, drawn, PHASES[kill.phase], dice)
        if drawn.during != NOTHING:
            return drawn
        length *= 0.7


def kill_and_finish(baseline: Base, kill: Kill, phase: Phase, dice: random.Random) -> None:
    """Start, kill, and start again until the work is done."""
    project, command = baseline.project, (*COMMANDS[kill.command], LAST[phase.due])
    project.restore(baseline.due[phase.due])
    if phase.name == "start":
        end_server(project)
    running = project.start(*command)
    wait_for(project, running, phase, kill.moment)
    strike(project, running, kill, dice)
    began = time.monotonic()
    # What was killed alone may have left the run able to go on: then this is the run that finishes.
    done = running.wait()
    for attempt in range(ATTEMPTS):
        kill.mended += done.text.count("was half written")
        if done.code == 0:
            break
        if done.busy:
            kill.refused += 1
            time.sleep(PAUSE)
        elif attempt:  # the first is the killed one itself
            kill.failed.append(done.error)
        # DVC alone refuses to read what it has half written: the flow mends it, as docs/reliability.md says.
        mending = (*COMMANDS["flow, 2 jobs"], LAST[phase.due])
        done = project.run(*(mending if TORN.search(done.text) else command))
    kill.finished, kill.seconds = done.code == 0, time.monotonic() - began


def strike(project: Project, running: Running, kill: Kill, dice: random.Random) -> None:
    """Send SIGKILL to one process of the run, or to its group: the terminal's, and the sessions of its stages."""
    alive = {number: kind for number, kind in project.processes().items() if kind in VICTIMS}
    kill.during = working(alive)
    if kill.scope == "single":
        kinds = sorted(set(alive.values()))
        kill.victim = dice.choice(kinds) if kinds else "none"
        numbers = [number for number, kind in sorted(alive.items()) if kind == kill.victim][:1]
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
    """The stages at work; without one DVC, at a commit or on its way to a stage; else the flow."""
    stages = sorted({words(number) for number, kind in alive.items() if kind == "stage"})
    between = [kind for kind in ("dvc", "flow") if kind in alive.values()]
    return "+".join(stages) or (f"{between[0]}, no stage" if between else NOTHING)


def judge(baseline: Base, kill: Kill, phase: Phase) -> None:
    """Compare what is there at the end with an undisturbed run."""
    project, due = baseline.project, list(LAST)
    left = project.settled()
    later = due[due.index(phase.due) + 1 :]  # was not asked for
    expected = stage_names(baseline.due[later[0]]) if later else baseline.stages
    checks = {
        "encoders": encoders(project.root) == baseline.encoders,
        "lock": stage_names(project.root) == expected,
        "cache": not missing(project.root),
        "status": kill.finished and clean(project, {LAST[word] for word in later}),
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
    head += ["orphans", "half-written folders left", "DVC's files cut off", "refused meanwhile", "other failed runs"]
    head += ["median s to the end", "longest"]
    show("Kills", head, [row(*key, group) for key, group in sorted(groups.items())])
    by_phase = collections.Counter((kill.phase, kill.during) for kill in kills)
    show("Where the kills fell", ["aimed at", "at work", "kills"], [[*key, n] for key, n in sorted(by_phase.items())])
    by_process = collections.Counter(kill.victim for kill in kills if kill.scope == "single")
    show("Whom the single kills met", ["process", "kills"], sorted(by_process.items()))
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
        sum(kill.mended for kill in kills),
        sum(kill.refused for kill in kills),
        sum(len(kill.failed) for kill in kills),
        statistics.median(seconds),
        max(seconds),
    ]
