"""The figures of the report, as inline SVG; each is None if its numbers were not measured."""

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from pretextbench.base.measure import Measure, measure_of
from pretextbench.ranking import robustness
from pretextbench.ranking.comparison import FROM_SCRATCH, Comparison
from pretextbench.ranking.protocols import LINEAR
from pretextbench.ranking.protocols import corruptions as corruptions_of
from pretextbench.ranking.runs import Run
from pretextbench.report.label_notes import MARK
from pretextbench.report.sections import Groups, picked
from pretextbench.report.svg import STEPS, TEXT, WIDE, Style, chart, interval, label_ends, paint, render, room

Line = Sequence[float]
SMALL = 220.0, 165.0  # units of the SVG; a phone shows two side by side
PROBES = {"linear": "linear probe", "knn": "k-NN"}
MOST = 300  # points of a curve
APART = 1.5  # between two numbers of labels, so that both can be written under the axis


def layers(groups: Groups, looks: Mapping[str, Style], probe: str) -> Markup | None:
    """Accuracy of a probe at every layer of the encoder, mean over seeds; encoders may have different layers."""
    measure = _measure(groups)
    lines = {
        name: _layer_line([run.metrics[probe]["layers"] for run in group], measure.key)
        for name, group in groups.items()
    }
    ticks = list(dict.fromkeys(layer for line in sorted(lines.values(), key=len, reverse=True) for layer in line))
    figure, axes = chart("layer of the encoder", f"test {measure.name} (%)", _tall(lines), room(list(lines)))
    axes.set_xticks(range(len(ticks)), ticks)
    axes.margins(x=0.06)
    places = {
        name: sorted((ticks.index(layer), accuracy) for layer, accuracy in line.items()) for name, line in lines.items()
    }
    _draw(axes, {name: ([x for x, _ in line], [y for _, y in line]) for name, line in places.items()}, looks)
    return render(figure, f"layers-{probe}", f"Test accuracy of a {PROBES[probe]} at each layer of the encoder, by row")


def _measure(groups: Groups) -> Measure:
    return measure_of(next(iter(groups.values()))[0].metrics)


def _layer_line(layers: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    return {
        layer: float(np.mean([seed[layer].get("test", {}).get(key, math.nan) for seed in layers]))
        for layer in layers[0]
    }


def budgets(comparison: Comparison, groups: Groups, looks: Mapping[str, Style]) -> Markup | None:
    """Accuracy against the number of labels, with intervals; None with fewer than two numbers of labels."""
    granted = {name: labels for name, labels in comparison.budgets.items() if labels and name in comparison.verdicts}
    first = groups[next(iter(groups))][0].metrics
    if everything := first["data"].get("train_labelled"):
        granted[LINEAR] = everything
    numbers = sorted(granted.items(), key=lambda item: item[1])
    if len({labels for _, labels in numbers}) < 2:
        return None
    names = [*groups, *([FROM_SCRATCH] if comparison.scratch else [])]
    figure, axes = chart(
        "labels (log scale)", f"test {comparison.measure.name} (%)", _tall(names), room([f"{n} {MARK}" for n in names])
    )
    axes.set_xscale("log")
    ticks = [labels for _, labels in numbers]
    apart = [True, *(later > APART * earlier for earlier, later in pairwise(ticks))]
    axes.set_xticks(ticks, [f"{labels:,}" if free else "" for labels, free in zip(ticks, apart, strict=True)])
    axes.xaxis.set_minor_locator(NullLocator())
    lines, looks = {}, dict(looks)
    marked = {row.name for row in comparison.rows if row.used_labels}
    for name in [*groups, FROM_SCRATCH]:
        tables = comparison.scratch if name == FROM_SCRATCH else comparison.verdicts
        points = [(labels, tables[key]) for key, labels in numbers if key in tables and name in tables[key].names]
        if not points:
            continue
        title = f"{name} {MARK}" if name in marked else name
        looks[title] = Style("soft", "soft", "v", (0, (1, 2))) if name == FROM_SCRATCH else looks[name]
        x = [labels for labels, _ in points]
        low, high = 100 * np.array([verdict.interval(name) for _, verdict in points]).T
        interval(axes, x, (low, high), looks[title].hue, band=picked(comparison, name))
        lines[title] = (x, [verdict.accuracy(name) or 0.0 for _, verdict in points])
    _draw(axes, lines, looks)
    return render(figure, "labels", "Test accuracy against the number of labels, by row")


def severity(groups: Groups, looks: Mapping[str, Style]) -> Markup | None:
    """Mean accuracy over all corruptions, from clean images (0) to the strongest corruption."""
    lines = {name: line for name, group in groups.items() if (line := _robust(group, None))}
    if not lines:
        return None
    axis = f"test {_measure(groups).name} (%)"
    figure, axes = chart("severity of the corruption (0 = clean)", axis, _tall(lines), room(list(lines)))
    _draw(axes, {name: (range(len(line)), line) for name, line in lines.items()}, looks)
    return render(figure, "severity", "Mean test accuracy over all corruptions against their severity, by row")


def corruptions(groups: Groups, looks: Mapping[str, Style]) -> dict[str, Markup]:
    """The same for each corruption by itself, small and on one scale."""
    kinds = dict.fromkeys(kind for group in groups.values() for kind in corruptions_of(group[0].metrics))
    drawn, top = {}, 0.0
    lines = {kind: {name: line for name, group in groups.items() if (line := _robust(group, kind))} for kind in kinds}
    top = max((100 * max(line) for some in lines.values() for line in some.values()), default=0)
    for i, kind in enumerate(kinds):
        figure, axes = chart("severity", f"{_measure(groups).name} (%)", SMALL)
        axes.set_ylim(0, top * 1.04)
        axes.set_xticks(range(6))
        _draw(axes, {name: (range(len(line)), line) for name, line in lines[kind].items()}, looks, labels=False)
        drawn[kind] = render(figure, f"corruption{i}", f"Test accuracy against severity of {kind}, by row")
    return drawn


def _robust(group: Sequence[Run], kind: str | None) -> Line | None:
    parts = [part for part in robustness.curves(group) if kind is None or kind in part.corruptions]
    curves = [[part.clean, *(part.mean if kind is None else part.corruptions[kind])] for part in parts]
    return [float(y) for y in np.mean(curves, 0)] if curves else None


def losses(groups: Groups, looks: Mapping[str, Style]) -> dict[str, Markup]:
    """Row -> its training loss, one line per seed."""
    drawn = {}
    for i, (name, group) in enumerate(groups.items()):
        curves = [curve for run in group if len(curve := _history(run))]
        if not curves:
            continue
        figure, axes = chart("images seen (thousands)", "loss", SMALL)
        for curve in curves:
            axes.plot(curve[:, 0] / 1000, curve[:, 1], color=paint(looks[name].hue), lw=1.5)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        drawn[name] = render(figure, f"loss{i}", f"Training loss of {name} against images seen")
    return drawn


def _history(run: Run) -> np.ndarray:
    """(n, 2) images seen and loss; empty where there is no history or nothing was trained."""
    path = run.folder / "history.csv" if run.folder else None
    if path is None or not path.is_file():
        return np.empty((0, 2))
    with path.open(encoding="utf-8", newline="") as stream:
        lines = [(line.get("images"), line.get("loss")) for line in csv.DictReader(stream)]
    curve = np.array([(float(images), float(loss)) for images, loss in lines if images and loss]).reshape(-1, 2)
    return curve[:: max(1, len(curve) // MOST)]


def _tall(names: Collection[str]) -> tuple[float, float]:
    """Higher where many names stand next to the lines."""
    return WIDE[0], max(WIDE[1], 80 + TEXT * 1.2 * len(names))


def _draw(
    axes: Axes, lines: Mapping[str, tuple[Sequence[float], Line]], looks: Mapping[str, Style], labels: bool = True
) -> None:
    """Fractions as lines in percent, the best row on top, with their names where they end."""
    for depth, (name, (x, y)) in enumerate(lines.items()):
        look, hue = looks[name], paint(looks[name].hue)
        size: dict[str, Any] = {"lw": 2.0, "ms": 5.5} if labels else {"lw": 1.6, "ms": 0}
        axes.plot(
            x, 100 * np.array(y), color=hue, ls=look.dash, marker=look.marker, mew=0, zorder=9 - depth / 99, **size
        )
    axes.yaxis.set_major_locator(
        MaxNLocator(5 if labels else 4, integer=True, steps=STEPS if labels else (1, 2.5, 5, 10))
    )
    axes.margins(y=0.07)
    if labels:
        ends = {name: (x[-1], 100 * y[-1]) for name, (x, y) in lines.items() if math.isfinite(y[-1])}
        axes.set_xlim(axes.get_xlim())
        axes.set_ylim(axes.get_ylim())
        label_ends(axes, ends, dict(looks))
