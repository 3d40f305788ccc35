"""Tables of the comparison: leaderboard (CSV, Markdown), and a few numbers of each row for DVC."""

import csv
import io
import json
from collections.abc import Iterable, Sequence

import numpy as np

from pretextbench.base.colours import line_colour
from pretextbench.ranking.comparison import FROM_SCRATCH, Comparison
from pretextbench.ranking.protocols import KNN, LAST, LINEAR, Protocol
from pretextbench.ranking.rows import Row
from pretextbench.report.label_notes import caption, label_notes, mark

Cell = str | int | float | None
MEASURES = ("rankme", "uniformity", "feature_std", "alignment")  # keys of LABEL_FREE in the order of the files' columns
SPEED = ["seconds", "images/s", "peak MiB", "parameters"]
COST = ["images seen", "epochs", "views", "M multiply-adds/image", "G multiply-adds", *SPEED]  # headings of `_cost`


def leaderboard_csv(comparison: Comparison) -> str:
    """One line per row, best first. Accuracies are fractions; an empty cell has its reason in `notes`."""
    rows = [_record(comparison, row) for row in comparison.rows]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def row_csv(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Lines that begin with the name of a row, with the colour of the row at the end, for the plots of DVC."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*header, "colour"])
    for line in lines:
        cells = [f"{cell:.6g}" if isinstance(cell, float) else cell for cell in line]
        writer.writerow([*cells, line_colour(str(line[0]))])
    return stream.getvalue()


def _record(comparison: Comparison, row: Row) -> dict[str, Cell]:
    record: dict[str, Cell] = {
        "name": row.name,
        "kind": row.kind,
        "seeds": len(row.seeds),
        "knn": comparison.cell(KNN, row.name),
        **_ends(comparison, KNN, row),
        "knn_layer": row.layers.get("knn"),
        "linear": comparison.cell(LINEAR, row.name),
        **_ends(comparison, LINEAR, row),
        "linear_layer": row.layers.get("linear"),
        "linear_last_layer": comparison.cell(LAST, row.name),
        **_ends(comparison, LAST, row, "linear_last_layer"),
        "tie_group": row.letters or None,
        "linear_validation": float(np.mean(row.validation)) if row.validation else None,
        "picked": int(row is comparison.leader),
    }
    for protocol in _further(comparison):
        record |= {protocol.column: comparison.cell(protocol, row.name), **_ends(comparison, protocol, row)}
    record |= {
        "images_seen": row.images_seen,
        "epochs": round(row.epochs, 3),
        "seconds": round(row.seconds, 3),
        "images_per_second": round(row.images_per_second, 1),
        "peak_memory_mib": round(row.peak_memory_mib, 1),
        "parameters": row.parameters,
        "views": row.views,
        "encoder_mmacs": round(row.multiply_adds / 1e6, 3),
        "training_mmacs": round(row.training_multiply_adds / 1e6, 3),
        "total_gmacs": round(row.total_multiply_adds / 1e9, 3),
        "on_cost_front": int(row.name in comparison.front),
        "on_work_front": int(row.name in comparison.work_front),
        **tuning_cost(comparison, row.name),
    }
    record |= {measure: row.labelfree.get(measure) for measure in MEASURES if measure in comparison.rows[0].labelfree}
    rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in record.items()}
    notes = [*row.notes, *(["few labels: its encoder was trained with all labels"] if row.used_labels else [])]
    return {**rounded, "notes": "; ".join(notes) or None, "colour": line_colour(row.name)}


def tuning_cost(comparison: Comparison, name: str) -> dict[str, Cell]:
    """Trials of a row's tuning, their images and seconds, and the gain on validation, a fraction."""
    tuning = comparison.tuning.get(name)
    numbers = (len(tuning.rows), tuning.images, tuning.seconds, tuning.gain) if tuning else (0, 0, 0.0, None)
    return dict(zip(("tuning_trials", "tuning_images", "tuning_seconds", "tuning_gain"), numbers, strict=True))


def _ends(comparison: Comparison, protocol: Protocol, row: Row, column: str = "") -> dict[str, Cell]:
    """The ends of the interval of an accuracy, as two more columns."""
    verdict = comparison.verdicts.get(protocol)
    low, high = (verdict.interval(row.name) if verdict else None) or (None, None)
    return {f"{column or protocol.column}_low": low, f"{column or protocol.column}_high": high}


def _further(comparison: Comparison) -> list[Protocol]:
    """The protocols after k-NN and the linear probe with all labels: few labels, then those that were asked for."""
    return [*comparison.budgets, *(protocol for protocol in comparison.verdicts if protocol.extra)]


def row_metrics(comparison: Comparison) -> dict[str, str]:
    """Row -> JSON of about five numbers, for `dvc metrics show`: a line per row; an empty cell is left out."""
    labels = {protocol: count for protocol, count in comparison.budgets.items() if count}
    most = [max(labels, key=lambda protocol: labels[protocol]).column] if labels else []
    judged = ("linear", "knn", *most, "corrupted") if comparison.verdicts else MEASURES
    files = {}
    for row in comparison.rows:
        record = _record(comparison, row)
        numbers = {key: value for key in judged if isinstance(value := record.get(key), float | int)}
        files[row.name] = json.dumps({**numbers, "seconds": round(row.seconds, 1)}, indent=2, allow_nan=False) + "\n"
    return files


def leaderboard_md(comparison: Comparison) -> str:
    """A caption that says what was measured, and the table, aligned so that it reads as plain text too."""
    header, rows = (_judged if comparison.verdicts else _unjudged)(comparison)
    notes = [f"- `{row.name}`: {note}" for row in comparison.rows for note in row.notes]
    empty = ["", "Empty cells:", "", *dict.fromkeys(notes)] if notes else []
    under = [line for note in label_notes(comparison) for line in ("", note)]
    return "\n".join(["# Leaderboard", "", *caption(comparison), "", *align(header, rows), *under, *empty]) + "\n"


def _judged(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    percent = f"{comparison.params.confidence:.0%} interval".replace("%", " %")
    headings = [protocol.heading for protocol in _further(comparison)]
    unit = f"{comparison.measure.name} %" if comparison.task else "%"  # accuracy goes without saying
    header = ["", f"linear {unit}", percent, "tie", "layer", "last layer %", "k-NN %"]
    header += [*(f"{title} %" for title in headings), "RankMe", *COST]
    return header, [*(_cells(comparison, row) for row in comparison.rows), *_scratch_line(comparison, header)]


def _scratch_line(comparison: Comparison, header: list[str]) -> list[list[str]]:
    """A line below the rows for the network that was trained on the few labels alone, where it was."""
    if not comparison.scratch:
        return []
    cells = {f"{p.heading} %": percent(v.accuracy(FROM_SCRATCH)) for p, v in comparison.scratch.items()}
    return [[FROM_SCRATCH, *(cells.get(heading, "") for heading in header[1:])]]


def _cells(comparison: Comparison, row: Row) -> list[str]:
    interval = comparison.verdicts[LINEAR].interval(row.name) if LINEAR in comparison.verdicts else None
    few = [percent(comparison.cell(key, row.name)) + mark(key, row) for key in _further(comparison)]
    return [
        row.title,
        percent(comparison.cell(LINEAR, row.name)),
        f"{percent(interval[0])} to {percent(interval[1])}" if interval else "",
        row.letters,
        row.layers.get("linear", ""),
        percent(comparison.cell(LAST, row.name)),
        percent(comparison.cell(KNN, row.name)),
        *few,
        f"{row.labelfree['rankme']:.1f}",
        *_cost(row),
    ]


def _unjudged(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    measures = [measure for measure in MEASURES if measure in comparison.rows[0].labelfree]
    header = ["", *measures, *COST]
    return header, [
        [
            row.title,
            *(f"{row.labelfree[measure]:.3g}" for measure in measures),
            *_cost(row),
        ]
        for row in comparison.rows
    ]


def _cost(row: Row) -> list[str]:
    numbers = (row.seconds, row.images_per_second, row.peak_memory_mib, row.parameters)
    work = f"{row.training_multiply_adds / 1e6:,.1f}"  # per image
    total = f"{row.total_multiply_adds / 1e9:,.0f}"
    return [
        f"{row.images_seen:,}",
        f"{row.epochs:.3g}",
        f"{row.views}",
        work,
        total,
        *(f"{number:,.0f}" for number in numbers),
    ]


def percent(fraction: float | None) -> str:
    """A fraction as percent, to one decimal; an empty cell stays empty."""
    return "" if fraction is None else f"{100 * fraction:.1f}"


def align(header: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table: the first column to the left, the others to the right, all padded."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths = [max(width, 3) for width in widths]

    def line(cells: list[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return [line(header), "| " + " | ".join(rule) + " |", *map(line, rows)]
