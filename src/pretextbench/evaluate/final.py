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

    index: Ints  # (n,) rows of the test split
    labels: Ints  # (n,)
    predictions: dict[str, Ints]  # name -> (n,)
    scores: dict[str, dict[str, Any]]  # name -> see scores.scores
    classes: int
    fingerprint: str  # of images and test labels: equal exactly when two evaluations are comparable

    def confusion(self, name: str) -> Ints:
        """(classes, classes) counts: row = the label, column = what `name` predicted."""
        return confusion(self.labels, self.predictions[name], self.classes)


def score_test(data: Prepared, predictions: Mapping[str, Prediction]) -> Scored | None:
    """Score predictions for the whole test split; None when no test image has a label.

    Call it once, last: what it returns may be reported and must not be chosen by.
    """
    labels, classes = data.labels("test"), len(data.classes)
    index = np.flatnonzero(labels >= 0)
    if not len(index):
        return None
    truth = np.asarray(labels[index])
    found, said = {}, {}
    for name, prediction in predictions.items():
        p = None if prediction.probabilities is None else prediction.probabilities[index]
        said[name] = prediction.classes[index]
        found[name] = scores(truth, said[name], classes, p)
    fingerprint = hashlib.sha256(data.fingerprint.encode() + np.ascontiguousarray(labels).tobytes()).hexdigest()
    return Scored(index, truth, said, found, classes, fingerprint)
