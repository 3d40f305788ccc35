"""The comparison on disk: leaderboard, curves and metrics, the recommendation, and the page that holds all of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pretextbench.base.files import whole_folder, write_whole
from pretextbench.ranking import robustness
from pretextbench.ranking.comparison import FROM_SCRATCH, Comparison
from pretextbench.ranking.protocols import LINEAR
from pretextbench.ranking.runs import Run, by_name
from pretextbench.report.budget_orders import orders_csv
from pretextbench.report.html import Appendix, report_html
from pretextbench.report.label_notes import took_more
from pretextbench.report.learning import curves_csv
from pretextbench.report.plot import leaderboard_png
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_csv, leaderboard_md, row_csv, row_metrics

METRICS = "metrics"  # folder with a file per row


def write(comparison: Comparison, runs: Sequence[Run], reports: Path, appendix: Appendix | None = None) -> list[Path]:
    """Write the nine files and the folder `metrics` into `reports`; others there are left alone. Returns the files.

    Raises:
        UserError: the folder cannot be written.
    """
    extras = appendix or Appendix()
    recommendation = recommendation_md(comparison, extras.audit)
    texts = {
        "leaderboard.csv": leaderboard_csv(comparison),
        "leaderboard.md": leaderboard_md(comparison),
        "budgets.csv": budgets_csv(comparison, runs),
        "robustness.csv": robustness_csv(runs),
        "curves.csv": curves_csv(comparison),
        "orders.csv": orders_csv(comparison),
        "recommendation.md": recommendation,
        "report.html": report_html(comparison, runs, recommendation, extras),
    }
    contents = {"leaderboard.png": leaderboard_png(comparison)} | {name: text.encode() for name, text in texts.items()}
    for name, content in contents.items():
        write_whole(reports / name, content)
    with whole_folder(reports / METRICS) as folder:  # whole: rows of an earlier comparison leave
        for name, text in row_metrics(comparison).items():
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return [reports / name for name in contents]


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
    return row_csv(("name", "labels", "accuracy", "low", "high", "note"), lines)


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
    return row_csv(("name", "corruption", "severity", "accuracy"), lines)
