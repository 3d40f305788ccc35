"""Matplotlib figures as inline SVG that belongs to its page: colours are CSS variables, text is the page's own font.

The page switches its variables between light and dark, and the figures follow. Matplotlib knows no variables, so each
is drawn in a colour that nothing else has, and that is replaced in the text of the SVG.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform
from scipy.optimize import isotonic_regression

from pretextbench.base.colours import CONTROLS, HUES, ORDER, place
from pretextbench.ranking.rows import Row
from pretextbench.ranking.runs import PIXELS, RANDOM

NAMED = ("ink", "soft", "line", "paper", "floor", "floor-text", "ceiling", "ceiling-text")
VARIABLES = NAMED + tuple(f"{kind}{hue}" for kind in ("hue", "text") for hue in range(len(HUES)))
MARKERS, DASHES = "osD^v", ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)))
TEXT, LETTER = 12.0, 0.56  # size of the text in units of the SVG, and the width of a letter as a share of it
WIDE = 440.0, 290.0  # units of the SVG
STEPS = (1, 2, 5, 10)  # of ticks: people count in these
LONGEST = 20  # letters of a label
BASE = {"svg.fonttype": "none"}


def paint(variable: str) -> str:
    """The colour that stands for a CSS variable until the figure is rendered."""
    return f"#fe01{VARIABLES.index(variable):02x}"


@dataclass(frozen=True)
class Style:
    """Colour, marker and dash of one row in every figure and table of the report."""

    hue: str  # CSS variables, of lines and of text
    text: str
    marker: str = "o"
    dash: str | tuple[float, tuple[float, ...]] = "-"


def styles(rows: Sequence[Row]) -> dict[str, Style]:
    """By name, so that a row keeps its hue whatever its rank and whatever it is compared with.

    Marker and dash are by name too, unless a row that comes before in the alphabet has the same look.
    """
    chosen: dict[str, Style] = {}
    for row in sorted(rows, key=lambda row: (row.name not in ORDER, row.name)):
        again, hue = divmod(place(row.name), len(HUES))
        while (look := _look(hue, again)) in chosen.values():
            again += 1
        chosen[row.name] = look
        if row.name in CONTROLS:
            kind = "floor" if row.name in (RANDOM, PIXELS) else "ceiling"
            dash = (0, (1, 1.5)) if row.name == PIXELS else (0, (4, 2))
            chosen[row.name] = Style(kind, f"{kind}-text", "s" if row.name == PIXELS else "o", dash)
    return chosen


def _look(hue: int, again: int) -> Style:
    """The look of a hue that is used for the time `again` (0 first): 25 of them, then they repeat."""
    marker, dash = again % len(MARKERS), (again + again // len(MARKERS)) % len(DASHES)
    return Style(f"hue{hue}", f"text{hue}", MARKERS[marker], DASHES[dash])


def chart(x_label: str, y_label: str, size: tuple[float, float], right: float = 12) -> tuple[Figure, Axes]:
    """Empty axes, sizes in units of the SVG: margins are fixed, so figures side by side line up."""
    (width, height), left, bottom, top = size, 36.0, 44.0, 28.0
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    FigureCanvasSVG(figure)
    place = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    axes = figure.add_axes(place, facecolor="none")
    axes.set_xlabel(x_label, color=paint("soft"), fontsize=TEXT, labelpad=6)
    figure.text(1 / width, 1 - 13 / height, y_label, color=paint("soft"), fontsize=TEXT)
    axes.tick_params(length=0, labelsize=TEXT, labelcolor=paint("soft"), pad=6)
    axes.grid(True, axis="y", color=paint("line"), linewidth=1)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(paint("line"))
    return figure, axes


def interval(axes: Axes, x: Sequence[float], ends: tuple[np.ndarray, np.ndarray], hue: str, band: bool) -> None:
    """Intervals of a line, from `ends[0]` to `ends[1]`: a band for one row of a figure, whiskers for the others."""
    if band:
        axes.fill_between(x, *ends, color=paint(hue), alpha=0.16, lw=0)
    else:
        axes.vlines(x, *ends, color=paint(hue), alpha=0.55, lw=1.2)


def room(names: Sequence[str]) -> float:
    """Units to the right of the axes that hold the names of the lines."""
    return 26 + TEXT * LETTER * max((len(short(name)) for name in names), default=0)


def short(name: str) -> str:
    """A name that fits next to a line."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def label_ends(axes: Axes, ends: dict[str, tuple[float, float]], looks: dict[str, Style]) -> None:
    """Write each line's name next to its last point (data coordinates); call it when the limits are final."""
    names = list(ends)
    points = axes.transData.transform([ends[name] for name in names])
    edge, units = float(axes.bbox.x1), IdentityTransform()
    for name, (x, y), at in zip(names, points, spread(list(points[:, 1]), TEXT * 1.2), strict=True):
        hue = paint(looks[name].hue)
        axes.plot([x + 5, edge + 6, edge + 16], [y, y, at], color=hue, lw=0.8, transform=units, clip_on=False)
        text = paint(looks[name].text)
        axes.text(edge + 19, at, short(name), color=text, fontsize=TEXT, va="center_baseline", transform=units)


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """The places nearest to the wanted ones (least squares) that keep their order and are at least `gap` apart."""
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(order))
    positions = np.empty(len(order))
    positions[order] = isotonic_regression(np.asarray(wanted, float)[order] - steps).x + steps
    return [float(at) for at in positions]


def render(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an `<svg>` element; `name` is unique on the page, `description` is for screen readers."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name is a name, whatever dollars are in it
    stream = io.StringIO()
    with matplotlib.rc_context({**BASE, "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, dpi=72, metadata=nothing)
    drawn = stream.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for pattern, by in (
        (r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", ""),
        (r' xmlns(:\w+)?="[^"]*"| version="1.1"', ""),  # HTML knows SVG without
        (r'<g id="[^"]*"', "<g"),
        (r' transform="rotate\(-0 [^"]*"|<g/>', ""),
        (r"font-family: [^;\"]*;? ?", ""),
        (r"\s*\n\s*", " "),
        (r"(\d\.\d\d)\d+", r"\1"),  # hundredths of a unit are not seen
        (r' id="', f' id="{name}-'),
        (r'xlink:href="#', f'href="#{name}-'),
        (r"url\(#", f"url(#{name}-"),
        (r"#fe01([0-9a-f]{2})", lambda match: f"var(--{VARIABLES[int(match[1], 16)]})"),
        (r'^<svg width="[^"]*" height="[^"]*"', lambda _: f'<svg role="img" aria-label="{escape(description)}"'),
    ):
        drawn = re.sub(pattern, by, drawn, flags=re.DOTALL)
    return Markup(drawn.strip())
