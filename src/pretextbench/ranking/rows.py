"""A row of the comparison: one method, control or reference over its seeds; and the front of rows that none beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pretextbench.ranking.protocols import best_layers
from pretextbench.ranking.runs import SUPERVISED, Kind, Run


@dataclass(frozen=True)
class Row:
    """One method, control or reference, over its seeds."""

    name: str
    kind: Kind
    seeds: tuple[int, ...]
    layers: Mapping[str, str]  # "linear", "knn", "transfer" -> stage chosen on validation over all seeds; "last"
    labelfree: Mapping[str, float]
    images_seen: int
    epochs: float  # passes over the training images
    seconds: float  # mean over seeds, as the next
    images_per_second: float
    peak_memory_mib: float  # largest over seeds
    parameters: int
    views: int  # of an image, that a training step sees
    multiply_adds: int  # of one image through the encoder
    training_multiply_adds: int  # of one image in the forward passes of a training step
    notes: tuple[str, ...] = ()  # why a cell is empty
    letters: str = ""  # rows that share one cannot be distinguished; a reference has none
    encoder: str = ""  # architecture of a reference
    method: str = ""  # which the row is a variant of, or has the name of
    from_scratch: bool = False  # trained from random weights
    validation: tuple[float, ...] = ()  # main measure of the linear probe at its stage on validation, one per seed
    validation_error: tuple[float, ...] = ()  # its standard errors over images; empty for accuracies

    @property
    def control(self) -> bool:
        """Whether it is no pretext method, so that no sentence on methods is about it."""
        return self.kind != "method"

    @property
    def total_multiply_adds(self) -> int:
        """Of all forward passes of the training."""
        return self.images_seen * self.training_multiply_adds

    @property
    def used_labels(self) -> bool:
        """Whether its encoder was trained with the labels, all of them."""
        return (self.method or self.name) == SUPERVISED

    @property
    def title(self) -> str:
        """Its name, and what it is where it is no method: `random (control)`."""
        return f"{self.name} ({self.kind})" if self.control else self.name


def row_of(name: str, group: Sequence[Run]) -> Row:
    """The row of one name, from its runs of all seeds."""
    notes = [run.missing for run in group if run.missing]
    for kind in ("budgets", "finetune"):
        parts = group[0].metrics.get(kind, {}).items()
        notes += [f"{budget}: {result['reason']}" for budget, result in parts if result.get("reason")]
    for kind in ("robustness", "transfer"):
        if reason := group[0].metrics.get(kind, {}).get("reason"):
            notes.append(f"{kind}: {reason}")
    free = [run.metrics["labelfree"] for run in group]
    layers = best_layers(group)
    measures = [key for key, value in free[0].items() if isinstance(value, float | int)]
    return Row(
        name=name,
        kind=group[0].kind,
        encoder=group[0].encoder if group[0].kind == "reference" else "",
        method=group[0].method,
        from_scratch=group[0].from_scratch,
        seeds=tuple(run.seed for run in group),
        layers=layers,
        validation=tuple(float(run.metrics["linear"]["layers"][layers["linear"]]["val"]) for run in group if layers),
        validation_error=tuple(
            float(layer["val_error"])
            for run in group
            if layers and "val_error" in (layer := run.metrics["linear"]["layers"][layers["linear"]])
        ),
        labelfree={key: float(np.mean([measured[key] for measured in free])) for key in measures},
        images_seen=max(run.images_seen for run in group),
        epochs=max(run.images_seen for run in group) / group[0].metrics["data"]["train"],
        seconds=float(np.mean([run.seconds for run in group])),
        images_per_second=float(np.mean([run.images_per_second for run in group])),
        peak_memory_mib=max(run.peak_memory_mib for run in group),
        parameters=group[0].parameters,
        views=group[0].views,
        multiply_adds=group[0].multiply_adds,
        training_multiply_adds=group[0].training_multiply_adds,
        notes=tuple(notes),
    )


def twins(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """The rows that begin at start weights, each with the row of the same method from random weights."""
    own = [row for row in rows if row.kind != "reference"]
    return [
        (row, other)
        for row in own
        for other in own
        if row.method == other.method and other.from_scratch and not row.from_scratch
    ]


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names on the Pareto front of (cost, accuracy), cheapest first: nothing is at most as dear and more accurate.

    Of equals, all are on it.
    """

    def beaten(name: str) -> bool:
        cost, worth = points[name]
        return any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points.values())

    return sorted((name for name in points if not beaten(name)), key=lambda name: points[name])
