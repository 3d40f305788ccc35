"""The one place that opens the test labels, once, after every choice has been made."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pretextbench.data.prepared import Prepared
from pretextbench.evaluate.layers import Prediction
from pretextbench.evaluate.scores import confusion, scores

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """Scores of finished predictions on the labelled test images."""

    index: Ints  # (n,) rows of the test split that have a label
    labels: Ints  # (n,)
    rows: dict[str, Ints]  # name -> those of `index` that it speaks of: all, or fewer for the corrupted ones
    truth: dict[str, Ints]  # name -> their labels
    predictions: dict[str, Ints]  # name -> what it says of them
    scores: dict[str, dict[str, Any]]  # name -> see scores.scores
    classes: int
    fingerprint: str  # of images and test labels: equal exactly when two evaluations are comparable

    def confusion(self, name: str) -> Ints:
        """(classes, classes) counts: row = the label, column = what `name` predicted."""
        return confusion(self.truth[name], self.predictions[name], self.classes)


def score_test(data: Prepared, predictions: Mapping[str, Prediction]) -> Scored | None:
    """Score predictions of the test split; None when no test image has a label.

    Call it once per data set, last: what it returns may be reported and must not be chosen by. A prediction that speaks
    of no labelled image is left out.
    """
    labels, classes = data.labels("test"), len(data.classes)
    index = np.flatnonzero(labels >= 0)
    if not len(index):
        return None
    fingerprint = hashlib.sha256(data.fingerprint.encode() + np.ascontiguousarray(labels).tobytes()).hexdigest()
    found = Scored(index, np.asarray(labels[index]), {}, {}, {}, {}, classes, fingerprint)
    for name, prediction in predictions.items():
        rows = np.arange(len(labels)) if prediction.rows is None else prediction.rows
        kept = labels[rows] >= 0
        if kept.any():
            found.rows[name], found.truth[name] = rows[kept], np.asarray(labels[rows[kept]])
            found.predictions[name] = prediction.classes[kept]
            p = None if prediction.probabilities is None else prediction.probabilities[kept]
            found.scores[name] = scores(found.truth[name], found.predictions[name], classes, p)
    return found
