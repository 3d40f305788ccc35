"""The phases of a run as they are seen from outside, how long they last, and the wait for a moment within one.

start: until the first stage that was stale; pretrain, evaluate: while the stage is at work; commit: DVC alive after its
stage has ended, until it has written dvc.lock; end: from the end of the last stage to the end of the command.
"""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.reliability.base import Base
from benchmarks.reliability.project import Project, Running

AFTER = 0.1  # seconds of a commit after dvc.lock has been written: DVC gives back its locks and ends


class Phase(NamedTuple):
    """A target of kills."""

    name: str
    due: str  # where the run starts from: the first stage that is not done
    aim: str  # a key of the lengths that `rehearse` returns


PHASES = {
    "start": Phase("start", "compare", "start"),
    "pretrain": Phase("pretrain", "pretrain", "pretrain"),
    "commit of pretrain": Phase("commit", "pretrain", "commit pretrain"),
    "evaluate": Phase("evaluate", "evaluate", "evaluate"),
    "commit of evaluate": Phase("commit", "evaluate", "commit evaluate"),
    "end": Phase("end", "compare", "end"),
}


def rehearse(baseline: Base, command: tuple[str, ...]) -> dict[str, float]:
    """Seconds of every phase in an undisturbed run, whose Prefect server starts with it.

    Those of stages are of the processor: what else the machine does makes a stage last longer, but not compute more.
    """
    project, lengths = baseline.project, {}
    project.restore(baseline.due["pretrain"])
    end_server(project)
    running = project.start(*command)
    for word in baseline.due:
        number = at_work(project, running, word)
        lengths.setdefault("start", time.monotonic() - running.began)
        lock, written = project.root / "dvc.lock", changed(project.root / "dvc.lock")
        while alive(number):
            lengths[word] = max(lengths.get(word, 0.0), computed(number))
            time.sleep(0.001)
        ended = time.monotonic()
        while changed(lock) == written and running.process.poll() is None:
            time.sleep(0.001)
        lengths[f"commit {word}"] = time.monotonic() - ended + AFTER
    running.wait()
    return {**lengths, "end": time.monotonic() - ended}


def wait_for(project: Project, running: Running, phase: Phase, delay: float) -> None:
    """Return `delay` seconds after the phase has begun, or when the stage or the command has ended before."""
    if phase.name != "start":
        number, within = at_work(project, running, phase.due), phase.name == phase.due
        while alive(number) and not (within and computed(number) >= delay):
            time.sleep(0.002)
        if within:
            return
    end = time.monotonic() + delay
    while (left := end - time.monotonic()) > 0 and running.process.poll() is None:
        time.sleep(min(left, 0.05))


def at_work(project: Project, running: Running, word: str) -> int:
    """The number of the process of a stage, as soon as there is one; 0 when the command ends without."""
    while running.process.poll() is None:
        numbers = [number for number, kind in project.processes().items() if kind == "stage" and words(number) == word]
        if numbers:
            return min(numbers)
        time.sleep(0.02)
    return 0


def words(number: int) -> str:
    """The name of the stage that a process is."""
    try:
        line = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""
    return line.partition("-m stages ")[2].partition(" ")[0]


def alive(number: int) -> bool:
    """True for a process that exists and has not ended."""
    try:
        return bool(number) and ") Z" not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False


def computed(number: int) -> float:
    """Seconds of the processor that a process has used; 0 where it has gone."""
    try:
        used = psutil.Process(number).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return used.user + used.system


def changed(path: Path) -> int:
    """Time of the last write to a file; 0 for a missing file."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def end_server(project: Project) -> None:
    """Make the next flow start its Prefect server."""
    for number, kind in project.processes().items():
        if kind == "server":
            os.kill(number, signal.SIGKILL)
    while "server" in project.processes().values():
        time.sleep(0.05)
