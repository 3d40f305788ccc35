"""The leaderboard as a picture: horizontal bars with intervals, readable in print and by the colour-blind."""

import io
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pretextbench.base.colours import line_colour
from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.protocols import KNN, LINEAR
from pretextbench.ranking.rows import Row
from pretextbench.ranking.runs import RANDOM
from pretextbench.report.label_notes import kinds

INK, FAINT = "#222222", "#DDDDDD"


def leaderboard_png(comparison: Comparison) -> bytes:
    """The accuracies of all rows, best on top; without labels, their RankMe."""
    rows = comparison.rows[::-1]  # the vertical axis grows upwards
    figure = Figure(figsize=(8, 1.9 + 0.42 * len(rows)), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if LINEAR in comparison.verdicts:
        _accuracies(axes, comparison, rows)
    else:
        _ranks(axes, comparison, rows)
    axes.set_yticks(range(len(rows)), [row.title.replace(" (", "\n(") for row in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    axes.xaxis.grid(True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})  # the same numbers give the same bytes
    return stream.getvalue()


def _accuracies(axes: Axes, comparison: Comparison, rows: tuple[Row, ...]) -> None:
    verdict = comparison.verdicts[LINEAR]
    for y, row in enumerate(rows):
        accuracy, interval, knn = (
            verdict.accuracy(row.name),
            verdict.interval(row.name),
            comparison.cell(KNN, row.name),
        )
        if accuracy is None or interval is None:
            axes.text(1, y, "no predictions", va="center", color=INK, style="italic")
            continue
        axes.barh(y, 100 * accuracy, height=0.62, color=line_colour(row.name))
        low, high = 100 * interval[0], 100 * interval[1]
        for color, width in (("white", 5), (INK, 1.8)):  # a white edge, so that it is seen on the bar too
            axes.plot([low, high], [y + 0.08, y + 0.08], color=color, linewidth=width, solid_capstyle="butt")
            axes.plot([low, high], [y + 0.08] * 2, "|", color=color, markersize=9 + width / 5, markeredgewidth=width)
        if knn is not None:
            axes.plot(100 * knn, y - 0.2, "D", color="white", markeredgecolor=INK, markeredgewidth=1.8, markersize=5)
        across: dict[str, Any] = {
            "transform": axes.get_yaxis_transform(),
            "va": "center",
            "color": INK,
        }  # x from 0 to 1 over the axes
        axes.text(1.02, y, f"{100 * accuracy:.1f}", weight="bold", **across)
        axes.text(1.13, y, row.letters, **across)
    top: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom", "color": INK, "fontsize": 9}
    axes.text(1.02, 1.0, "linear %", **top)
    axes.text(1.13, 1.0, "tie", **top)
    _floor(axes, comparison)
    lowest = min((verdict.interval(row.name) or (0.0,))[0] for row in rows)
    axes.set_xlim(min(0.0, 110 * lowest), 100)
    what = f"test {comparison.measure.name} (%), {comparison.images:,} images, {kinds(comparison)}"
    axes.set_xlabel(what, color=INK)
    axes.set_title(
        f"Which {'encoder' if comparison.one_seed else 'pretext method'}? Linear probe, best layer",
        loc="left",
        color=INK,
        weight="bold",
        pad=24,
    )
    _legend(axes, comparison)


def _floor(axes: Axes, comparison: Comparison) -> None:
    """A vertical line at the accuracy of the untrained encoder."""
    floor = comparison.cell(LINEAR, RANDOM)
    if floor is not None:
        axes.axvline(100 * floor, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)


def _legend(axes: Axes, comparison: Comparison) -> None:
    def key(label: str, color: str, marker: str, **style: Any) -> Line2D:
        return Line2D([], [], **{"label": label, "color": color, "marker": marker, "linestyle": "none", **style})

    handles = [
        key(f"{comparison.params.confidence:.0%} interval", INK, "|", linestyle="-", linewidth=1.6, markersize=8),
        key("k-NN", INK, "D", markerfacecolor="white", markeredgewidth=1.8),
        key("untrained", INK, "", linestyle=(0, (4, 3)), linewidth=1),
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.995),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        handletextpad=0.4,
        columnspacing=1.6,
        labelcolor=INK,
    )


def _ranks(axes: Axes, comparison: Comparison, rows: tuple[Row, ...]) -> None:
    for y, row in enumerate(rows):
        value = row.labelfree["rankme"]
        axes.barh(y, value, height=0.62, color=line_colour(row.name))
        axes.text(value, y, f"  {value:.1f}", va="center", color=INK)
    axes.margins(x=0.12)
    axes.set_xlabel(f"RankMe: effective dimensions in use, {comparison.images:,} validation images", color=INK)
    title = "No labels: this finds collapsed encoders, not useful ones"
    axes.set_title(title, loc="left", color=INK, weight="bold", pad=12)
