"""The job of a training run, and the budget in images seen that is the same for every method."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from torch import Tensor

from pretextbench.method import PretextMethod
from pretextbench.params import EncoderParams, MethodParams, Pretrain
from pretextbench.project.demands import of_batch, refuse
from pretextbench.project.inventory import OfTraining, of_training, seen
from pretextbench.project.settings import VERSIONS, code_digest, installed
from pretextbench.recipe import Recipe
from pretextbench.registry import Plugin


@dataclass(frozen=True)
class Job:
    """Everything that determines a training run, besides the images."""

    plugin: Plugin
    source_hash: str
    method: type[PretextMethod]  # type: ignore[type-arg]  # any method
    params: MethodParams
    encoder: EncoderParams
    pretrain: Pretrain
    recipe: Recipe
    derived: Mapping[str, Tensor]
    seed: int
    row: str = ""  # name in the comparison, where it is not the method's: of a reference

    def key(self, *data_sha256: str) -> str:
        """The name of the run's checkpoint; it changes with everything that can change the resulting weights.

        `data_sha256`: of the images and, for a control that uses them, of the labels.

        Raises:
            UserError: the file of the start weights cannot be read.
        """
        content = {
            "plugin": [self.plugin.name, self.plugin.version, self.source_hash],
            "params": self.params.model_dump(mode="json"),
            "encoder": self.encoder.decisive(),
            "start": self.encoder.start_sha256() if self.method.uses_weights else "",
            "pretrain": self.pretrain.decisive(),
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "data": data_sha256,
            "derived": {name: _digest(value) for name, value in self.derived.items()},
            "library": [version("pretextbench"), code_digest()],
            # With the label of the build: +cpu adds in another order.
            "versions": [installed(name) for name in (*VERSIONS["pretrain"], *self.encoder.libraries)],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _digest(tensor: Tensor) -> list[str]:
    array = tensor.numpy()
    return [str(array.dtype), str(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]


@dataclass(frozen=True)
class Budget:
    """Length of a training run, in batches."""

    batch: int  # images per step, all processes together
    steps: int

    @property
    def images(self) -> int:
        """Images seen, the unit in which methods are compared."""
        return self.batch * self.steps


def batch_size(job: Job) -> int:
    """Images per step, all processes together: the method's own number or the common one."""
    return job.params.batch_size or job.pretrain.batch_size


def training_facts(job: Job, train_images: int) -> OfTraining:
    """What a method knows of its training, on a training split of `train_images`: see `method.Data`."""
    return of_training(job.pretrain, batch_size(job), train_images)


def budget(job: Job, train_images: int) -> Budget:
    """Batch size and number of steps of a job on a training split of `train_images`; at least one step.

    Raises:
        UserError: the batch is larger than the split, or does not divide into `accumulate` parts and processes.
    """
    batch = batch_size(job)
    refuse(of_batch(job.plugin.name, batch, job.pretrain, train_images))
    return Budget(batch, max(1, round(seen(job.pretrain, train_images) / batch)))


def too_few(job: Job, image_size: int, images: int) -> str:
    """The message for a batch norm that meets one value per channel in a part of a batch of so many images."""
    batch = batch_size(job)
    parts = batch // images
    smaller = ", or lower pretrain.accumulate or pretrain.devices" if parts > 1 else ""
    return (
        f"Method {job.plugin.name!r} cannot train on {images} image(s) at a time: at {image_size} px that leaves a "
        f"batch norm one value per channel, and it needs two. Found a batch of {batch} in {parts} part(s). Set "
        f"pretrain.batch_size, or the method's own batch_size, to at least {parts * (images + 1)}{smaller}."
    )
