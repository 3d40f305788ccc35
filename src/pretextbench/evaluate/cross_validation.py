"""The choice of layer and penalty with a few labels, by cross-validation among them: no other label is looked at.

Of the layers and the grid the pair with the most held-out hits is taken, then the one with the larger likelihood. With
fewer labels than folds, or with one per class, nothing can be held out that the others tell of: then the last layer and
the middle of the grid are taken, which are fixed in advance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretextbench.base.seed import Seed
from pretextbench.evaluate.fold_fits import Fold, Merit, merits
from pretextbench.params import Evaluate

Ints = npt.NDArray[np.int64]
FOLDS = 5
MANY = 500  # labels from which one held-out fold says as much as five do on fewer, at a fifth of the time


@dataclass(frozen=True)
class Draw:
    """The labelled examples of one subset, as every layer sees them."""

    stages: Mapping[str, Tensor]  # layer -> (n, D), first to last
    labels: Tensor  # (n,); every label is a class
    name: tuple[str, int]  # budget and redraw, which seed the folds

    @property
    def enough(self) -> bool:
        """Whether cross-validation can choose: labels for every fold, and a class with more than one."""
        return len(self.labels) >= FOLDS and int(self.labels.bincount().max()) > 1


@dataclass(frozen=True)
class Choice:
    """The layer and the penalty of one subset."""

    stage: str
    l2: float
    chosen: bool  # by cross-validation; False: as fixed in advance


def folds(labels: Ints, generator: np.random.Generator) -> Ints:
    """A stratified fold (n,) in 0..4 for every example; the remainders of the classes go to the folds in turn."""
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # shuffled within each class, classes one after another
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def choose(draws: Sequence[Draw], classes: int, params: Evaluate, device: torch.device) -> list[Choice]:
    """The choice of every subset, all of them fitted together."""
    tasks = [(i, stage, fold) for i, draw in enumerate(draws) for stage, fold in _folds(draw, params)]
    fits = [fold for *_, fold in tasks]
    results = merits(fits, classes, params.linear_l2, params.linear_steps, device) if fits else []
    totals: list[dict[tuple[str, float], Merit]] = [{} for _ in draws]
    for (i, stage, _), result in zip(tasks, results, strict=True):
        for l2, (hits, likelihood) in result.items():  # layers first to last, penalties strongest first: of equals
            before = totals[i].get((stage, l2), (0, 0.0))  # the first is taken
            totals[i][stage, l2] = (before[0] + hits, before[1] + likelihood)
    return [_best(draw, total, params) for draw, total in zip(draws, totals, strict=True)]


def _best(draw: Draw, totals: Mapping[tuple[str, float], Merit], params: Evaluate) -> Choice:
    if not totals:
        grid = sorted(params.linear_l2)
        return Choice(list(draw.stages)[-1], grid[len(grid) // 2], chosen=_single(draw, params))
    return Choice(*max(totals, key=lambda pair: totals[pair]), chosen=True)


def _single(draw: Draw, params: Evaluate) -> bool:
    """Whether there is one layer and one penalty, so that there is no choice."""
    return len(draw.stages) == len(params.linear_l2) == 1


def _folds(draw: Draw, params: Evaluate) -> list[tuple[str, Fold]]:
    """The fits that choose, layer by layer; none where nothing can be chosen, or there is no choice."""
    if not draw.enough or _single(draw, params):
        return []
    fold = torch.from_numpy(folds(draw.labels.numpy(), Seed(params.seed).numpy("folds", *draw.name)))
    tasks = []
    for stage, x in draw.stages.items():
        for number in range(FOLDS if len(fold) <= MANY else 1):
            inside = fold != number
            if len(draw.labels[inside].unique()) > 1:  # else there is nothing to fit
                tasks.append((stage, Fold(x[inside], draw.labels[inside], x[~inside], draw.labels[~inside])))
    return tasks
