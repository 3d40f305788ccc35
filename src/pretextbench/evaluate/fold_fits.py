"""Many small linear probes at once: the fits of a cross-validation as one batched problem.

A probe of a few dozen images takes microseconds of arithmetic and milliseconds of calls, and cross-validation of every
layer asks for hundreds. So the folds are stacked (padded with rows of weight 0 and directions of variance 0, which move
nothing) and one L-BFGS walks through all of them, with a step of its own and an end of its own for each. The problem of
each fold is that of `linear.Problem`: the same standardisation, the same eigenbasis, which with n < D has n directions,
the same penalty on the mean loss. The walk ends earlier: hits of held-out images do not need the last digits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.evaluate import linear

CLOSE = 1e-5  # share of the loss that a step gains, below which a fold has arrived
MEMORY, SHORTER, TRIES = 10, 0.3, 12  # pairs that L-BFGS keeps; factor of a step that went too far, and how often
PACK = 0.7  # share of the folds under way, below which the others are taken out of the batch
LARGE = 2**24  # numbers in one table; a batch has smaller ones, and a fold that has not is fitted alone, by `linear`
ABSENT = -1e30  # logit; finite, as nothing times infinity would be no number
LEAST = math.log(1e-12)  # nats that one held-out image can cost at most


@dataclass(frozen=True)
class Fold:
    """Features to fit a probe on, and held-out features to judge it by. Every label is a class."""

    x: Tensor  # (n, D)
    y: Tensor  # (n,), of two classes or more
    held: Tensor  # (m, D)
    truth: Tensor  # (m,)


Merit = tuple[int, float]  # held-out images that are classified correctly, and the log-likelihood of all of them


def merits(
    folds: Sequence[Fold], classes: int, grid: Sequence[float], steps: int, device: torch.device
) -> list[dict[float, Merit]]:
    """How well each penalty of the grid does on the held-out images of each fold."""
    size = max(max(fold.x.shape) * max(classes, *fold.x.shape) for fold in folds)
    if size > LARGE:
        return [_alone(fold, classes, grid, steps, device) for fold in folds]
    together, results = max(1, LARGE // size), []
    for start in range(0, len(folds), together):
        batch = folds[start : start + together]
        with linear.spare_threads(sum(fold.x.numel() for fold in batch) * classes):
            results += _batched(batch, classes, sorted(grid, reverse=True), steps, device)
    return results


def _alone(fold: Fold, classes: int, grid: Sequence[float], steps: int, device: torch.device) -> dict[float, Merit]:
    models = linear.path(fold.x, fold.y, classes, grid, steps, device)
    return {model.l2: _merit(model.probabilities(fold.held).log(), fold.truth) for model in models}


def _merit(log_p: Tensor, truth: Tensor) -> Merit:
    likelihood = log_p[torch.arange(len(truth)), truth].clamp(min=LEAST).sum().item()
    return int((log_p.argmax(1) == truth).sum()), likelihood


def _batched(
    folds: Sequence[Fold], classes: int, grid: Sequence[float], steps: int, device: torch.device
) -> list[dict[float, Merit]]:
    batch, held = _stack(folds, classes, device)
    weights = batch.z.new_zeros(len(folds), classes, batch.z.shape[2])
    results: list[dict[float, Merit]] = [{} for _ in folds]
    for l2 in grid:  # strongest first: each walk begins where the one before ended
        weights = batch.solve(l2, weights, steps)
        log_p = (held @ weights.transpose(1, 2) + batch.absent[:, None]).log_softmax(2).cpu()
        for result, fold, table in zip(results, folds, log_p, strict=True):
            result[l2] = _merit(table[: len(fold.truth)], fold.truth)
    return results


@dataclass(frozen=True)
class Batch:
    """The problems of B folds, in coordinates where one step of gradient descent is about right."""

    z: Tensor  # (B, n, r + 1): features in the eigenbasis, then ones
    variance: Tensor  # (B, r)
    target: Tensor  # (B, K, n): 1 / n of the fold at the class of each image; 0 elsewhere
    absent: Tensor  # (B, K): 0, or `ABSENT` for a class without an example
    present: Tensor  # (B,): number of classes with an example

    def solve(self, l2: float, weights: Tensor, steps: int) -> Tensor:
        """The optimum (B, K, r + 1) for one penalty, from these weights; the last column is the bias."""
        scale = (self.variance / self.present[:, None] + l2).rsqrt()  # as in `linear.Problem.solve`
        scale = torch.cat([scale, self.present[:, None].sqrt()], 1)[:, None]  # (B, 1, r + 1)
        ridge = l2 * scale.square()
        ridge[..., -1] = 0.0
        rows = self.z * scale
        objective = Objective(
            rows,
            rows.transpose(1, 2).contiguous(),
            self.target,
            self.target.sum(1, keepdim=True),
            self.absent[..., None],
            ridge,
        )
        return scale * _walk(objective, weights / scale, steps)


def _stack(folds: Sequence[Fold], classes: int, device: torch.device) -> tuple[Batch, Tensor]:
    """The batch, and the held-out features (B, m, r + 1) in its coordinates."""
    turned = [_turned(fold, device) for fold in folds]
    rank = max(len(variance) for _, _, variance in turned)
    z = _padded([z for z, _, _ in turned], rank)
    held = _padded([held for _, held, _ in turned], rank)
    target, absent = z.new_zeros(len(folds), classes, z.shape[1]), z.new_full((len(folds), classes), ABSENT)
    for i, fold in enumerate(folds):
        target[i, fold.y, torch.arange(len(fold.y))] = 1 / len(fold.y)
        absent[i, fold.y] = 0.0
    variance = torch.stack([F.pad(variance, (0, rank - len(variance))) for _, _, variance in turned])
    return Batch(z, variance, target, absent, (absent == 0).sum(1).to(z)), held


def _turned(fold: Fold, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Features and held-out features, standardised and in the eigenbasis, and the variance along each direction."""
    x = fold.x.to(device)
    mean, std = linear.moments(x)
    x = (x - mean) / std
    basis, variance = linear.eigenbasis(x)
    return x @ basis, (fold.held.to(device) - mean) / std @ basis, variance


def _padded(tables: Sequence[Tensor], rank: int) -> Tensor:
    """(n_b, r_b) tables as one (B, n, r + 1), with zeros at their ends and a last column of ones."""
    out = tables[0].new_zeros(len(tables), max(map(len, tables)), rank + 1)
    for padded, table in zip(out, tables, strict=True):
        padded[: len(table), : table.shape[1]] = table
    out[..., -1] = 1.0
    return out


@dataclass(frozen=True)
class Objective:
    """Mean cross-entropy plus penalty, and its gradient, of B problems at scaled weights (B, K, R).

    Weights lie class by class and features both ways, as products of matrices this narrow are three times as fast so.
    """

    rows: Tensor  # (B, n, R)
    columns: Tensor  # (B, R, n)
    target: Tensor  # (B, K, n)
    share: Tensor  # (B, 1, n): weight of an image; 0 for a padded row
    absent: Tensor  # (B, K, 1)
    ridge: Tensor  # (B, 1, R)

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B,) and gradients (B, K, R)."""
        log_p = torch.baddbmm(self.absent, u, self.columns).log_softmax(1)
        shrink = self.ridge * u
        value = 0.5 * (shrink * u).sum((1, 2)) - (log_p * self.target).sum((1, 2))
        error = log_p.clamp_min_(linear.FLOOR).exp_().mul_(self.share).sub_(self.target)
        return value, (error @ self.rows).add_(shrink)

    def only(self, kept: Tensor) -> "Objective":
        """The problems that a mask (B,) keeps."""
        return Objective(
            *(tensor[kept] for tensor in (self.rows, self.columns, self.target, self.share, self.absent, self.ridge))
        )


@dataclass
class Memory:
    """The last steps of L-BFGS, and what the gradient did along each."""

    steps: list[Tensor] = field(default_factory=list)  # (B, K, R)
    changes: list[Tensor] = field(default_factory=list)  # (B, K, R)
    inverses: list[Tensor] = field(default_factory=list)  # (B,): 1 / (step . change); 0 for a fold that stood still

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a step, and forget the oldest where there are more than ten."""
        along = (step * change).sum((1, 2))
        inverse = torch.where(along > 0, 1 / along.clamp_min(1e-30), 0.0)
        for kept, new in ((self.steps, step), (self.changes, change), (self.inverses, inverse)):
            kept.append(new)
            del kept[:-MEMORY]

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the gradient times the inverse Hessian, as far as it is known (Nocedal 1980)."""
        q, shares = -gradient, []
        pairs = list(zip(self.steps, self.changes, self.inverses, strict=True))
        for step, change, inverse in reversed(pairs):
            shares.append((inverse * (step * q).sum((1, 2)))[:, None, None])
            q = q.addcmul(shares[-1], change, value=-1)
        if pairs:
            step, change, inverse = pairs[-1]
            curvature = inverse * change.square().sum((1, 2))
            q = q * torch.where(curvature > 0, 1 / curvature.clamp_min(1e-30), 1.0)[:, None, None]
        for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
            again = (inverse * (change * q).sum((1, 2)))[:, None, None]
            q = q.addcmul(share - again, step)
        return q

    def only(self, kept: Tensor) -> "Memory":
        """The folds that a mask (B,) keeps."""
        return Memory(*([tensor[kept] for tensor in part] for part in (self.steps, self.changes, self.inverses)))


def _walk(objective: Objective, u: Tensor, steps: int) -> Tensor:
    """Minimise (B, K, R) by L-BFGS; a fold stops by itself, when a step gains little."""
    result, place, memory = u.clone(), torch.arange(len(u), device=u.device), Memory()
    value, gradient = objective(u)
    live = torch.ones_like(value, dtype=torch.bool)
    for _ in range(steps):
        if live.float().mean() < PACK:
            result[place[~live]] = u[~live]
            objective, memory, place = objective.only(live), memory.only(live), place[live]
            u, value, gradient, live = u[live], value[live], gradient[live], live[live]
        new, lower, slope = _step(objective, u, value, gradient, memory.direction(gradient), live)
        memory.add(new - u, slope - gradient)
        live = live & (value - lower > CLOSE * lower)
        u, value, gradient = new, lower, slope
        if not live.any():
            break
    result[place] = u
    return result


def _step(
    objective: Objective, u: Tensor, value: Tensor, gradient: Tensor, direction: Tensor, live: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of each fold under way, shortened until the loss falls enough (Armijo): point, value, gradient."""
    length, falls = live.to(u), (direction * gradient).sum((1, 2))
    for _ in range(TRIES):
        new = u.addcmul(length[:, None, None], direction)
        lower, slope = objective(new)
        enough = ~live | (lower <= value + 1e-4 * length * falls)
        if enough.all():
            return new, lower, slope
        length = torch.where(enough, length, SHORTER * length)
    moved = enough[:, None, None]
    return torch.where(moved, new, u), torch.where(enough, lower, value), torch.where(moved, slope, gradient)
