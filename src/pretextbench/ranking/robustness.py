"""Accuracy on corrupted images by severity, at the layer of a row: one layer for all its seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pretextbench.ranking.protocols import best_layers, corruptions, robust_key, worth
from pretextbench.ranking.runs import Run


@dataclass(frozen=True)
class Curves:
    """One encoder, one layer. Accuracies are fractions."""

    images: int  # corrupted test images that have a label
    clean: float  # on the same images as they are
    corruptions: Mapping[str, list[float]]  # name -> one per severity

    @property
    def mean(self) -> list[float]:
        """Over the corruptions, one per severity."""
        return [float(value) for value in np.mean(list(self.corruptions.values()), 0)]

    @property
    def relative_drop(self) -> float | None:
        """Mean over corruptions and severities of 1 - accuracy / clean accuracy; None where clean is 0."""
        return float(np.mean(1 - np.array(self.mean) / self.clean)) if self.clean else None


def curves(group: Sequence[Run]) -> list[Curves]:
    """Those of the runs of a row that have predictions of corrupted images, at the row's layer."""
    stage = best_layers(group).get("linear")
    curves = [_curves(run, stage) for run in group] if stage else []
    return [item for item in curves if item is not None]


def _curves(run: Run, stage: str) -> Curves | None:
    predicted, names = run.predictions, corruptions(run.metrics)
    keys = {name: robust_key(stage, name) for name in names}
    if not names or not all(key in predicted for key in (*keys.values(), f"linear.{stage}")):
        return None
    rows = predicted["robust.index"]
    clean = float(worth(predicted, f"linear.{stage}")[np.isin(predicted["index"], rows)].mean())
    return Curves(len(rows), clean, {name: worth(predicted, key).mean(1).tolist() for name, key in keys.items()})
