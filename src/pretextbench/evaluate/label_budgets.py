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
from pretextbench.evaluate.cross_validation import Choice, Draw, choose
from pretextbench.evaluate.probes import Bench, Prediction, Probed, predict
from pretextbench.evaluate.scoring import Scored
from pretextbench.params import Evaluate

Ints = npt.NDArray[np.int64]


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


def few(
    features: Tensor, labels: Tensor, classes: int, params: Evaluate, name: tuple[str, int], device: torch.device
) -> linear.Model:
    """A linear probe on the (n, D) features of one layer, its penalty chosen by cross-validation inside the subset.

    Args:
        name: budget and redraw, which seed the folds.

    Raises:
        UserError: fewer than two classes in the subset, or the features are not finite.
    """
    (choice,) = choose([Draw({"": features}, labels, name)], classes, params, device)
    return linear.path(features, labels, classes, [choice.l2], params.linear_steps, device)[0]


@dataclass(frozen=True)
class Few:
    """The models of one label budget, or the reason why there are none."""

    labels: int = 0  # that the budget granted
    test: tuple[Prediction, ...] = ()  # per redraw
    detail: tuple[dict[str, Any], ...] = ()  # per redraw: the choices
    reason: str | None = None


def probes(bench: Bench, budget: str, probed: Probed) -> Few:
    """Linear probes on the redrawn subsets of one budget, each with the layer and the penalty that its labels choose.

    All labels leave nothing to redraw: that is the linear probe itself. An unaffordable budget is a `reason`.
    """
    labels = bench.labels["train"]
    if Budget.parse(budget).share == 1:
        detail = {"layer": probed.best, "l2": probed.models[probed.best].l2}
        return Few(int((labels >= 0).sum()), (probed.test[probed.best],), (detail,))
    try:
        draws = [_draw(bench, budget, redraw) for redraw in range(bench.params.redraws)]
        choices = choose(draws, bench.classes, bench.params, bench.device)
        predicted = [_predicted(bench, draw, choice) for draw, choice in zip(draws, choices, strict=True)]
    except UserError as error:
        return Few(reason=str(error))  # an empty cell with its reason: the other cells stand
    details = tuple({"layer": choice.stage, "l2": choice.l2, "chosen": choice.chosen} for choice in choices)
    return Few(len(draws[0].labels), tuple(predicted), details)


def _draw(bench: Bench, budget: str, redraw: int) -> Draw:
    labels = bench.labels["train"]
    rows = torch.from_numpy(subset(labels.numpy(), budget, bench.params.seed, redraw))
    stages = {stage: features[rows] for stage, features in bench.features["train"].items()}
    return Draw(stages, labels[rows], (budget, redraw))


def _predicted(bench: Bench, draw: Draw, choice: Choice) -> Prediction:
    train, test = draw.stages[choice.stage], bench.features["test"][choice.stage]
    steps = bench.params.linear_steps
    (model,) = linear.path(train, draw.labels, bench.classes, [choice.l2], steps, bench.device)
    return predict(model, test)


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


def scratch(encoder: Encoder, data: Prepared, bench: Bench, budget: str) -> Few:
    """The untrained network trained on the subsets of one budget; what cannot be trained is a `reason`."""
    from pretextbench.evaluate.from_scratch import from_scratch  # imports Kornia, as above

    labels, params = bench.labels["train"], bench.params
    trained = []
    try:
        for redraw in range(params.redraws):
            rows = torch.from_numpy(subset(labels.numpy(), budget, params.seed, redraw))
            name = f"{budget} {redraw}"
            trained.append(from_scratch(encoder, data, rows, labels, params, bench.device, name))
    except UserError as error:
        return Few(reason=str(error))
    detail = tuple({"images": result.best_at} for result in trained)
    return Few(trained[0].labels, tuple(result.prediction for result in trained), detail)


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
        if any(not detail.get("chosen", True) for detail in result.detail):
            metrics[budget]["fixed"] = (
                f"{result.labels:,} labels are too few to choose layer and penalty by cross-validation among them; the "
                f"last layer and the penalty {result.detail[0]['l2']:g} were fixed in advance"
            )
        arrays[f"{kind}.{budget}"] = np.stack([scored.predictions[key] for key in keys])
    return metrics, arrays
