"""Monitoring of a training while it runs: progress, health, pictures, k-NN, and warnings in plain words with advice.

The training does not depend on it and is not changed by it. An error here ends the monitoring with one warning, and the
training goes on.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from pretextbench import params
from pretextbench.base.picture import draw
from pretextbench.data.prepared import Prepared, labelled
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.probes import knn
from pretextbench.project.progress import ProgressFile
from pretextbench.track import stage_records
from pretextbench.track.spool import Spool
from pretextbench.train import loop
from pretextbench.train.history import Diagnosis, diagnose
from pretextbench.train.loop import Training
from pretextbench.train.pretrain import describe

IMAGES_CHECKED, IMAGES_DRAWN = 64, 4  # validation images per check; the check at the end uses four times as many
K, TEMPERATURE = 20, 0.07  # of the k-NN monitor, whatever `evaluate` says: curves of different runs compare
EARLY = 0.2  # share of the budget in which symptoms are normal and not reported
STALLED_AFTER = 3  # k-NN measurements in a row that are no better than the best
log = logging.getLogger(__name__)


def _guarded(call: Callable[..., None]) -> Callable[..., None]:
    """Turn an error in the monitoring into one warning, and disable the monitoring from then on."""

    @wraps(call)
    def safely(self: "Watching", *args: Any) -> None:
        if self.disabled:
            return
        try:
            call(self, *args)
        except Exception as error:
            self.disabled = True
            log.warning("This training is not monitored any more (%s: %s). It goes on.", type(error).__name__, error)

    return safely


class Watching(loop.Observer):
    """Monitor of one training.

    Args:
        limits: how often it checks, and for which share of the time.
        data: the prepared images.
        progress: the file for the live table.
        spool: folder of the live metrics for MLflow.
        experiment: name of the MLflow experiment.
        images: folder of the prepared images.
        labelled: the same images with their labels, for k-NN; None = no k-NN.
    """

    def __init__(
        self,
        limits: params.Watch,
        data: Prepared,
        progress: Path,
        spool: Path,
        experiment: str,
        images: Path,
        labelled: Prepared | None = None,
    ) -> None:
        self.limits, self.data, self.labelled = limits, data, labelled
        self.progress, self.spool = ProgressFile(progress), Spool(spool)
        self.experiment, self.images = experiment, images
        self.disabled = False
        self.seconds, self.last_seconds = 0.0, 0.0  # seconds of all checks; of the last check
        self.checked, self.measured = 0, 0  # step of the last check; of the last k-NN
        self.monitor: Monitor | None = None

    @_guarded
    def begin(self, training: Training) -> None:
        """Open the spool. With k-NN, measure the untrained encoder."""
        self.notes = Notes(f"{training.job.plugin.name}-{training.job.seed}")
        card = describe(training, self.data).model_dump(mode="json")
        self.spool.begin(stage_records.started(card, self.images, self.experiment))
        rows = training.history
        self.progress.begin(training.step, training.steps, training.budget.batch, rows[-1] if rows else None)
        self.checked = self.measured = training.step
        if self.labelled is not None:
            training.monitored = True
            self.monitor = Monitor(self.labelled, self.limits.knn_images)
            self._measure(training)

    @_guarded
    def step(self, training: Training) -> None:
        """Update the live table."""
        self.progress.step(training.step)

    @_guarded
    def row(self, training: Training, row: dict[str, float]) -> None:
        """Write a row of the history to table and spool; check the training when a check is due."""
        self.progress.row(row)
        values = {f"train/{name}": value for name, value in row.items() if name != "step"}
        self.spool.values(training.step, row["seconds"], values)
        if training.step == training.steps:
            return  # `end` brings the last check
        if self._due(training, self.checked, self.limits.epochs) and self._affordable(training):
            begun = time.perf_counter()
            self._record_check(training, diagnose(training, self.data, IMAGES_CHECKED, IMAGES_DRAWN))
            self.last_seconds = time.perf_counter() - begun
            self.seconds, self.checked = self.seconds + self.last_seconds, training.step
        if self.monitor and self._due(training, self.measured, self.limits.knn or 0):
            self._measure(training)

    @_guarded
    def end(self, training: Training, diagnosis: Diagnosis) -> None:
        """Write the state at the end of the training."""
        if self.monitor and training.steps:
            self._measure(training)
        self._note(self.notes.check(1.0, diagnosis.symptoms))
        self.progress.end(training.step)
        self.spool.end()

    @_guarded
    def fail(self, message: str) -> None:
        """Write that the training has failed."""
        self.spool.failed(message)

    def _due(self, training: Training, since: int, epochs: float) -> bool:
        seen = (training.step - since) * training.budget.batch
        return seen >= epochs * len(self.data.images("train"))

    def _affordable(self, training: Training) -> bool:
        """Whether another check keeps to the share of the time. The first is estimated as three training passes."""
        per_image = training.seconds / max(1, training.step * training.budget.batch)
        cost = self.last_seconds or 3 * IMAGES_CHECKED * per_image
        return self.seconds + cost <= self.limits.share * training.seconds

    def _record_check(self, training: Training, diagnosis: Diagnosis) -> None:
        health = {f"health/{name}": value for name, value in diagnosis.health.items()}
        self.spool.values(training.step, training.seconds, health)
        path = self.spool.folder / f"step-{training.step:07}.png"
        draw(diagnosis.pictures, path)
        self.spool.picture(path)
        self._note(self.notes.check(training.step / training.steps, diagnosis.symptoms))

    def _measure(self, training: Training) -> None:
        assert self.monitor is not None
        accuracy = self.monitor.measure(training)
        if accuracy is not None:
            self.spool.values(training.step, training.seconds, {"monitor/knn": accuracy})
            self._note(self.notes.knn(training.step, accuracy))
        self.measured = training.step

    def _note(self, fresh: list[str]) -> None:
        for line in fresh:
            log.warning(line)
        self.progress.notes(self.notes.all)
        if self.notes.changed():
            self.spool.notes(self.notes.all)


class Monitor:
    """k-NN of validation images in a bank of training images; at most `limit` of each, evenly spaced."""

    def __init__(self, data: Prepared, limit: int) -> None:
        self.classes = len(data.classes)
        self.bank, self.bank_labels = labelled(data, "train", limit)
        self.queries, self.query_labels = labelled(data, "val", limit)

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


class Notes:
    """The warnings of one training: symptoms of the last check, and the development of k-NN."""

    def __init__(self, name: str) -> None:
        self.name, self.symptoms, self.plateau = name, list[str](), list[str]()
        self.accuracies: list[tuple[int, float]] = []
        self.reported, self.last = set[str](), list[str]()

    @property
    def all(self) -> list[str]:
        """All current warnings."""
        return [*self.symptoms, *self.plateau]

    def changed(self) -> bool:
        """Whether the warnings have changed since the last call."""
        before, self.last = self.last, self.all
        return before != self.last

    def check(self, progress: float, symptoms: Sequence[str]) -> list[str]:
        """Take the symptoms that a method reports; returns the new warnings."""
        self.symptoms = list(symptoms) if progress >= EARLY else []
        return self._fresh(self.symptoms)

    def knn(self, step: int, accuracy: float) -> list[str]:
        """Take a k-NN accuracy; returns the new warnings."""
        self.accuracies.append((step, accuracy))
        first, best = self.accuracies[0], max(self.accuracies, key=lambda point: point[1])
        since = [point for point in self.accuracies if point[0] > best[0]]
        self.plateau = []
        if first[0] == 0 and len(self.accuracies) > STALLED_AFTER and accuracy < first[1]:
            self.plateau = [
                f"k-NN on validation is worse than with the untrained encoder: {accuracy:.1%} against {first[1]:.1%}; "
                "lower the method's optimizer.lr, or choose another method"
            ]
        elif len(since) >= STALLED_AFTER:
            self.plateau = [
                f"k-NN on validation stopped improving: {best[1]:.1%} at step {best[0]}, {accuracy:.1%} "
                f"at step {step}; a smaller budget would do, or another optimizer.lr is needed"
            ]
        return self._fresh(self.plateau)

    def _fresh(self, notes: Sequence[str]) -> list[str]:
        """The warnings that were not reported before. Warnings that differ only in numbers count as one."""
        stems = {re.split(r"[:\d(]", note)[0]: note for note in notes}
        new = [f"{self.name}: {note}" for stem, note in stems.items() if stem not in self.reported]
        self.reported |= stems.keys()
        return new
