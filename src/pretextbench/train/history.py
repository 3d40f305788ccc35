"""History of a training: rows of numbers, the check that every loss is finite, and a diagnosis on validation images."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.files import write_whole
from pretextbench.base.picture import Picture, draw
from pretextbench.data.prepared import Prepared
from pretextbench.distributed import mean
from pretextbench.errors import Diverged
from pretextbench.method import Batch
from pretextbench.train import optim

if TYPE_CHECKING:
    from pretextbench.train.loop import Training

History = list[dict[str, float]]
PICTURE_IMAGES, HEALTH_IMAGES = 8, 256  # validation images in the pictures and in the health measures


class Log:
    """Rows of history.csv, and the check that every loss is finite.

    Losses stay on the device until a row is due: reading each one would make a GPU wait at every step.
    """

    def __init__(self, training: "Training") -> None:
        self.training, self.pending = training, list[dict[str, Tensor]]()
        self.since, self.first = time.perf_counter(), training.step

    def go_on(self) -> None:
        """Exclude the time since the last row from the training's seconds."""
        self.since = time.perf_counter()

    def leave_out(self, call: Callable[[], object]) -> None:
        """Do something whose time is not part of the training's seconds."""
        if self.training.fabric.device.type == "cuda":
            torch.cuda.synchronize(self.training.fabric.device)  # the steps that are under way are training
        begun = time.perf_counter()
        call()
        self.since += time.perf_counter() - begun

    def add(self, values: dict[str, Tensor]) -> None:
        """Keep one step's numbers."""
        self.pending.append(values)

    def flush(self) -> dict[str, float]:
        """Check the steps since the last row, average them into a new row, and start again.

        Raises:
            Diverged: a loss was not finite; names method, step and the numbers of the batch's images.
        """
        stacked = {key: torch.stack([values[key].float() for values in self.pending]) for key in self.pending[0]}
        table = {key: mean(value).cpu() for key, value in stacked.items()}  # over processes
        self._check(table)
        training, now = self.training, time.perf_counter()
        seconds = now - self.since
        training.seconds += seconds
        row = {
            "step": training.step,
            "images": training.step * training.budget.batch,
            "seconds": round(training.seconds, 3),
            "images_per_second": round(len(self.pending) * training.budget.batch / seconds, 1),
            "lr": optim.rate(training.step - 1, training.steps, training.players[0].optimizer),
            **{key: float(value.mean()) for key, value in table.items()},
        }
        training.history.append(row)
        self.pending, self.since, self.first = [], now, training.step
        return row

    def _check(self, table: dict[str, Tensor]) -> None:
        losses = {key: value for key, value in table.items() if key.startswith("loss")}
        for key, value in losses.items():
            bad = (~value.isfinite()).nonzero()
            if len(bad):
                step = self.first + int(bad[0])
                name, loss = self.training.job.plugin.name, float(value[bad[0]])
                raise Diverged(
                    f"Method {name!r} diverged: {key} is {loss} at step {step} of {self.training.steps}. Lower its "
                    f"optimizer.lr or set pretrain.clip. Images of that batch: {self.training.share(step).tolist()}."
                )


def as_csv(history: History) -> str:
    """The history as a table: one row per logged stretch of steps, one column per number."""
    columns = list(dict.fromkeys(key for row in history for key in row)) or ["step"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return stream.getvalue()


class Diagnosis(NamedTuple):
    """Pictures, health measures and symptoms of a method on validation images."""

    pictures: list[Picture]
    health: dict[str, float]
    symptoms: list[str]


def write_diagnosis(training: "Training", data: Prepared, out: Path) -> Diagnosis:
    """Write pictures (samples.png) and health (health.json) on validation images."""
    diagnosis = diagnose(training, data, HEALTH_IMAGES, PICTURE_IMAGES)
    draw(diagnosis.pictures, out / "samples.png")
    content = {"measures": diagnosis.health, "symptoms": diagnosis.symptoms}
    write_whole(out / "health.json", (json.dumps(content, indent=2) + "\n").encode())
    return diagnosis


@torch.no_grad()
def diagnose(training: "Training", data: Prepared, health_images: int, picture_images: int) -> Diagnosis:
    """Apply a method to its first validation images, always with the same draws, without changing the training.

    Args:
        health_images: images in the health measures, at most.
        picture_images: images in the pictures, at most.
    """
    device, method = training.fabric.device, training.method
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(training.seed.key("examine"))
        pixels = torch.from_numpy(data.images("val")[:health_images].copy()).to(device)
        method.eval()
        try:
            views = Augmenter(training.job.recipe, data.image_size)(as_float(pixels))
            batch = Batch(views, torch.arange(len(pixels)), progress=1.0)
            few = Batch(tuple(view[:picture_images] for view in views), batch.index[:picture_images], progress=1.0)
            pictures = method.show(few)
            health = {name: float(value) for name, value in method.health(batch).items()}
        finally:
            training.module.train()
    return Diagnosis(pictures, health, method.symptoms(health))
