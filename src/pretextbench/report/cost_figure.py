"""Accuracy against cost, in time and in multiply-adds, with the rows that no other row beats in both."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import IdentityTransform

from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.protocols import LINEAR
from pretextbench.ranking.rows import Row
from pretextbench.report.svg import LETTER, STEPS, TEXT, WIDE, Style, chart, paint, render, short

Box = tuple[float, float, float, float]  # left, bottom, right, top


def costs(comparison: Comparison, looks: Mapping[str, Style]) -> list[tuple[str, Sequence[str], Markup]]:
    """The word for the cost, its front and the figure: of time and of work; empty with fewer than two rows."""
    rows = [row for row in comparison.rows if comparison.cell(LINEAR, row.name) is not None]
    if len(rows) < 2:
        return []
    longest = max(row.seconds for row in rows)
    unit, size = ("hours", 3600) if longest >= 7200 else ("minutes", 60) if longest >= 180 else ("seconds", 1)
    figure = _figure(comparison, looks, ("cost", unit), comparison.front, lambda row: row.seconds / size)
    drawn: list[tuple[str, Sequence[str], Markup]] = [("time", comparison.front, figure)]
    if any(row.total_multiply_adds for row in rows):
        labels = "work", "G multiply-adds"
        figure = _figure(comparison, looks, labels, comparison.work_front, lambda row: row.total_multiply_adds / 1e9)
        drawn.append(("multiply-adds", comparison.work_front, figure))
    return drawn


def _figure(
    comparison: Comparison,
    looks: Mapping[str, Style],
    labels: tuple[str, str],
    names: Sequence[str],
    cost: Callable[[Row], float],
) -> Markup:
    """Accuracy against one cost, with its id and unit; the line joins `names`, the rows that none beats in both."""
    rows = [row for row in comparison.rows if comparison.cell(LINEAR, row.name) is not None]
    points = {row.name: (cost(row), 100 * (comparison.cell(LINEAR, row.name) or 0.0)) for row in rows}
    (label, unit), most = labels, max(x for x, _ in points.values())
    figure, axes = chart(f"pretraining ({unit})", f"test {comparison.measure.name} (%)", WIDE)
    front = np.array([points[name] for name in names])
    if len(front) > 1:
        axes.step(front[:, 0], front[:, 1], where="post", color=paint("soft"), lw=1.2, ls=(0, (2, 3)))
    for row, (x, y) in points.items():
        low, high = comparison.verdicts[LINEAR].interval(row) or (y, y)
        axes.plot([x, x], [100 * low, 100 * high], color=paint(looks[row].hue), lw=2, alpha=0.5)
        hollow = "paper" if row not in names else looks[row].hue
        axes.plot(x, y, looks[row].marker, ms=8, mew=2, mec=paint(looks[row].hue), mfc=paint(hollow), zorder=3)
    axes.set_xlim(-0.03 * most, 1.06 * most or 1.0)
    axes.margins(y=0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=STEPS))
    _label_points(axes, points, names, looks)
    return render(figure, label, f"Test accuracy against {unit} of pretraining, one point per row")


def _label_points(
    axes: Axes, points: Mapping[str, tuple[float, float]], front: Sequence[str], looks: Mapping[str, Style]
) -> None:
    """Each name at that side of its point where it covers the least of points, names and the front."""
    axes.set_ylim(axes.get_ylim())
    places = dict(zip(points, axes.transData.transform(list(points.values())), strict=True))
    taken: list[Box] = [(x - 7, y - 7, x + 7, y + 7) for x, y in places.values()]
    for (x, y), (right, up) in pairwise(places[name] for name in front):
        taken += [(x, y - 1, right, y + 1), (right - 1, y, right + 1, up)]
    for name, (x, y) in places.items():
        side, at, box = _side(x, y, TEXT * LETTER * len(short(name)), taken, axes.bbox)
        taken.append(box)
        text: dict[str, Any] = {"color": paint(looks[name].text), "fontsize": TEXT, "va": "center_baseline", "ha": side}
        axes.text(*at, short(name), transform=IdentityTransform(), **text)


def _side(x: float, y: float, width: float, taken: Sequence[Box], frame: Any) -> tuple[str, tuple[float, float], Box]:
    """Candidate positions of a text: alignment, place, and the box that it fills. The first of equals wins."""
    tried = []
    sides = (
        ("left", 11, 0),
        ("right", -11, 0),
        ("center", 0, 16),
        ("center", 0, -16),
        ("left", 9, 11),
        ("left", 9, -11),
    )
    for i, (side, dx, dy) in enumerate(sides):
        start = x + dx - width * {"left": 0, "center": 0.5, "right": 1}[side]
        box = (start, y + dy - TEXT / 2, start + width, y + dy + TEXT / 2)
        outside = max(0.0, frame.x0 - box[0]) + max(0.0, box[2] - frame.x1) + max(0.0, frame.y0 - box[1])
        covered = sum(_overlap(box, label) for label in taken) + TEXT * outside
        tried.append((covered, i, side, (x + dx, y + dy), box))
    return min(tried)[2:]


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
