"""The comparison on disk: leaderboard, curves and metrics, the recommendation, and the page that holds all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretextbench.base.files import read_json, whole_folder, write_whole
from pretextbench.compare.comparison import Comparison
from pretextbench.compare.runs import Run
from pretextbench.report.budget_orders import orders_csv
from pretextbench.report.curves import budgets_csv, robustness_csv
from pretextbench.report.html import report_html
from pretextbench.report.learning import curves_csv
from pretextbench.report.plot import leaderboard_png
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_csv, leaderboard_md, row_metrics

METRICS = "metrics"  # folder with a file per row


@dataclass(frozen=True)
class Appendix:
    """Contents of the page besides the comparison."""

    audit: Mapping[str, Any] | None = None  # content of audit.json; `said` is its sentence
    pairs: bytes | None = None  # PNG of the pairs that it found
    recipe: Mapping[str, str] = field(default_factory=dict)  # heading -> text: how to get the result again

    @classmethod
    def read(cls, audit: Path, recipe: Mapping[str, str]) -> "Appendix":
        """From the folder of the leak audit.

        Raises:
            UserError: it cannot be read.
        """
        content = read_json(audit / "audit.json", "Run the audit stage; it writes it.")
        picture = audit / "pairs.png"
        return cls(content, picture.read_bytes() if picture.is_file() else None, recipe)


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
        "report.html": report_html(comparison, runs, recommendation, extras.audit, extras.pairs, extras.recipe),
    }
    contents = {"leaderboard.png": leaderboard_png(comparison)} | {name: text.encode() for name, text in texts.items()}
    for name, content in contents.items():
        write_whole(reports / name, content)
    with whole_folder(reports / METRICS) as folder:  # whole: rows of an earlier comparison leave
        for name, text in row_metrics(comparison).items():
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return [reports / name for name in contents]
