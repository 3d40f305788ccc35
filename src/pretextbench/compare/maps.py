"""The maps of features, from the tables that the evaluations leave, as dots in an SVG."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pretextbench.compare.cells import Groups
from pretextbench.compare.runs import Run

COLOURS = 10  # classes with a colour
SIDE = 200.0  # of a map, in units of its SVG


def maps(groups: Groups) -> dict[str, Any] | None:
    """Row -> "tsne", "pca" -> colour -> SVG path with a dot per image, of the first seed that has a map."""
    lines = {name: found for name, group in groups.items() if (found := _points(group[0]))}
    if not lines:
        return None
    counts = Counter(line["class"] for found in lines.values() for line in found if line["class"])
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
