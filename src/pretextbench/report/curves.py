"""Curves of the comparison as tables: accuracy by number of labels, and by severity of a corruption."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from pretextbench.compare import robustness
from pretextbench.compare.comparison import FROM_SCRATCH, Comparison
from pretextbench.compare.protocols import LINEAR
from pretextbench.compare.runs import Run, by_name
from pretextbench.report.label_notes import took_more


def budgets_csv(comparison: Comparison, runs: Sequence[Run]) -> str:
    """A line per row and label budget, all labels included: accuracies are fractions. Empty without labels.

    `note` marks numbers that took more labels. The network that was trained on the few labels alone comes last.
    """
    lines = []
    points = {**comparison.budgets, LINEAR: runs[0].metrics["data"].get("train_labelled")}
    for row in comparison.rows:
        for protocol, labels in sorted(points.items(), key=lambda point: point[1] or 0):
            verdict = comparison.verdicts.get(protocol)
            interval = verdict.interval(row.name) if verdict else None
            if verdict and interval and labels:
                note = "encoder trained with all labels" if took_more(protocol, row) else ""
                lines.append((row.name, labels, verdict.accuracy(row.name), *interval, note))
    for protocol, verdict in comparison.scratch.items():
        ends = verdict.interval(FROM_SCRATCH) or ()
        lines.append((FROM_SCRATCH, comparison.budgets.get(protocol), verdict.accuracy(FROM_SCRATCH), *ends, ""))
    return _table(("name", "labels", "accuracy", "low", "high", "note"), lines)


def robustness_csv(runs: Sequence[Run]) -> str:
    """A line per row, corruption and severity (0 = clean); accuracies are fractions, means over seeds."""
    lines = []
    for name, group in by_name(runs).items():
        curves = robustness.curves(group)
        if len(curves) < len(group):
            continue
        clean = float(np.mean([seed.clean for seed in curves]))
        for corruption in curves[0].corruptions:
            curve = np.mean([seed.corruptions[corruption] for seed in curves], 0)
            lines += [(name, corruption, severity, value) for severity, value in enumerate([clean, *curve.tolist()])]
    return _table(("name", "corruption", "severity", "accuracy"), lines)


def _table(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in line] for line in lines)
    return stream.getvalue()
