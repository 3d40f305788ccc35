"""Where the rows differ: accuracy per class, and which classes are taken for which."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pretextbench.compare.cells import Cell, Groups, scores
from pretextbench.compare.comparison import Comparison

MOST_CLASSES, SHOWN, MATRIX = 20, 10, 30  # columns of the heat table, those left where there are more, confusion


def classes(comparison: Comparison, groups: Groups) -> dict[str, Any] | None:
    """Accuracy per class of the linear probe at each row's stage, mean over seeds, as a heat table."""
    names = next(iter(groups.values()))[0].metrics["classes"]
    tables = {}
    for row in comparison.rows:
        if found := scores(groups[row.name], row.layers["linear"]):
            seeds = np.array([test["per_class"] for test in found], float)  # None becomes nan
            tables[row.name] = seeds.mean(0)
    if not tables or any(len(values) != len(names) for values in tables.values()):
        return None
    every = np.stack(list(tables.values()))  # (rows, classes)
    gaps = np.nan_to_num(every.max(0) - every.min(0))
    kept = np.sort(np.argsort(-gaps, kind="stable")[:SHOWN]) if len(names) > MOST_CLASSES else np.arange(len(names))
    low, high = np.nanmin(every[:, kept]), np.nanmax(every[:, kept])
    rows = {
        name: [
            Cell(f"{100 * x:.0f}", heat=0.6 * float((x - low) / ((high - low) or 1)))
            if np.isfinite(x)
            else Cell(why="none")
            for x in values[kept]
        ]
        for name, values in tables.items()
    }
    return {
        "names": [names[i] for i in kept],
        "rows": rows,
        "all": len(names),
        "low": f"{100 * low:.0f}",
        "high": f"{100 * high:.0f}",
    }


def confusion(groups: Groups) -> dict[str, list[list[float]]]:
    """Row -> (classes, classes) shares of each true class, summed over seeds; rows without one are left out."""
    found = {}
    for name, group in groups.items():
        tables = [np.array(run.metrics["confusion"], float) for run in group if run.metrics.get("confusion")]
        if tables:
            counts = np.sum(tables, 0)
            found[name] = np.round(counts / np.maximum(counts.sum(1, keepdims=True), 1), 4).tolist()
    return found


def mistakes(table: Sequence[Sequence[float]], names: Sequence[str], most: int = 3) -> list[str]:
    """The most frequent confusions, in words."""
    shares = np.array(table)
    np.fill_diagonal(shares, 0)
    worst = [divmod(int(k), len(names)) for k in np.argsort(-shares, axis=None, kind="stable")[:most]]
    return [f"{names[i]} for {names[j]} ({100 * shares[i, j]:.0f} %)" for i, j in worst if shares[i, j]]
