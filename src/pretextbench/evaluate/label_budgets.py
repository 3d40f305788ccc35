"""Probes with few labels: the subsets, and the fits and choices on them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pretextbench.base.section import label_budget
from pretextbench.base.seed import Seed
from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate import linear
from pretextbench.evaluate.probes import Bench, Prediction, Probed, predict
from pretextbench.evaluate.scoring import Scored
from pretextbench.params import Evaluate

Ints = npt.NDArray[np.int64]
FOLDS = 5
MANY = 500  # labels from which one held-out fold says as much as five do on fewer, at a fifth of the time


@dataclass(frozen=True)
class Budget:
    """A number of labels: a share of the training labels, or a number per class. Exactly one is set."""

    share: float | None
    per_class: int | None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """'1%' is a share of the labelled training images, '5' is five per class.

        Raises:
            UserError: it is neither.
        """
        try:
            number, percent = label_budget(text)
        except ValueError as error:
            raise UserError(f"evaluate.budgets: {text!r} is {error}.") from None
        return cls(number / 100, None) if percent else cls(None, int(number))

    def of(self, count: int) -> int:
        """Labels that a class with `count` labelled images keeps: one at least."""
        return self.per_class if self.per_class is not None else max(1, int(count * (self.share or 0) + 0.5))


def subset(labels: Ints, text: str, seed: int, redraw: int) -> Ints:
    """Rows of the (n,) training labels that keep theirs: stratified, sorted; -1 is never drawn.

    Raises:
        UserError: not a budget, or a class has fewer labelled images than the budget asks for; names the class.
    """
    budget, generator = Budget.parse(text), Seed(seed).numpy("budget", text, redraw)
    chosen, order = [], np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    for label, rows in zip(present, np.split(order, starts[1:]), strict=True):  # in one pass, however many classes
        if label < 0:
            continue
        wanted = budget.of(len(rows))
        if wanted > len(rows):
            raise UserError(
                f"The label budget {text!r} asks for {wanted} labels per class; class {label} has {len(rows)} in the "
                "training split."
            )
        chosen.append(generator.choice(rows, wanted, replace=False))
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def folds(labels: Ints, generator: np.random.Generator) -> Ints:
    """A stratified fold (n,) in 0..4 for every example; the remainders of the classes go to the folds in turn."""
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


@dataclass(frozen=True)
class Few:
    """The models of one label budget, or the reason why there are none."""

    labels: int = 0  # that the budget granted
    test: tuple[Prediction, ...] = ()  # per redraw
    detail: tuple[dict[str, Any], ...] = ()  # per redraw: the choices
    reason: str | None = None


def probes(bench: Bench, budget: str, linear: Probed) -> Few:
    """Linear probes of the best stage on the redrawn subsets of one budget; an unaffordable budget is a `reason`.

    All labels leave nothing to redraw: that is the linear probe itself.
    """
    stage, params, labels = linear.best, bench.params, bench.labels["train"]
    if Budget.parse(budget).share == 1:
        model = linear.models[stage]
        return Few(int((labels >= 0).sum()), (linear.test[stage],), ({"l2": model.l2},))
    train, test = bench.features["train"][stage], bench.features["test"][stage]
    size, predicted, detail = 0, [], []
    try:
        for redraw in range(params.redraws):
            rows = torch.from_numpy(subset(labels.numpy(), budget, params.seed, redraw))
            model = few(train[rows], labels[rows], bench.classes, params, (budget, redraw), bench.device)
            size = len(rows)
            predicted.append(predict(model, test))
            detail.append({"l2": model.l2})
    except UserError as error:
        return Few(reason=str(error))  # an empty cell with its reason: the other cells stand
    return Few(size, tuple(predicted), tuple(detail))


def tuned(encoder: Encoder, data: Prepared, bench: Bench, budget: str) -> Few:
    """The whole network trained on the first subset of one budget; what cannot be trained is a `reason`."""
    from pretextbench.evaluate.finetune import finetune  # imports Kornia (2 s), and is seldom asked for

    labels, params, features = bench.labels["train"], bench.params, list(bench.features["train"].values())[-1]
    try:
        rows = torch.from_numpy(subset(labels.numpy(), budget, params.seed, redraw=0))
        result = finetune(encoder, data, features, rows, labels, params, bench.device, budget)
    except UserError as error:
        return Few(reason=str(error))
    detail = {"kept": result.best_at, "stopped": result.stopped, "history": [list(point) for point in result.history]}
    return Few(len(rows), (result.prediction,), (detail,))


def named(kind: str, few: dict[str, Few]) -> dict[str, Prediction]:
    """`<kind>.<budget>.<redraw>` -> prediction."""
    return {
        f"{kind}.{budget}.{i}": predicted for budget, result in few.items() for i, predicted in enumerate(result.test)
    }


def scored(kind: str, few: dict[str, Few], scored: Scored) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Per budget the metrics, and `<kind>.<budget>` -> predictions (redraws, n)."""
    metrics: dict[str, Any] = {}
    arrays = {}
    for budget, result in few.items():
        if result.reason:
            metrics[budget] = {"top1": None, "reason": result.reason}
            continue
        keys = [f"{kind}.{budget}.{redraw}" for redraw in range(len(result.test))]
        tests = [scored.scores[key] for key in keys]
        redraws = [{**detail, "test": test} for detail, test in zip(result.detail, tests, strict=True)]
        top1 = float(np.mean([test["top1"] for test in tests]))
        metrics[budget] = {"labels": result.labels, "top1": top1, "redraws": redraws}
        arrays[f"{kind}.{budget}"] = np.stack([scored.predictions[key] for key in keys])
    return metrics, arrays
