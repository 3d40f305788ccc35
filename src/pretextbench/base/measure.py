"""The main measure of each task: its key among the scores of metrics.json, and the words for it.

All are higher for better encoders and 1 at best, so that a table shows them as percent. R2 can be below 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """A measure by which encoders are ranked."""

    key: str  # among the scores of a layer in metrics.json
    name: str  # in headings and sentences
    title: str  # in full, at the start of a caption
    chance: str  # an answer that looks at no image

    def of(self, scores: Mapping[str, Any]) -> float:
        """Its value among the scores of one layer, a fraction."""
        return float(scores[self.key])


MEASURES = {
    "class": Measure("top1", "accuracy", "Accuracy", "always naming the largest class"),
    "multi-label": Measure("map", "mAP", "Mean average precision (mAP)", "a random order of the images"),
    "number": Measure("r2", "R2", "Share of the variance that is explained (R2)", "always the mean number"),
    "mask": Measure("miou", "mean IoU", "Mean intersection over union (IoU)", "one value for every pixel"),
}


def measure_of(metrics: Mapping[str, Any]) -> Measure:
    """The main measure of an evaluation, by its metrics."""
    return MEASURES[metrics.get("task", {}).get("name", "class")]
