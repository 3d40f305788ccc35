"""Two panels of the report: accuracy by class, and the two-dimensional maps of the features."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pretextbench.ranking.comparison import Comparison
from pretextbench.ranking.protocols import best_layers, pictured
from pretextbench.ranking.runs import Run
from pretextbench.report.sections import Cell, Groups, scores

Floats = npt.NDArray[np.float64]
EACH = {"class": "per_class", "multi-label": "per_label", "mask": "iou", "number": ""}  # scores of each by itself
MOST_CLASSES, SHOWN, MATRIX = 20, 10, 30  # columns of the heat table, those left where there are more, confusion


def classes(comparison: Comparison, groups: Groups) -> dict[str, Any] | None:
    """The score of each class, label or value of a mask at each row's layer, mean over seeds, as a heat table."""
    names, key = comparison.task.get("names"), EACH[str(comparison.task.get("name", "class"))]
    names = names or next(iter(groups.values()))[0].metrics["classes"]
    tables = {}
    for row in comparison.rows:
        accuracies = scores(groups[row.name], row.layers["linear"])
        if key and accuracies:
            seeds = np.array([test[key] for test in accuracies], float)  # None becomes nan
            tables[row.name] = seeds.mean(0)
    if not tables or any(len(values) != len(names) for values in tables.values()):
        return None
    every = np.stack(list(tables.values()))  # (rows, classes)
    gaps = np.nan_to_num(every.max(0) - every.min(0))
    columns = np.sort(np.argsort(-gaps, kind="stable")[:SHOWN]) if len(names) > MOST_CLASSES else np.arange(len(names))
    low, high = np.nanmin(every[:, columns]), np.nanmax(every[:, columns])
    rows = {
        name: [
            Cell(f"{100 * x:.0f}", heat=0.6 * float((x - low) / ((high - low) or 1)))
            if np.isfinite(x)
            else Cell(why="none")
            for x in values[columns]
        ]
        for name, values in tables.items()
    }
    return {
        "names": [names[i] for i in columns],
        "rows": rows,
        "all": len(names),
        "low": f"{100 * low:.0f}",
        "high": f"{100 * high:.0f}",
    }


def own_title(comparison: Comparison) -> dict[str, str]:
    """The title of the section on classes, where labels are something else."""
    title = {"multi-label": "Labels one by one", "mask": "Values of the masks"}.get(str(comparison.task.get("name")))
    return {"classes": title} if title else {}


def confusion(groups: Groups) -> dict[str, Floats]:
    """Row -> (classes, classes) shares of each true class, summed over seeds; rows without one are left out."""
    shares = {}
    for name, group in groups.items():
        stage = best_layers(group).get("linear")
        tables = [table for run in group if stage and (table := _counts(run, stage)) is not None]
        if tables:
            counts = np.sum(tables, 0)
            shares[name] = np.round(counts / np.maximum(counts.sum(1, keepdims=True), 1), 4)
    return shares


def _counts(run: Run, stage: str) -> Floats | None:
    """The confusion table of a run at one layer, which need not be its best; None without predictions."""
    predictions, size = run.predictions.get(f"linear.{stage}"), len(run.metrics["classes"])
    if predictions is None or not size:
        return None
    pairs = run.predictions["label"] * size + predictions
    return np.bincount(pairs, minlength=size**2).reshape(size, size).astype(float)


def mistakes(table: Floats, names: Sequence[str], most: int = 3) -> list[str]:
    """The most frequent confusions, in words."""
    shares = table.copy()
    np.fill_diagonal(shares, 0)
    worst = [divmod(int(k), len(names)) for k in np.argsort(-shares, axis=None, kind="stable")[:most]]
    return [f"{names[i]} for {names[j]} ({100 * shares[i, j]:.0f} %)" for i, j in worst if shares[i, j]]


COLOURS = 10  # classes with a colour
SIDE = 200.0  # of a map, in units of its SVG


def maps(groups: Groups) -> dict[str, Any] | None:
    """Row -> "tsne", "pca" -> colour -> SVG path with a dot per image, of one seed: see `pictured`."""
    lines = {name: points for name, group in groups.items() if (points := _points(pictured(group)))}
    if not lines:
        return None
    counts = Counter(line["class"] for points in lines.values() for line in points if line["class"])
    named = sorted(sorted(counts), key=lambda name: -counts[name])[:COLOURS]
    named = sorted(named) if len(counts) <= COLOURS else named
    colours = {name: i for i, name in enumerate(named)}
    drawn = {name: {kind: _dots(points, kind, colours) for kind in ("tsne", "pca")} for name, points in lines.items()}
    return {"rows": drawn, "classes": named, "more": len(counts) - len(named), "images": max(map(len, lines.values()))}


def _points(run: Run) -> list[dict[str, str]]:
    path = run.folder / "map.csv" if run.folder else None
    if path is None or not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _dots(points: Sequence[Mapping[str, str]], kind: str, colours: Mapping[str, int]) -> dict[int, str]:
    """Each image is a line of no length with round ends: a tenth of the bytes of a circle."""
    xy: npt.NDArray[np.float64] = np.array([[float(point[f"{kind}_{axis}"]) for axis in "xy"] for point in points])
    low, size = xy.min(0), float(np.ptp(xy, axis=0).max()) or 1.0
    places = 6 + (SIDE - 12) * ((xy - low) / size + (1 - np.ptp(xy, axis=0) / size) / 2)
    paths: dict[int, list[str]] = {}
    for point, (x, y) in zip(points, places, strict=True):
        paths.setdefault(colours.get(point["class"], -1), []).append(f"M{x:.1f} {SIDE - y:.1f}h0")
    return {colour: "".join(paths[colour]) for colour in sorted(paths)}
