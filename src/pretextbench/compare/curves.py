"""Two curves as tables for `dvc plots`: accuracy by number of labels, and by severity of corruption."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from pretextbench.compare.checks import by_name
from pretextbench.compare.comparison import Comparison
from pretextbench.compare.runs import Run


def budgets_csv(comparison: Comparison, runs: Sequence[Run]) -> str:
    """A line per row and label budget, all labels included: accuracies are fractions. Empty without labels."""
    lines = []
    points = {**comparison.budgets, "linear": runs[0].metrics["data"].get("train_labelled")}
    for row in comparison.rows:
        for protocol, labels in sorted(points.items(), key=lambda point: point[1] or 0):
            verdict = comparison.verdicts.get(protocol)
            interval = verdict.interval(row.name) if verdict else None
            if verdict and interval and labels:
                lines.append((row.name, labels, verdict.accuracy(row.name), *interval))
    return _table(("name", "labels", "accuracy", "low", "high"), lines)


def robustness_csv(runs: Sequence[Run]) -> str:
    """A line per row, corruption and severity (0 = clean); accuracies are fractions, means over seeds."""
    lines = []
    for name, group in by_name(runs).items():
        found = [run.metrics.get("robustness", {}) for run in group]
        if not all("corruptions" in one for one in found):
            continue
        clean = float(np.mean([one["clean"] for one in found]))
        for corruption in found[0]["corruptions"]:
            curve = np.mean([one["corruptions"][corruption] for one in found], 0)
            lines += [(name, corruption, severity, value) for severity, value in enumerate([clean, *curve.tolist()])]
    return _table(("name", "corruption", "severity", "accuracy"), lines)


def _table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in line] for line in lines)
    return stream.getvalue()
