"""Several labels per image: one logistic regression per label, all with one penalty, fitted together.

minimise over W (D, K), b (K):   sum_k 1/n_k sum_{i: y_ik known} BCE(W_k' x_i + b_k, y_ik)  +  l2/2 ||W||^2

The labels share nothing but the penalty, so the optimum is that of K separate regressions. Average precision of a
label: the mean, over its positive images, of the precision among the images with at least that score (equal scores
enter together, as in scikit-learn).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.evaluate.linear import eigenbasis, moments, spare_threads, walk
from pretextbench.evaluate.task import Array, Bools, Floats, Model, Setup, Task, influences


@dataclass(frozen=True)
class Logistic:
    """Fitted regressions of all labels."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    weight: Tensor  # (D, K); 0 for a label that training shows in one way only
    bias: Tensor  # (K,)
    penalty: float

    def outputs(self, features: Tensor) -> Array:
        """(n, D) -> (n, K) probabilities, float64."""
        x = (features.to(self.mean.device) - self.mean) / self.std
        return np.asarray((x @ self.weight + self.bias).sigmoid().double().cpu().numpy())


def average_precision(scores: Floats, positive: Bools) -> tuple[float, Floats]:
    """Average precision of one label, and the same with each image left out, (n,); a positive image must be there.

    Without image i, the positive images at or below its score lose one image in the denominator of their precision,
    and one in the numerator where i is positive.
    """
    order = np.argsort(-scores, kind="stable")
    y, ordered = positive[order], scores[order]
    last = np.searchsorted(-ordered, -ordered, side="right") - 1  # (n,) last place with the same score
    place, hits = last + 1.0, np.cumsum(y)[last].astype(float)  # images, and positive ones, with at least that score
    count = float(y.sum())
    kept = y * hits / place
    fewer = y * hits / np.maximum(place - 1, 1)  # a negative image leaves
    both = y * (hits - 1) / np.maximum(place - 1, 1)  # a positive image leaves
    first = np.searchsorted(-ordered, -ordered, side="left")  # (n,) first place with the same score
    above = np.concatenate([[0.0], np.cumsum(kept)])[first]
    below = {name: part.sum() - np.concatenate([[0.0], np.cumsum(part)])[first] for name, part in
             (("fewer", fewer), ("both", both))}  # fmt: skip
    whole = float(kept.sum() / count)
    if count > 1:
        own = both  # the image's own term leaves with it
        positives = (above + below["both"] - own) / (count - 1)
    else:
        positives = np.full(len(y), whole)
    left_out = np.where(y, positives, (above + below["fewer"]) / count)
    result = np.empty(len(y))
    result[order] = left_out
    return whole, result


class MultiLabel(Task):
    """Several labels per image; the main measure is average precision, averaged over the labels (macro)."""

    def fit(self, features: Tensor, targets: Array, setup: Setup) -> Sequence[Model]:
        """Regressions of all labels, strongest penalty first."""
        known, positive = targets >= 0, targets > 0
        both = np.asarray(positive.any(0) & (known & ~positive).any(0))
        if not both.any():
            raise UserError("No label has training images with it and without it: there is nothing to learn.")
        x = features.to(setup.device)
        mean, std = moments(x)
        basis, variance = eigenbasis((x - mean) / std)
        z = (x - mean) / std @ basis  # (n, r)
        y, weights = (torch.from_numpy(table[:, both]).to(z) for table in (positive, known))
        weights = weights / weights.sum(0)
        start, models = z.new_zeros(z.shape[1] + 1, y.shape[1]), []
        rates = np.clip(positive.sum(0) / np.maximum(known.sum(0), 1), 1e-6, 1 - 1e-6)
        with spare_threads(z.numel() * y.shape[1]):
            for penalty in sorted(setup.penalties, reverse=True):
                start = _solve(z, variance, y, weights, penalty, setup.steps, start)
                weight, bias = z.new_zeros(len(mean), len(both)), torch.from_numpy(np.log(rates / (1 - rates))).to(z)
                weight[:, both], bias[both] = basis @ start[:-1], start[-1]
                models.append(Logistic(mean, std, weight, bias, penalty))
        return models

    def score(self, outputs: Array, targets: Array) -> float:
        """Macro average precision of the labels that can be measured; 0 where none can."""
        parts = [average_precision(outputs[known, k], positive)[0] for k, known, positive in _measured(targets)]
        return float(np.mean(parts)) if parts else 0.0

    def values(self, outputs: Array, targets: Array) -> Floats:
        """Influence of an image on each label, averaged; 0 on a label that is unknown for it."""
        total, labels = np.zeros(len(targets)), list(_measured(targets))
        for k, known, positive in labels:
            whole, without = average_precision(outputs[known, k], positive)
            total[known] += (influences(whole, without) - whole) * len(targets) / known.sum()
        return np.asarray(self.score(outputs, targets) + total / max(len(labels), 1))

    def scores(self, outputs: Array, targets: Array) -> dict[str, Any]:
        """Macro and micro average precision and area under the ROC curve; None per label that cannot be measured."""
        from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]

        precision: list[float | None] = [None] * targets.shape[1]
        area: list[float | None] = [None] * targets.shape[1]
        for k, known, positive in _measured(targets):
            precision[k] = average_precision(outputs[known, k], positive)[0]
            area[k] = float(roc_auc_score(positive, outputs[known, k]))
        every = targets >= 0
        pooled = (targets[every] > 0) if any(value is not None for value in precision) else np.zeros(0, bool)
        micro = average_precision(outputs[every], pooled)[0] if pooled.any() else None
        areas = [value for value in area if value is not None]
        return {
            "map": self.score(outputs, targets),
            "micro_map": micro,
            "auroc": float(np.mean(areas)) if areas else None,
            "per_label": precision,
            "auroc_per_label": area,
        }

    def vote(self, weights: Tensor, targets: Array) -> Array:
        """The weighted share of the neighbours that have a label, among those of which it is known."""
        w, known = weights.double().numpy()[..., None], targets >= 0
        total = (w * known).sum(1)
        return np.asarray((w * (targets > 0)).sum(1) / np.where(total > 0, total, 1))

    def chance(self, targets: Array) -> float:
        """Average precision of equal scores is the share of positive images."""
        shares = [float(positive.mean()) for _, _, positive in _measured(targets)]
        return float(np.mean(shares)) if shares else 0.0

    def notes(self, train: Array, test: Array) -> list[str]:
        """Labels that test cannot measure."""
        measured = {k for k, *_ in _measured(test)}
        left = test.shape[1] - len(measured)
        return [f"{left} of {test.shape[1]} labels are in no test image, or in all: they are not measured."] * (
            left > 0
        )


def _measured(targets: Array) -> list[tuple[int, Bools, Bools]]:
    """Of each label that some known image has and some has not: its number, the known images, which of them have it."""
    result = []
    for k in range(targets.shape[1]):
        known = targets[:, k] >= 0
        positive = targets[known, k] > 0
        if positive.any() and not positive.all():
            result.append((k, known, positive))
    return result


def _solve(z: Tensor, variance: Tensor, y: Tensor, weights: Tensor, l2: float, steps: int, start: Tensor) -> Tensor:
    """The optimum (r + 1, K) in the eigenbasis, the last row the bias; scaled so that the Hessian is about 1."""
    scale = torch.cat([(variance / 4 + l2).rsqrt(), z.new_full((1,), 2.0)])[:, None]

    def objective(u: Tensor) -> tuple[float, Tensor]:
        w = scale * u.to(z)
        logits = z @ w[:-1] + w[-1]
        loss = (weights * F.binary_cross_entropy_with_logits(logits, y, reduction="none")).sum()
        slope = weights * (logits.sigmoid() - y)
        gradient = torch.cat([z.T @ slope + l2 * w[:-1], slope.sum(0, keepdim=True)])
        return float(loss.double() + l2 / 2 * w[:-1].double().square().sum()), (scale * gradient).double()

    u, _, _ = walk(objective, (start / scale).double(), steps)
    return scale * u.to(z)
