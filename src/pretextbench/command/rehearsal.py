"""Rehearsal of a training: its steps with all they compute but the optimizer, to measure what they will take."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pretextbench.method import Data
from pretextbench.train.budget import Job
from pretextbench.train.loop import Training
from pretextbench.train.pretrain import device_and_precision


@dataclass(frozen=True)
class Alone:
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

    def __init__(self, method: nn.Module, place: Alone) -> None:
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
        super().__init__(job, facts, cast(Any, Alone(*device_and_precision(job.pretrain))), labels)

    def _set_up(self) -> tuple[Any, list[Any]]:
        idle = SimpleNamespace(param_groups=[], step=int)
        return InPrecision(self.method, cast(Alone, self.fabric)), [idle] * len(self.players)
