"""Two people in one checkout: two flows, two `dvc repro`, one of each, at once and a moment apart."""

import random
import time
from pathlib import Path

from benchmarks.reliability.base import COMMANDS, base
from benchmarks.reliability.project import Done, Project, verdict
from benchmarks.reliability.table import show

FLOW, DVC = COMMANDS["flow, 2 jobs"], COMMANDS["dvc repro"]
PAIRS = {"two flows": (FLOW, FLOW), "flow, then `dvc repro`": (FLOW, DVC), "two `dvc repro`": (DVC, DVC)}
ROUNDS = 2


def measure(folder: Path, rounds: int = ROUNDS) -> None:
    """Start the second while the first is at work, and print both outcomes and the final state."""
    baseline, dice, rows = base(folder), random.Random(0), []
    project = baseline.project
    for name, pair in PAIRS.items():
        for number in range(rounds):
            project.restore(baseline.due["pretrain"])
            delay = dice.uniform(0, baseline.lengths["dvc repro"] / 4) if number else 0.0
            first, second = both(project, pair, delay)
            project.settled()
            end = verdict(project, project.run(*DVC), baseline.encoders)
            rows.append([name, delay, outcome(first), outcome(second), end])
            print(rows[-1], flush=True)
    head = ["who", "s apart", "the first", "the second", "then, after one more `dvc repro`"]
    show("Two people", head, rows)


def both(project: Project, pair: tuple[tuple[str, ...], ...], delay: float) -> tuple[Done, Done]:
    """Run both to their ends."""
    first = project.start(*pair[0])
    time.sleep(delay)
    second = project.start(*pair[1])
    return first.wait(), second.wait()


def outcome(done: Done) -> str:
    """Outcome of one of the two runs."""
    if done.code == 0:
        return "finished"
    return f"{'refused' if done.busy else 'failed'} ({done.code}): `{done.error.replace('`', '')[:120]}`"
