"""A number per image: ridge regression in closed form on standardised features.

minimise over w, b:   1/n sum_i (w' x_i + b - y_i)^2  +  l2 ||w||^2        (the bias goes free)

With X'X/n = V diag(v) V' of the standardised features, w = V diag(1 / (v + l2)) V' X' (y - mean) / n: one decomposition
for all penalties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.evaluate.linear import eigenbasis, moments
from pretextbench.evaluate.task import Array, Floats, Model, Setup, Task, influences

SCALE = 100.0  # penalties of the probe of classes, times this: a squared error curves more than a cross-entropy


@dataclass(frozen=True)
class Ridge:
    """A fitted regression."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    weight: Tensor  # (D,)
    bias: float
    penalty: float

    def outputs(self, features: Tensor) -> Array:
        """(n, D) -> (n,) float64."""
        x = (features.to(self.mean.device) - self.mean) / self.std
        return np.asarray((x @ self.weight).double().cpu().numpy() + self.bias)


def r2(outputs: Floats, targets: Floats) -> float:
    """1 - squared errors / squared deviations from the mean of these targets; 0 where these do not vary."""
    deviation = np.square(targets - targets.mean()).sum()
    return float(1 - np.square(outputs - targets).sum() / deviation) if deviation else 0.0


class Number(Task):
    """A number per image; the main measure is R2."""

    def fit(self, features: Tensor, targets: Array, setup: Setup) -> Sequence[Model]:
        """Ridge regressions, strongest penalty first."""
        y = torch.from_numpy(np.asarray(targets, np.float64)).to(setup.device)
        if len(y) < 2 or float(y.std(correction=0)) == 0:
            raise UserError(f"A regression needs numbers that differ; found {len(y)} images with one number.")
        x = features.to(setup.device)
        mean, std = moments(x)
        x = (x - mean) / std
        basis, variance = eigenbasis(x)
        right = (basis.T @ (x.T @ (y - y.mean()).float()) / len(x)).double()
        models = []
        for penalty in sorted((SCALE * l2 for l2 in setup.penalties), reverse=True):
            weight = basis @ (right / (variance.double() + penalty)).float()
            models.append(Ridge(mean, std, weight, float(y.mean()), penalty))
        return models

    def score(self, outputs: Array, targets: Array) -> float:
        """R2."""
        return r2(outputs, targets)

    def values(self, outputs: Array, targets: Array) -> Floats:
        """R2 without image i has sums without its terms: n/(n-1) of its squared deviation leaves, as the mean moves."""
        n = len(targets)
        errors, deviations = np.square(outputs - targets), np.square(targets - targets.mean())
        left = deviations.sum() - deviations * n / max(n - 1, 1)
        without = 1 - (errors.sum() - errors) / np.where(left > 0, left, 1)
        whole = r2(outputs, targets)
        return influences(whole, np.where(left > 0, without, whole))

    def scores(self, outputs: Array, targets: Array) -> dict[str, Any]:
        """R2, mean absolute and root mean squared error in the unit of the number, Spearman's rank correlation."""
        from scipy.stats import spearmanr

        varies = len(targets) > 1 and np.ptp(outputs) > 0 and np.ptp(targets) > 0
        return {
            "r2": r2(outputs, targets),
            "mae": float(np.abs(outputs - targets).mean()),
            "rmse": float(np.sqrt(np.square(outputs - targets).mean())),
            "spearman": float(spearmanr(outputs, targets).statistic) if varies else None,
        }

    def vote(self, weights: Tensor, targets: Array) -> Array:
        """The weighted mean of the neighbours."""
        return np.asarray((weights.double().numpy() * targets).sum(1))

    def chance(self, targets: Array) -> float:
        """R2 of the mean: 0."""
        return 0.0
