"""Looking on while a method trains: progress, health, pictures, k-NN, and a word when something is wrong.

The training does not wait for it and does not depend on it: what fails here is said once, and the training goes on.
"""

import logging
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from pretextbench import params
from pretextbench.base.picture import draw
from pretextbench.data.prepared import Prepared
from pretextbench.track import stage_records
from pretextbench.track.spool import Spool
from pretextbench.train import loop
from pretextbench.train.loop import Training
from pretextbench.train.pretrain import Diagnosis, describe, diagnose
from pretextbench.watch.monitor import Monitor
from pretextbench.watch.notes import Notes
from pretextbench.watch.progress import Progress

EXAMINED, SHOWN = 64, 4  # validation images in a look: a quarter of those of the last one, which costs nothing then
log = logging.getLogger(__name__)


def _aside(call: Callable[..., None]) -> Callable[..., None]:
    """Keep what goes wrong beside the training away from it."""

    @wraps(call)
    def safely(self: "Watching", *words: Any) -> None:
        if self.blind:
            return
        try:
            call(self, *words)
        except Exception as error:
            self.blind = True
            log.warning("Nobody watches this training any more (%s: %s). It goes on.", type(error).__name__, error)

    return safely


class Watching(loop.Observer):
    """Watches one training.

    Args:
        limits: how often and how long.
        data: the prepared images.
        progress: the file for the live table.
        spool: folder of what MLflow is told.
        experiment: of MLflow.
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
        self.progress, self.spool = Progress(progress), Spool(spool)
        self.experiment, self.images = experiment, images
        self.blind = False
        self.spent, self.last = 0.0, 0.0  # seconds of all looks; of the last one
        self.looked, self.measured = 0, 0  # step of the last look, of the last k-NN
        self.monitor: Monitor | None = None

    @_aside
    def begin(self, training: Training) -> None:
        """Open the spool; measure the untrained encoder where k-NN is watched."""
        self.notes = Notes(f"{training.job.plugin.name}-{training.job.seed}")
        card = describe(training, self.data).model_dump(mode="json")
        self.spool.begin(stage_records.started(card, self.images, self.experiment))
        self.progress.begin(training)
        self.looked = self.measured = training.step
        if self.labelled is not None:
            training.monitored = True
            self.monitor = Monitor(self.labelled, self.limits.knn_images)
            self._measure(training)

    @_aside
    def step(self, training: Training) -> None:
        """Tell the live table how far it is."""
        self.progress.step(training.step)

    @_aside
    def row(self, training: Training, row: dict[str, float]) -> None:
        """Tell the row, and look where it is time to."""
        self.progress.row(row)
        told = {f"train/{name}": value for name, value in row.items() if name != "step"}
        self.spool.values(training.step, row["seconds"], told)
        if training.step == training.steps:
            return  # `end` comes with the last look
        if self._due(training, self.looked, self.limits.epochs) and self._affordable(training):
            begun = time.perf_counter()
            self._look(training, diagnose(training, self.data, EXAMINED, SHOWN))
            self.last = time.perf_counter() - begun
            self.spent, self.looked = self.spent + self.last, training.step
        if self.monitor and self._due(training, self.measured, self.limits.knn or 0):
            self._measure(training)

    @_aside
    def end(self, training: Training, diagnosis: Diagnosis) -> None:
        """The last words: what was found at the end stands."""
        if self.monitor and training.steps:
            self._measure(training)
        self._note(self.notes.look(1.0, diagnosis.symptoms))
        self.progress.end(training)
        self.spool.end()

    @_aside
    def fail(self, message: str) -> None:
        """Say that it failed."""
        self.spool.failed(message)

    def _due(self, training: Training, since: int, epochs: float) -> bool:
        seen = (training.step - since) * training.budget.batch
        return seen >= epochs * len(self.data.images("train"))

    def _affordable(self, training: Training) -> bool:
        """Whether another look keeps to the share of the time. The first is taken to cost as training on its images."""
        costs = self.last or 3 * EXAMINED * training.seconds / max(1, training.step * training.budget.batch)
        return self.spent + costs <= self.limits.share * training.seconds

    def _look(self, training: Training, diagnosis: Diagnosis) -> None:
        health = {f"health/{name}": value for name, value in diagnosis.health.items()}
        self.spool.values(training.step, training.seconds, health)
        path = self.spool.folder / f"step-{training.step:07}.png"
        draw(diagnosis.pictures, path)
        self.spool.picture(path)
        self._note(self.notes.look(training.step / training.steps, diagnosis.symptoms))

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
