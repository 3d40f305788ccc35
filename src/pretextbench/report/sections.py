"""The sections of the report as data: columns, cells and groups of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretextbench.ranking import robustness
from pretextbench.ranking.agreement import LABEL_FREE
from pretextbench.ranking.comparison import FROM_SCRATCH, Comparison
from pretextbench.ranking.protocols import CORRUPTED, LAST, LINEAR, TRANSFER, Protocol, fine_tuned
from pretextbench.ranking.rows import Row
from pretextbench.ranking.runs import PIXELS, RANDOM, Run
from pretextbench.report.label_notes import mark
from pretextbench.report.sentences import p_value, points, shown_above
from pretextbench.report.tables import percent

Groups = Mapping[str, Sequence[Run]]  # row -> its runs, rows best first


@dataclass(frozen=True)
class Cell:
    """One number of a table with its interval, or the reason why there is none."""

    text: str = ""
    interval: str = ""
    why: str = ""
    best: bool = False  # of the methods in its column
    heat: float = 0.0  # from 0 to 1


def scores(group: Sequence[Run], layer: str) -> list[dict[str, Any]]:
    """The test scores of the linear probe at one layer, one per seed that has any."""
    tests = [run.metrics["linear"]["layers"][layer].get("test") for run in group]
    return [test for test in tests if test]


# Further scores of the linear probe at the row's layer: key, whether it is a fraction that is shown in percent.
SCORES = {
    "class": (("balanced_accuracy", True), ("macro_f1", True), ("ece", True)),
    "multi-label": (("micro_map", True), ("auroc", True)),
    "number": (("mae", False), ("rmse", False), ("spearman", False)),
    "mask": (("pixel_accuracy", True),),
}
HEADS = {
    "class": ("balanced accuracy, %", "macro F1, %", "calibration error, %"),
    "multi-label": ("mAP of all labels together, %", "area under ROC, %"),
    "number": ("mean absolute error", "root mean squared error", "Spearman's rank correlation"),
    "mask": ("pixels that are right, %",),
}
MINUS, DASH = "\u2212", "\u2013"


def winners(comparison: Comparison) -> list[str]:
    """The methods to use: of the picked one and its ties those that are shown to beat `random` and `pixels`.

    None if the picked one is not shown to.
    """
    leader = comparison.leader
    if leader is None or comparison.better:
        return []
    verdict = comparison.verdicts[LINEAR]
    floors = [floor for floor in (RANDOM, PIXELS) if floor in verdict.names]
    tied = [row.name for row in comparison.tied]
    names = [name for name in tied if all(shown_above(comparison, verdict, name, floor) for floor in floors)]
    return names if leader.name in names else []


def picked(comparison: Comparison, name: str) -> bool:
    """Whether validation picked the row of this name."""
    return comparison.leader is not None and comparison.leader.name == name


def column(comparison: Comparison, protocol: Protocol) -> dict[str, Cell]:
    """The accuracies under one protocol, by row."""
    values = {row.name: comparison.cell(protocol, row.name) for row in comparison.rows}
    methods = [value for row in comparison.rows if not row.control and (value := values[row.name]) is not None]
    cells = {}
    for row in comparison.rows:
        value = values[row.name]
        if value is None:
            mine = [note for note in row.notes if note.startswith(f"{protocol.budget or protocol}: ")]
            mine = mine or [note for note in row.notes if note.partition(": ")[0] not in comparison.budgets]
            cells[row.name] = Cell(why="; ".join(dict.fromkeys(mine)) or "not measured")
            continue
        low, high = comparison.verdicts[protocol].interval(row.name) or (value, value)
        best = not row.control and value == max(methods)
        text = percent(value) + mark(protocol, row)
        cells[row.name] = Cell(text, DASH.join((percent(low), percent(high))), best=best)
    return cells


def scratch(comparison: Comparison) -> dict[str, Cell]:
    """Heading of a label budget -> the network that was trained on these labels alone."""
    cells = {}
    for protocol, verdict in comparison.scratch.items():
        low, high = verdict.interval(FROM_SCRATCH) or (0.0, 0.0)
        text = percent(verdict.accuracy(FROM_SCRATCH))
        cells[protocol.heading] = Cell(text, DASH.join((percent(low), percent(high))))
    return cells


def other_protocols(comparison: Comparison, runs: Sequence[Run]) -> dict[str, dict[str, Cell]]:
    """The protocols that were run, apart from those of the leaderboard: heading -> row -> cell."""
    tuned = dict.fromkeys(protocol for run in runs for protocol in fine_tuned(run.metrics))
    wanted = {protocol.heading: protocol for protocol in [*comparison.budgets, *tuned]}
    source = next((run.metrics["transfer"].get("source") for run in runs if "transfer" in run.metrics), None)
    wanted |= {f"transfer to {source}": Protocol(TRANSFER), "corrupted images": Protocol(CORRUPTED)}
    protocols = {k: v for k, v in wanted.items() if v in comparison.verdicts or v in tuned}
    return {heading: column(comparison, protocol) for heading, protocol in protocols.items()}


def forest(comparison: Comparison, ends: tuple[float, float], ticks: Sequence[float]) -> dict[str, Any]:
    """Places in percent of the width, for points with intervals on an axis between two ends."""
    verdict, (low, high) = comparison.verdicts[LINEAR], ends

    def place(fraction: float) -> float:
        return round(100 * (100 * fraction - low) / (high - low), 2)

    rows = {}
    for name in (*verdict.names, *verdict.references):
        start, end = (place(x) for x in verdict.interval(name) or (0, 0))
        rows[name] = {"at": place(verdict.accuracy(name) or 0), "start": start, "width": round(end - start, 2)}
    floor = verdict.accuracy(RANDOM)
    marks = [{"at": place(tick / 100), "text": f"{tick:g}"} for tick in ticks]
    return {"rows": rows, "ticks": marks, "floor": None if floor is None else place(floor)}


def pairs(comparison: Comparison) -> dict[str, Any] | None:
    """Row by row the differences to every worse row, in points, best first."""
    verdict = comparison.verdicts[LINEAR]
    names = [row.name for row in comparison.rows if row.name in verdict.names]
    if len(names) < 2:
        return None
    largest = float(np.abs(verdict.judgement.difference).max()) or 1.0
    rows = []
    for i, name in enumerate(names[:-1]):
        cells = []
        for second in names[i + 1 :]:
            gap, asked = points(verdict, name, second), verdict.asked(name, second)
            p = verdict.p(name, second) if asked else 1.0
            heat = 0.12 + 0.005 * gap / largest if p < verdict.judgement.level else 0.0
            cells.append(Cell(f"{gap:+.1f}", p_value(p) if asked else "", heat=heat))
        rows.append({"name": name, "skipped": i, "cells": cells})
    return {"columns": names[1:], "rows": rows}


def lost(groups: Groups) -> dict[str, list[float]]:
    """Row -> accuracy on clean images, on corrupted ones, and the share that is lost; means over seeds."""
    accuracies = {}
    for name, group in groups.items():
        parts = [(part, part.relative_drop) for part in robustness.curves(group)]
        three = [(part.clean, float(np.mean(part.mean)), drop) for part, drop in parts if drop is not None]
        if three:
            accuracies[name] = [float(x) for x in np.mean(three, 0)]
    return accuracies


def more(comparison: Comparison, groups: Groups) -> dict[str, list[Cell]]:
    """Row -> the numbers that have no figure: scores at the best layer, calibration, speed, size."""
    rows, last = {}, column(comparison, LAST)
    for row in comparison.rows:
        cells = _scored(row, groups[row.name], comparison.task.get("name", "class")) if comparison.verdicts else []
        first = [Cell(last[row.name].text, why=last[row.name].why)] if comparison.verdicts else []
        rows[row.name] = first + [Cell(text, why="" if text else "not measured") for text in (*cells, *_cost(row))]
    return rows


def _scored(row: Row, group: Sequence[Run], task: str) -> list[str]:
    tests = scores(group, row.layers["linear"])
    cells = [row.layers["linear"], row.layers["knn"]]
    for key, percents in SCORES[task]:
        values = [test[key] for test in tests if test.get(key) is not None]
        shown = percent if percents else "{:.4g}".format
        cells.append(shown(float(np.mean(values))) if values else "")
    return cells


def _cost(row: Row) -> list[str]:
    numbers = (row.seconds, row.images_per_second, row.peak_memory_mib, row.parameters)
    work = (row.multiply_adds / 1e6, row.training_multiply_adds / 1e6, row.total_multiply_adds / 1e9)
    seen = (f"{row.images_seen:,}", f"{row.epochs:.3g}")
    return [*seen, *(f"{number:,.0f}" for number in numbers), f"{row.views}", *(f"{number:,.1f}" for number in work)]


def look_alikes(groups: Groups) -> dict[str, Any] | None:
    """Retrieval among the training images by the row's features, mean over seeds; None where it was not measured."""
    rows, k = {}, ("1", "5", "10")
    parts = {name: [run.metrics.get("retrieval", {}) for run in group] for name, group in groups.items()}
    for name, seeds in parts.items():
        if all("map" in seed for seed in seeds):
            hits = [float(np.mean([seed["recall"][count] for seed in seeds])) for count in k]
            rows[name] = [seeds[0]["layer"], *map(percent, (float(np.mean([seed["map"] for seed in seeds])), *hits))]
    if not rows:
        return None
    first = next(seeds[0] for name, seeds in parts.items() if name in rows)
    return {"rows": rows, "queries": first["queries"], "chance": percent(first["chance"])}


def labelfree(comparison: Comparison) -> dict[str, Any]:
    """The measures of every row, and their agreement with the order by labels."""
    shown = [name for name in LABEL_FREE if name in comparison.rows[0].labelfree]
    rows = {
        row.name: [f"{row.labelfree[name]:.3g}".replace("-", MINUS) if name in row.labelfree else "" for name in shown]
        for row in comparison.rows
    }
    level = 1 - comparison.params.confidence
    follow = [LABEL_FREE[cells.measure].title for cells in comparison.agreements if cells.p < level and cells.tau > 0]
    agreements = [
        {
            "name": LABEL_FREE[cells.measure].title,
            "tau": _signed(cells.tau),
            "interval": f"{_signed(cells.low)} to {_signed(cells.high)}",
            "p": f"{cells.p:.3f}",
        }
        for cells in comparison.agreements
    ]
    return {
        "heads": [(LABEL_FREE[name].title, LABEL_FREE[name].meaning) for name in shown],
        "rows": rows,
        "follow": follow,
        "agreements": agreements,
    }


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", MINUS)
