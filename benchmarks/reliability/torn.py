"""Files of DVC's own that a kill, or a power cut, catches half written: DVC writes them in place."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.base import COMMANDS, base
from benchmarks.reliability.project import verdict
from benchmarks.reliability.table import show

LOCK, RWLOCK = Path("dvc.lock"), Path(".dvc/tmp/rwlock")


def cut(path: Path, share: float) -> None:
    """Leave so much of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def reused(path: Path) -> None:
    """A killed DVC's entry whose process number now belongs to another process."""
    held = {str(path.parents[2] / "runs/pretrain/simclr-0"): {"pid": os.getpid(), "cmd": "dvc repro"}}
    path.write_text(json.dumps({"read": {}, "write": held}))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "dvc.lock is empty": lambda root: cut(root / LOCK, 0),
    "dvc.lock ends in the middle": lambda root: cut(root / LOCK, 0.5),
    "dvc.lock ends within a word": lambda root: cut(root / LOCK, 0.503),
    ".dvc/tmp/rwlock is empty": lambda root: cut(root / RWLOCK, 0),
    ".dvc/tmp/rwlock names a living process": lambda root: reused(root / RWLOCK),
}


def measure(folder: Path) -> None:
    """Damage a finished project and run it again: nothing may be trained twice."""
    baseline, rows = base(folder), []
    for name, damage in DAMAGE.items():
        for command, words in COMMANDS.items():
            baseline.project.restore(baseline.ended)
            damage(baseline.project.root)
            done = baseline.project.run(*words)
            trained = "yes" if re.search(r"Running stage 'pretrain|pretrain@\S+: ran", done.text) else "no"
            failure = f"ended with {done.code}: `{done.error.replace(str(baseline.project.root), '.')[:160]}`"
            end = verdict(baseline.project, done, baseline.encoders) if done.code == 0 else failure
            rows.append([name, command, end, trained])
            print(rows[-1], flush=True)
    show("Half-written files of DVC", ["damage", "run", "result", "trained again"], rows)
