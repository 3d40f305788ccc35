"""Learning curves in the report: the figure, the table, and the sentences on whether the order is settled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.curves import FEWEST, Curve, Turn
from pretextbench.report.sections import picked
from pretextbench.report.svg import STEPS, TEXT, WIDE, Style, chart, interval, label_ends, paint, render, room
from pretextbench.report.tables import row_csv

MOST = 6  # ticks of the axis of images
RING = 11.0  # around a crossing, units of the SVG
STATES = {"settled": "Settled", "moving": "Still moving", "short": "Too short to say"}  # docs/protocol.md defines them


def settled(comparison: Comparison) -> list[str]:
    """Whether the order of the methods is settled, and whether equal work would change it; empty with one method."""
    curves = comparison.curves
    if len(comparison.contenders) < 2:
        return []
    if len(curves.methods) < 2:
        return ["Not known: fewer than two methods have a learning curve (`pretrain.snapshots`)."]
    order = " ".join(filter(None, [_reason(comparison), _first(comparison), _tau(comparison)]))
    part = f" for {curves.distinct:,} of {curves.pairs:,} pairs" if curves.state == "settled" else ""
    state = STATES[curves.state] + (part if curves.distinct < curves.pairs else "")
    return [line for line in (f"**{state}.** {order}", _equal_work(comparison)) if line]


def _first(comparison: Comparison) -> str:
    """The method that k-NN puts first, where the recommendation is about another."""
    first = max(comparison.curves.methods, key=lambda curve: curve.accuracy[-1]).name
    if comparison.leader is None or comparison.leader.name == first:
        return ""
    by_knn, by_linear = comparison.subject(first), comparison.subject(comparison.leader.name)
    return f"This is the order by k-NN: it puts {by_knn} first, and the linear probe {by_linear}."


def _reason(comparison: Comparison) -> str:
    curves, kind = comparison.curves, _kind(comparison)
    last, judge = _share(curves.methods[0], -2), f"k-NN on {curves.votes:,} validation images"
    if curves.state == "short":
        return f"At the end no two {kind} differ by more than the error of {judge}."
    if curves.state == "settled":
        some = f"the {kind} of {curves.distinct:,} of {curves.pairs:,} pairs"
        which = some if curves.pairs > 1 else f"the two {kind}"
        return (
            f"At the end {which} differ by more than the error of {judge}. None has passed another since {last} of the "
            "budget, and none is about to."
        )
    names = comparison.subject
    late = [f"{names(turn.first)} has passed {names(turn.second)}" for turn in curves.turns if turn.late]
    soon = [f"{names(first)} would pass {names(second)}" for first, second in curves.closing]
    parts = [f"Since {last} of the budget {listed(late)}."] if late else []
    parts += [f"At the pace since {last} of the budget, {listed(soon)} within twice the budget."] if soon else []
    return " ".join([*parts, "Compare at a larger budget before you choose."])


def _kind(comparison: Comparison) -> str:
    return "encoders" if comparison.one_seed else "methods"


def _tau(comparison: Comparison) -> str:
    curves, kind = comparison.curves, _kind(comparison)
    if len(curves.methods) < FEWEST:
        return f"Kendall's tau between the order at a snapshot and at the end needs three {kind} or more."
    taus = ", ".join(f"{tau:.2f} at {share:.0%}".replace("%", " %") for share, tau in curves.taus)
    return (
        f"Kendall's tau between the order of the {len(curves.methods)} {kind} at a snapshot and at the end (1: the "
        f"same, -1: reversed): {taus or 'not known, their snapshots differ'}."
    )


def _equal_work(comparison: Comparison) -> str:
    """Whether equal images and equal work give the same order."""
    curves, names = comparison.curves, comparison.subject
    flips = [
        f"{names(flip.images)} is above {names(flip.work)} at {flip.seen:,.0f} images each, and below it at "
        f"{flip.spent / 1e9:,.0f} G multiply-adds each"
        for flip in curves.flips
    ]
    given, other = ("work", "images") if comparison.work else ("images", "work")
    how = "(k-NN on validation, interpolated)"
    parts = [f"**Equal {other} would change the order:** {listed(flips)} {how}."] if flips else []
    if not flips and curves.distinct and len(curves.unknown) < curves.pairs:
        parts = [f"At equal {other} instead of equal {given} no order would turn {how}."]
    if curves.unknown:
        pairs = ", ".join(" and ".join(pair) for pair in curves.unknown)
        parts.append(f"Not compared at equal {other}: {pairs}; this needs a smaller share in `pretrain.snapshots`.")
    return " ".join(parts)


def _share(curve: Curve, place: int) -> str:
    return f"{curve.images[place] / curve.images[-1]:.0%}".replace("%", " %")


def listed(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def crossings(comparison: Comparison) -> list[str]:
    """Each crossing of two methods in words, in the measure of the budget."""
    return [
        f"{turn.first} passes {turn.second} at about {_amount(comparison, turn)}" for turn in comparison.curves.turns
    ]


def _amount(comparison: Comparison, turn: Turn) -> str:
    return f"{turn.work / 1e9:,.0f} G multiply-adds" if comparison.work else f"{turn.images:,.0f} images"


def figure(comparison: Comparison, looks: Mapping[str, Style]) -> Markup | None:
    """Validation k-NN against the budget with its error, and a ring around each crossing; None without curves."""
    curves = comparison.curves.rows
    if not curves:
        return None
    lines = []
    for curve in curves:
        y, error = 100 * np.array(curve.accuracy), 100 * np.array(curve.error)
        band = picked(comparison, curve.name)
        lines.append(Line(curve.name, _places(comparison, curve), y, y - error, y + error, band))
    turns = comparison.curves.turns
    rings = [(turn.work / 1e9 if comparison.work else turn.images / 1000, 100 * turn.accuracy) for turn in turns]
    label = "G multiply-adds" if comparison.work else "thousands of images seen"
    drawn = draw(lines, rings, looks, (label, "validation k-NN (%)"))
    return render(drawn, "curves", "k-NN accuracy on validation along the training, by row")


@dataclass(frozen=True)
class Line:
    """One row in a chart of accuracy against a budget, in percent."""

    name: str
    x: np.ndarray  # (n,) as the axis has it
    y: np.ndarray  # (n,)
    low: np.ndarray  # (n,) ends of the interval
    high: np.ndarray
    band: bool  # the interval is drawn as a band, else as whiskers


def draw(
    lines: Sequence[Line], rings: Sequence[tuple[float, float]], looks: Mapping[str, Style], labels: tuple[str, str]
) -> Figure:
    """Lines with intervals over a logarithmic axis, on which lines between points are straight; named at the end.

    `labels`: of the two axes.
    """
    size = WIDE[0], max(WIDE[1], 80 + TEXT * 1.2 * len(lines))
    drawn, axes = chart(f"{labels[0]}, log scale", labels[1], size, room([line.name for line in lines]))
    for line in lines:
        look = looks[line.name]
        interval(axes, line.x.tolist(), (line.low, line.high), look.hue, line.band)
        axes.plot(line.x, line.y, color=paint(look.hue), ls=look.dash, marker=look.marker, mew=0, lw=2.0, ms=5.5)
    for x, y in rings:
        axes.plot(x, y, "o", ms=RING, mfc="none", mec=paint("ink"), mew=1.2, zorder=9)
    ticks = sorted({round(float(x), 3) for line in lines for x in line.x})
    axes.set_xscale("log")
    axes.set_xticks(ticks if len(ticks) <= MOST else [ticks[0], ticks[-1]])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.3g}" if x < 1000 else f"{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(y=0.07)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    label_ends(axes, {line.name: (float(line.x[-1]), float(line.y[-1])) for line in lines}, dict(looks))
    return drawn


def _places(comparison: Comparison, curve: Curve) -> np.ndarray:
    return np.array(curve.work) / 1e9 if comparison.work else np.array(curve.images) / 1000


def curves_csv(comparison: Comparison) -> str:
    """A line per row and moment; accuracies and their standard errors are fractions. Only a header without curves."""
    lines = [
        (curve.name, round(images), work / 1e9, *numbers)
        for curve in comparison.curves.rows
        for images, work, *numbers in zip(curve.images, curve.work, curve.accuracy, curve.error, strict=True)
    ]
    return row_csv(("name", "images_seen", "total_gmacs", "accuracy", "error"), lines)
