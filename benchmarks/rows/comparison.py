"""A whole comparison: cold, after one edit, and with nothing to do; what imports and orchestration take of it.

It runs in a clone of this checkout, as it is committed, with the five methods of the lesson and both controls. Its
stages are timed by a `python` that stands before the real one in PATH.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Measure, spread

CHECKOUT = Path(__file__).resolve().parents[2]
METHODS = "[simclr, rotation, colorization, denoising, context-encoder]"
SHORT = {"images: 24000 ": "images: 6000 "}  # of each method, where two ways to run are compared
SHELL = """#!/bin/sh
start=$(date +%s.%N)
/bin/sh "$@"
status=$?
set -- $2
echo "$3 $start $(date +%s.%N)" >> "{log}"
exit $status
"""


class Clone:
    """This checkout in a folder of its own, with parameters changed, and a record of its stages' seconds."""

    def __init__(self, root: Path, changes: dict[str, str]) -> None:
        self.root, self.log = root, root.with_suffix(".stages")
        subprocess.run(["git", "clone", "-q", str(CHECKOUT), str(root)], check=True)
        self.edit({"methods: [simclr, colorization]": f"methods: {METHODS}", **changes})
        shell = root.with_suffix(".sh")  # in which DVC runs `sh stages/run.sh NAME ...`
        shell.write_text(SHELL.format(log=self.log))
        shell.chmod(0o755)
        self.env = {**os.environ, "SHELL": str(shell)}

    def edit(self, changes: dict[str, str]) -> None:
        """Change params.yaml."""
        file = self.root / "params.yaml"
        text = file.read_text()
        for old, new in changes.items():
            assert old in text, f"params.yaml has no {old!r} any more"
            text = text.replace(old, new)
        file.write_text(text)

    def run(self, *words: str) -> float:
        """Seconds of `python -m WORDS` in the clone."""
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", *words], cwd=self.root, env=self.env, check=True, capture_output=True)
        return time.perf_counter() - start

    def stages(self) -> list[tuple[str, float]]:
        """Name and seconds of every stage that has run."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(name, float(end) - float(start)) for name, start, end in lines]


def measure(rounds: int) -> Iterator[Measure]:
    """Minutes and seconds; the shares of a cold run."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Clone(Path(folder) / "whole", {})
        cold = whole.run("dvc", "repro")
        yield Measure("cold `dvc repro`, five methods, default controls", cold / 60, "min", at_most=8)
        stages = whole.stages()
        yield Measure("of it, outside its stages (DVC)", 1 - sum(s for _, s in stages) / cold, "share")
        yield Measure(f"of it, imports of its {len(stages)} stages", imports(stages) / cold, "share")
        yield spread("`dvc repro` with nothing to do", [whole.run("dvc", "repro") for _ in range(3)], "s", at_most=5)
        flows = [whole.run("pipelines.run") for _ in range(3)]
        yield spread("`pipelines.run` with nothing to do", flows, "s", at_most=8)
        whole.edit({"methods: {}": "methods: {simclr: {temperature: 0.3}}"})
        yield Measure("`dvc repro` after one parameter of one method", whole.run("dvc", "repro"), "s")
        for jobs in ("1", "2"):
            part = Clone(Path(folder) / f"jobs-{jobs}", SHORT)
            seconds = part.run("pipelines.run", "--jobs", jobs)
            yield Measure(f"cold `pipelines.run --jobs {jobs}`, a quarter of the budget", seconds, "s")


def imports(stages: list[tuple[str, float]]) -> float:
    """Seconds that the stages' modules take to import, each in a process of its own, times how often each ran."""
    total = 0.0
    for name in sorted({name for name, _ in stages}):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import stages.{name}"], cwd=CHECKOUT, check=True)
        total += (time.perf_counter() - start) * sum(each == name for each, _ in stages)
    return total
