"""k-NN accuracy on validation labels during a training. Nothing depends on it; its time is not counted."""

import numpy as np
import torch

from pretextbench.data.prepared import UNLABELLED, Prepared
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import knn
from pretextbench.train.loop import Training

K, TEMPERATURE = 20, 0.07


class Monitor:
    """k-NN of validation images in a bank of training images; at most `limit` of each, evenly spaced."""

    def __init__(self, data: Prepared, limit: int) -> None:
        self.classes = len(data.classes)
        self.bank, self.bank_labels = _drawn(data, "train", limit)
        self.queries, self.query_labels = _drawn(data, "val", limit)

    @property
    def labelled(self) -> bool:
        """Whether there are enough labels for a k-NN."""
        return self.classes > 1 and len(self.bank) > 0 and len(self.queries) > 0

    def measure(self, training: Training) -> float | None:
        """Accuracy of the last stage's features, in [0, 1]; None without labels. The training does not change."""
        if not self.labelled:
            return None
        device, encoder = training.fabric.device, training.method.encoder
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            bank, queries = (list(extract(encoder, x, device).values())[-1] for x in (self.bank, self.queries))
            votes = knn(bank, torch.from_numpy(self.bank_labels), queries, self.classes, K, TEMPERATURE, device)
        return float((votes.predictions.numpy() == self.query_labels).mean())


def _drawn(data: Prepared, split: str, limit: int) -> tuple[np.ndarray, np.ndarray]:
    labels = data.labels(split)
    rows = np.flatnonzero(labels != UNLABELLED)
    rows = rows[np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int)] if len(rows) else rows
    return np.array(data.images(split)[rows]), labels[rows]
