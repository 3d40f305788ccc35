"""Rehearsal of a training: its steps with all they compute but the optimizer, to measure what they will take."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pretextbench import registry
from pretextbench.augment.pipeline import as_float
from pretextbench.method import Data
from pretextbench.params import Params
from pretextbench.project.inventory import MANY, images_known, own_parameters
from pretextbench.project.variant import row_of
from pretextbench.train import work
from pretextbench.train.budget import Job, training_facts
from pretextbench.train.loop import Training
from pretextbench.train.pretrain import device_and_precision

GREY = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
SOME = 4  # batches, where the number of training images is not known; images, of noise


@dataclass(frozen=True)
class SingleProcess:
    """The device and precision of a training in one process, in place of a Fabric."""

    device: torch.device
    bf16: bool
    global_rank: int = 0
    world_size: int = 1

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients."""
        loss.backward()

    def clip_gradients(self, module: nn.Module, optimizer: object, max_norm: float) -> None:
        """Limit the norm of all gradients."""
        nn.utils.clip_grad_norm_(module.parameters(), max_norm)


class InPrecision(nn.Module):
    """A method that computes in the precision of params.yaml."""

    def __init__(self, method: nn.Module, place: SingleProcess) -> None:
        super().__init__()
        self.method, self.place = method.to(place.device), place

    def forward(self, *inputs: Any) -> Any:
        """What the method computes, under autocast where the precision is bfloat16."""
        with torch.autocast(self.place.device.type, torch.bfloat16, enabled=self.place.bf16):
            return self.method(*inputs)


class Rehearsal(Training):
    """A training whose steps move no weights: any optimizer of torch imports torch's compiler, which takes 3 s.

    The optimizer took 1 % of a step (ResNet-10 x16 at 32 px and ResNet-18 at 64 px, one thread).
    """

    def __init__(self, job: Job, facts: Data, labels: np.ndarray | None = None) -> None:
        super().__init__(job, facts, cast(Any, SingleProcess(*device_and_precision(job.pretrain))), labels)

    def _set_up(self) -> tuple[Any, list[Any]]:
        idle = SimpleNamespace(param_groups=[], step=int)
        return InPrecision(self.method, cast(SingleProcess, self.fabric)), [idle] * len(self.players)


def rehearse(name: str, params: Params, sample: np.ndarray, train: int, classes: int) -> Rehearsal:
    """A contestant, ready to train on one device, with the budget of its training in images.

    Args:
        name: of a method or control.
        params: what will be run.
        sample: (n, H, W, 3) uint8 at `prepare.image_size`, from which a method derives what it needs.
        train: images of the training split.
        classes: for a control that learns from labels.

    Raises:
        UserError: a budget in multiply-adds is below one step, or the method refuses its parameters.
    """
    row = row_of(name, params)
    method = registry.load(row.method)
    own = own_parameters(name, method, params)
    side, alone = params.prepare.image_size, params.pretrain.model_copy(update={"devices": 1})
    chunks = iter([as_float(torch.from_numpy(sample))])
    derived = method.derive(own, chunks, side)
    labels = np.arange(train) % classes if method.uses_labels else None
    job = Job(registry.find(row.method), "", method, own, row.encoder, alone, method.recipe(own, side), derived, 0)

    def build(job: Job) -> Rehearsal:
        known = training_facts(job, train)
        return Rehearsal(job, Data(side, *GREY, train, derived, classes if labels is not None else 0, **known), labels)

    return build(job) if alone.multiply_adds is None else work.counted(job, build)


def step_work(name: str, params: Params, batch: int) -> int:
    """Multiply-adds of the forward passes of one training step, of a whole batch; 0 where nothing is trained.

    Raises:
        UserError: the method refuses its parameters.
    """
    endless = {"images": MANY, "epochs": None, "multiply_adds": None, "compile": False}  # of no matter to one step
    encoder = params.encoder.model_copy(update={"name": params.encoder.tagged_name, "weights": None})
    params = params.model_copy(update={"encoder": encoder, "pretrain": params.pretrain.model_copy(update=endless)})
    side, known = params.prepare.image_size, images_known(params)
    noise = np.random.default_rng(0).integers(0, 256, (SOME, side, side, 3), np.uint8)
    training = rehearse(name, params, noise, SOME * batch if known == MANY else known, 2)
    return batch * work.measure(training).training
