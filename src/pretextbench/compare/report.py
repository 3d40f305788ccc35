"""The comparison on disk: leaderboard as CSV, Markdown and picture, metrics for DVC, and the recommendation."""

from pathlib import Path

from pretextbench.compare.comparison import Comparison
from pretextbench.compare.plot import leaderboard_png
from pretextbench.compare.recommend import recommendation_md
from pretextbench.compare.tables import leaderboard_csv, leaderboard_md, metrics_json
from pretextbench.files import write_whole


def write(comparison: Comparison, reports: Path) -> list[Path]:
    """Write the five files into `reports`; other files there are left alone. Returns their paths.

    Raises:
        UserError: the folder cannot be written.
    """
    contents = {
        "leaderboard.csv": leaderboard_csv(comparison).encode(),
        "leaderboard.md": leaderboard_md(comparison).encode(),
        "leaderboard.png": leaderboard_png(comparison),
        "metrics.json": metrics_json(comparison).encode(),
        "recommendation.md": recommendation_md(comparison).encode(),
    }
    for name, content in contents.items():
        write_whole(reports / name, content)
    return [reports / name for name in contents]
