"""Tuning in the report: a sentence on equal chances, a table of what was chosen, and a figure of the trials."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from pretextbench.ranking.comparison import Comparison
from pretextbench.report.sections import DASH
from pretextbench.report.sentences import count
from pretextbench.report.svg import Style, chart, paint, render
from pretextbench.tune.summary import Row, Summary

SIZE = (220.0, 165.0)  # units of the SVG
HEADER = ("chosen", "gain, points", "trials", "lost", "images", "seconds")


def sentence(comparison: Comparison) -> str:
    """How the parameters of the methods were chosen: one sentence, and one on rows that were left out."""
    tried = {name: tuning for name, tuning in comparison.tuning.items() if tuning.rows}
    left = {name: tuning.reason for name, tuning in comparison.tuning.items() if tuning.reason}
    if not comparison.tuning:
        how = "`tune.trials` gives all of them the same number of trials."
        advice = how if comparison.verdicts else "Tuning needs labels."
        return (
            "Nothing was tuned: each method has its default parameters, or those of `methods` in `params.yaml`. "
            + advice
        )
    if not tried:
        return (
            f"Nothing was tuned, because {', '.join(dict.fromkeys(left.values()))}: each method has its own parameters."
        )
    (name, first), *others = tried.items()
    gains = [100 * tuning.gain for tuning in tried.values() if tuning.gain is not None]
    gained = f", and gained {_span(gains, 1)} points there" if gains else ""
    images = max(tuning.images for tuning in tried.values())  # of one that lost no trial
    seconds = _span([tuning.seconds for tuning in tried.values()], 0)
    subject, trials = ("Each method" if others else name), count(len(first.rows), "trial")
    text = (
        f"{subject} was tuned on validation with {trials}, which saw {images:,} images in all and took {seconds} "
        f"s{gained}."
    )
    whose = "their" if len(left) > 1 else "its"
    reasons = "; ".join(f"{row} ({why})" for row, why in left.items())
    exceptions = f" Kept {whose} own parameters: {reasons}." if left else ""
    controls = any(row.kind == "control" and row.images_seen for row in comparison.rows)
    return text + exceptions + (" Trained controls were not tuned." if controls else "")


def _span(numbers: Sequence[float], digits: int) -> str:
    low, high = f"{min(numbers):,.{digits}f}", f"{max(numbers):,.{digits}f}"
    return low if low == high else f"{low} to {high}"


def section(comparison: Comparison, looks: Mapping[str, Style]) -> dict[str, Any] | None:
    """The section of the page; None where tuning is off."""
    if not comparison.tuning:
        return None
    return {
        "sentence": sentence(comparison).replace("`", ""),
        "header": HEADER,
        "rows": {name: _cells(tuning) for name, tuning in comparison.tuning.items()},
        "figures": {
            name: _figure(name, i, tuning.rows, looks[name])
            for i, (name, tuning) in enumerate(comparison.tuning.items())
            if any(row.scores for row in tuning.rows) and name in looks
        },
    }


def _cells(tuning: Summary) -> tuple[str, ...]:
    chosen = ", ".join(f"{name} {value}" for name, value in tuning.chosen.items())
    own = f"its own: {tuning.reason}" if tuning.reason else "its own"
    return (
        chosen or own,
        DASH if tuning.gain is None else f"{100 * tuning.gain:.1f}",
        f"{len(tuning.rows)}",
        f"{sum(row.state == 'lost' for row in tuning.rows)}",
        f"{tuning.images:,}",
        f"{tuning.seconds:,.0f}",
    )


def _figure(name: str, number: int, rows: Sequence[Row], look: Style) -> Markup:
    """Scores of all trials by round; the chosen one and the method's own parameters stand out."""
    figure, axes = chart("round", "k-NN on validation (%)", SIZE)
    for row in sorted(rows, key=lambda row: (row.chosen, row.number == 0)):
        hue = paint(look.hue if row.chosen else "soft")
        marker, face = ("D", "paper") if row.number == 0 else ("o", look.hue if row.chosen else "soft")
        axes.plot(
            range(1, len(row.scores) + 1),
            [100 * score for score in row.scores],
            color=hue,
            marker=marker,
            mfc=paint(look.hue if row.chosen else face),
            lw=1.8 if row.chosen else 0.9,
            ms=6 if row.chosen or row.number == 0 else 4,
        )
    axes.set_xticks(range(1, max(len(row.scores) for row in rows) + 1))
    axes.margins(x=0.1, y=0.1)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return render(figure, f"tuning{number}", f"Accuracy on validation of each trial of {name}, by round")
