"""Stage `compare`: every evaluation -> leaderboard (csv, md, png), metrics and the recommendation in words."""

from pretextbench.compare.comparison import compare
from pretextbench.compare.report import write
from pretextbench.compare.runs import read
from pretextbench.params import load
from pretextbench.track.runs import record_compare
from stages import layout


def main() -> None:
    """Rank the encoders of this comparison, and no others that may lie beside them."""
    params = load(layout.PARAMS)
    names = params.compare.methods + params.compare.controls
    folders = [f"{name}-{seed}" for name in names for seed in params.compare.seeds]
    evaluations = layout.evaluated("x", 0).parent
    comparison = compare(read(evaluations, evaluations, folders), params.compare, params.compare.seed)
    written = write(comparison, layout.REPORTS)
    record_compare(layout.REPORTS, [evaluations / folder for folder in folders], layout.ROOT)
    for path in written:
        if path.suffix == ".md":
            print(path.read_text(encoding="utf-8"))
