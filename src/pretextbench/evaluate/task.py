"""What a task of frozen features is: a probe, a main measure, and the part of each image in it.

The statistics of a comparison average one value per image. Accuracy is such a mean. A measure of all images together,
such as average precision, is not: there the value of image i is the measure plus its influence,

    v_i = theta + (n - 1) (theta - theta_{-i}) - mean of the same over all images,

with theta_{-i} the measure without image i (the jackknife: Efron & Tibshirani 1993, equation 11.2). Their mean is the
measure, their standard error is that of the jackknife, and differences between encoders stay paired.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def influences(whole: float, without: Floats) -> Floats:
    """The values v_i (n,) of a measure: `without` (n,) is the measure with each image left out."""
    influence = (len(without) - 1) * (whole - without)
    return np.asarray(whole + influence - influence.mean())


def error(values: Floats) -> float:
    """Standard error of the mean of (n,) values; 0 for one."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


class Model(Protocol):
    """A fitted probe."""

    @property
    def penalty(self) -> float:
        """Its l2 penalty."""

    def outputs(self, features: Tensor) -> Array:
        """(n, ..., D) features -> what the task scores, one row per image."""


@dataclass(frozen=True)
class Setup:
    """How a probe is fitted."""

    steps: int  # L-BFGS iterations at most
    device: torch.device
    penalties: Sequence[float]


class Task(ABC):
    """A kind of labels: how a probe is fitted, and how it is scored. Targets are those of `data.targets.Targets`."""

    @abstractmethod
    def fit(self, features: Tensor, targets: Array, setup: Setup) -> Sequence[Model]:
        """A model per penalty from features (n, D), of images whose targets are known.

        Raises:
            UserError: nothing can be learned from these targets.
        """

    @abstractmethod
    def score(self, outputs: Array, targets: Array) -> float:
        """The main measure; higher is better, 1 at best."""

    @abstractmethod
    def values(self, outputs: Array, targets: Array) -> Floats:
        """(n,) the part of each image in the main measure: their mean is the measure."""

    @abstractmethod
    def scores(self, outputs: Array, targets: Array) -> dict[str, Any]:
        """All measures, ready for JSON; the main one has the key of `base.measure`."""

    @abstractmethod
    def vote(self, weights: Tensor, targets: Array) -> Array:
        """Outputs by k-NN: weights (q, k), rows sum to 1, and the targets (q, k, ...) of the neighbours."""

    @abstractmethod
    def chance(self, targets: Array) -> float:
        """The main measure of an answer that is the same for every image."""

    def notes(self, train: Array, test: Array) -> list[str]:
        """What the user has to know of these targets, such as labels that cannot be measured."""
        return []


@dataclass
class Probed:
    """A probe at every stage: the scores on validation that chose, and outputs for the test images."""

    val: dict[str, float] = field(default_factory=dict)  # stage -> main measure, first to last
    error: dict[str, float] = field(default_factory=dict)  # stage -> its standard error
    test: dict[str, Array] = field(default_factory=dict)  # stage -> outputs
    detail: dict[str, dict[str, Any]] = field(default_factory=dict)  # stage -> the choices
    models: dict[str, Model] = field(default_factory=dict)  # stage -> the probe; empty for k-NN

    @property
    def best(self) -> str:
        """The stage with the highest score on validation; the earlier one in a tie."""
        return max(self.val, key=lambda stage: self.val[stage])
