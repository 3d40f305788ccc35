"""Shared parts of the rows: timing in alternation, one measure, the host, the file and the table of results.

Machines are shared and noisy, so contestants are timed in turn (A B A B ...) and compared within a round: a ratio is
the median of the rounds' ratios, with quartiles. Seconds are medians too, and tell about this machine on that day.
"""

import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from pretextbench.base.files import write_whole

RESULTS = Path(__file__).parent / "results"  # made by the first row
PACKAGES = ("torch", "torchvision", "kornia", "lightning-fabric", "dvc", "prefect", "mlflow", "lightly", "scikit-learn")


class Missing(Exception):
    """A row that cannot run here: what it lacks."""


@dataclass(frozen=True)
class Measure:
    """One number: what it is, its unit, the quartiles of the rounds, and the bar it is held against."""

    what: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def bar(self) -> str:
        """The bar in words, and whether it is met."""
        if self.at_least is not None:
            return f">= {self.at_least:g}: {'met' if self.value >= self.at_least else 'NOT met'}"
        if self.at_most is not None:
            return f"<= {self.at_most:g}: {'met' if self.value <= self.at_most else 'NOT met'}"
        return ""


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call, to the end of what it started on a GPU."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def alternate(contestants: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, one after another, after a round to warm up."""
    table = [{name: seconds(work) for name, work in contestants.items()} for _ in range(rounds + 1)][1:]
    return {name: [row[name] for row in table] for name in contestants}


def ratio(what: str, top: Sequence[float], bottom: Sequence[float], unit: str, **bar: float) -> Measure:
    """The median of top / bottom within the rounds, with quartiles."""
    return spread(what, [a / b for a, b in zip(top, bottom, strict=True)], unit, **bar)


def spread(what: str, values: Sequence[float], unit: str, **bar: float) -> Measure:
    """The median of the values, with quartiles where there are four or more."""
    if len(values) < 4:
        return Measure(what, statistics.median(values), unit, **bar)
    low, middle, high = statistics.quantiles(values, n=4)
    return Measure(what, middle, unit, low, high, **bar)


def host() -> dict[str, Any]:
    """The machine and the versions, as far as they matter to speed."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        match = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        model = match[1] if match else model
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: number for name in PACKAGES if (number := installed(name))},
    }


def installed(package: str) -> str | None:
    """The version of a package, if it is here: a machine that only trains has no DVC."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def kind() -> str:
    """The name of the results file: `cpu-2-cores`, or the GPU's name."""
    facts = host()
    name = facts["gpu"] or f"cpu {facts['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def commit() -> str:
    """The commit that was measured, marked when the tree has changes."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True).stdout.strip()


def save(row: str, command: str, load: float, measures: Sequence[Measure]) -> Path:
    """Put a row into this host's results, in the place of its earlier run; the others stay as they are.

    `load`: the load average when the row began; above the number of running threads of the row itself, others were
    at work on the machine.
    """
    path = RESULTS / f"{kind()}.json"
    content = json.loads(path.read_text()) if path.is_file() else {"rows": {}}
    content["host"] = host()
    content["rows"][row] = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "command": command,
        "load_before": round(load, 1),
        "measures": [asdict(measure) for measure in measures],
    }
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
    write_whole(path.with_suffix(".md"), markdown(content).encode())
    return path


def markdown(content: Mapping[str, Any]) -> str:
    """The results of one host as a page."""
    facts = content["host"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [
        f"# {facts['gpu'] or facts['cpu']}, {facts['cores']} cores",
        "",
        f"{facts['memory_gib']} GiB, Python {facts['python']}, {versions}. Written by `uv run python -m benchmarks`.",
        "Ratios are medians of rounds in alternation, with quartiles.",
    ]
    for name, row in content["rows"].items():
        lines += ["", f"## {name}", ""]
        lines += [f"`{row['command']}`, {row['date']}, {row['commit']}, load before {row['load_before']}", ""]
        lines += ["| what | value | quartiles | unit | bar |", "|---|--:|--:|---|---|"]
        lines += [line(Measure(**measure)) for measure in row["measures"]]
    return "\n".join(lines) + "\n"


def line(measure: Measure) -> str:
    """One measure as a row of a table."""
    quartiles = "" if measure.low is None else f"{number(measure.low)} to {number(measure.high or 0.0)}"
    return f"| {measure.what} | {number(measure.value)} | {quartiles} | {measure.unit} | {measure.bar} |"


def number(value: float) -> str:
    """Three or four digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
