"""Few labels: which training images keep theirs, and a linear probe that is honest about how few it has.

A subset depends on (evaluate.seed, budget, redraw) and the training labels alone, so every method and every pretraining
seed is judged on the same draws. The penalty is chosen by cross-validation inside the subset, because choosing it on
the full validation set would spend far more labels than the budget grants (Oliver 2018, section 4.6). The stage of the
encoder is the one chosen at full labels: one choice among four, shared by all budgets of a row.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.evaluate import linear
from pretextbench.params import Evaluate
from pretextbench.seed import Seed

Ints = npt.NDArray[np.int64]
FOLDS = 5
MANY = 500  # labels from which one held-out fold says as much as five do on fewer, at a fifth of the time


@dataclass(frozen=True)
class Budget:
    """How many labels: a share of those there are, or a number per class. Exactly one is set."""

    share: float | None
    per_class: int | None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """'1%' is a share of the labelled training images, '5' is five per class.

        Raises:
            UserError: it is neither.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
        if match and match[2] and 0 < float(match[1]) <= 100:
            return cls(float(match[1]) / 100, None)
        if match and not match[2] and match[1].isdigit() and int(match[1]) > 0:
            return cls(None, int(match[1]))
        raise UserError(
            f"evaluate.budgets: {text!r} is not a label budget. Allowed: a share of the training labels above 0% and "
            "up to 100%, such as '1%', or a whole number of labels per class, such as '5'."
        )

    def of(self, count: int) -> int:
        """Labels that a class with `count` labelled images keeps: one at least."""
        return self.per_class if self.per_class is not None else max(1, int(count * (self.share or 0) + 0.5))


def subset(labels: Ints, text: str, seed: int, redraw: int) -> Ints:
    """Rows of the (n,) training labels that keep theirs: stratified, sorted; -1 is never drawn.

    Raises:
        UserError: not a budget, or a class has fewer labelled images than the budget asks for; names the class.
    """
    budget, generator = Budget.parse(text), Seed(seed).numpy("budget", text, redraw)
    kept = []
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        wanted = budget.of(len(rows))
        if wanted > len(rows):
            raise UserError(
                f"The label budget {text!r} asks for {wanted} labels per class; class {label} has {len(rows)} in the "
                "training split."
            )
        kept.append(generator.choice(rows, wanted, replace=False))
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, np.int64)


def folds(labels: Ints, generator: np.random.Generator) -> Ints:
    """A stratified fold (n,) in 0..4 for every example; the classes take turns in who gets the odd ones."""
    order = generator.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # shuffled within each class, classes one after another
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def few(
    features: Tensor, labels: Tensor, classes: int, params: Evaluate, name: tuple[str, int], device: torch.device
) -> linear.Model:
    """A linear probe on the (n, D) features of one subset, its penalty chosen by cross-validation inside it.

    With one example per class there is nothing to validate on, and the middle of the grid is taken.

    Args:
        name: budget and redraw, which seed the folds.

    Raises:
        UserError: fewer than two classes in the subset.
    """
    grid = sorted(params.linear_l2, reverse=True)
    l2 = grid[len(grid) // 2]
    if len(grid) > 1 and labels.bincount().max() > 1:
        fold = torch.from_numpy(folds(labels.numpy(), Seed(params.seed).numpy("folds", *name)))
        l2 = _validated(features, labels, fold, classes, params, device)
    return linear.path(features, labels, classes, [l2], params.linear_steps, device)[0]


def _validated(
    features: Tensor, labels: Tensor, fold: Tensor, classes: int, params: Evaluate, device: torch.device
) -> float:
    """The penalty with the most held-out hits; ties go to the larger likelihood."""
    merit: dict[float, tuple[int, float]] = {}
    for held in range(FOLDS if len(labels) <= MANY else 1):
        inside = fold != held
        if len(labels[inside].unique()) < 2 or inside.all():
            continue
        for model in linear.path(
            features[inside], labels[inside], classes, params.linear_l2, params.linear_steps, device
        ):
            p, truth = model.probabilities(features[~inside]), labels[~inside]
            likelihood = p[torch.arange(len(p)), truth].clamp(min=1e-12).log().sum().item()
            hits, total = merit.get(model.l2, (0, 0.0))
            merit[model.l2] = (hits + int((p.argmax(1) == truth).sum()), total + likelihood)
    return max(merit, key=lambda l2: merit[l2]) if merit else sorted(params.linear_l2)[len(params.linear_l2) // 2]
