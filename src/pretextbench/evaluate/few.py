"""The label budgets of an evaluation: linear probes and, where asked for, fine-tuning on the same subsets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pretextbench.data.prepared import Prepared
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate import budgets
from pretextbench.evaluate.final import Scored
from pretextbench.evaluate.layers import Bench, Prediction, Probed, predict


@dataclass(frozen=True)
class Few:
    """What was trained at one label budget, or why nothing was."""

    labels: int = 0  # that the budget granted
    test: tuple[Prediction, ...] = ()  # per redraw
    detail: tuple[dict[str, Any], ...] = ()  # per redraw: what was chosen
    reason: str | None = None


def probes(bench: Bench, budget: str, linear: Probed) -> Few:
    """Linear probes of the best stage on the redrawn subsets of one budget; an unaffordable budget is a `reason`.

    All labels leave nothing to redraw: that is the linear probe itself.
    """
    stage, params, labels = linear.best, bench.params, bench.labels["train"]
    if budgets.Budget.parse(budget).share == 1:
        model = linear.models[stage]
        return Few(int((labels >= 0).sum()), (linear.test[stage],), ({"l2": model.l2},))
    train, test = bench.features["train"][stage], bench.features["test"][stage]
    size, said, detail = 0, [], []
    try:
        for redraw in range(params.redraws):
            rows = torch.from_numpy(budgets.subset(labels.numpy(), budget, params.seed, redraw))
            model = budgets.few(train[rows], labels[rows], bench.classes, params, (budget, redraw), bench.device)
            size = len(rows)
            said.append(predict(model, test))
            detail.append({"l2": model.l2})
    except UserError as error:
        return Few(reason=str(error))  # an empty cell with its reason: the other cells stand
    return Few(size, tuple(said), tuple(detail))


def tuned(encoder: Encoder, data: Prepared, bench: Bench, budget: str) -> Few:
    """The whole network trained on the first subset of one budget; what cannot be trained is a `reason`."""
    from pretextbench.evaluate.finetune import finetune  # imports Kornia (2 s), and is seldom asked for

    labels, params, features = bench.labels["train"], bench.params, list(bench.features["train"].values())[-1]
    try:
        rows = torch.from_numpy(budgets.subset(labels.numpy(), budget, params.seed, redraw=0))
        found = finetune(encoder, data, features, rows, labels, params, bench.device, budget)
    except UserError as error:
        return Few(reason=str(error))
    detail = {"kept": found.kept, "stopped": found.stopped, "history": [list(point) for point in found.history]}
    return Few(len(rows), (found.prediction,), (detail,))


def named(kind: str, few: dict[str, Few]) -> dict[str, Prediction]:
    """`<kind>.<budget>.<redraw>` -> prediction."""
    return {f"{kind}.{budget}.{i}": said for budget, found in few.items() for i, said in enumerate(found.test)}


def scored(kind: str, few: dict[str, Few], scored: Scored) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Per budget the metrics, and `<kind>.<budget>` -> predictions (redraws, n)."""
    metrics: dict[str, Any] = {}
    arrays = {}
    for budget, found in few.items():
        if found.reason:
            metrics[budget] = {"top1": None, "reason": found.reason}
            continue
        keys = [f"{kind}.{budget}.{redraw}" for redraw in range(len(found.test))]
        tests = [scored.scores[key] for key in keys]
        redraws = [{**detail, "test": test} for detail, test in zip(found.detail, tests, strict=True)]
        top1 = float(np.mean([test["top1"] for test in tests]))
        metrics[budget] = {"labels": found.labels, "top1": top1, "redraws": redraws}
        arrays[f"{kind}.{budget}"] = np.stack([scored.predictions[key] for key in keys])
    return metrics, arrays
