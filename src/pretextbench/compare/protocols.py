"""What the rows are judged by: every protocol, the predictions of each row under it, and which of them are right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pretextbench.compare.runs import Run
from pretextbench.errors import UserError

Floats = npt.NDArray[np.float64]
Keys = dict[str, dict[str, list[str]]]  # protocol -> row -> the arrays of Run.predictions that it averages
CORRUPTED, TRANSFER, FINETUNE = "corrupted", "transfer", "finetune "  # the last is followed by a label budget


def best_layers(group: Sequence[Run]) -> dict[str, str]:
    """The stage of a row under each probe; "last" is the last stage, as peers probe it."""
    first = group[0].metrics
    if not first["labelled"]:
        return {}
    found = {probe: _best(probe, [run.metrics for run in group]) for probe in ("linear", "knn")}
    if "linear" in first.get("transfer", {}):
        found[TRANSFER] = _best("linear", [run.metrics["transfer"] for run in group])
    return {**found, "last": first["linear"]["last"]}


def _best(probe: str, metrics: Sequence[Mapping[str, Any]]) -> str:
    """The stage with the highest validation accuracy, mean over seeds: one per row, so that seeds are alike."""
    stages: list[str] = list(metrics[0][probe]["layers"])
    return max(stages, key=lambda stage: float(np.mean([found[probe]["layers"][stage]["val"] for found in metrics])))


def protocols(metrics: Mapping[str, Any], layers: Mapping[str, Mapping[str, str]]) -> Keys:
    """Every protocol of an evaluation, for rows with these layers."""
    found: Keys = {
        "linear": {name: [f"linear.{stage['linear']}"] for name, stage in layers.items()},
        "last": {name: [f"linear.{stage['last']}"] for name, stage in layers.items()},
        "knn": {name: [f"knn.{stage['knn']}"] for name, stage in layers.items()},
    }
    for budget in metrics["budgets"]:
        found[budget] = {name: [f"budget.{budget}"] for name in layers}
    for budget in metrics.get("finetune", {}):
        found[FINETUNE + budget] = {name: [f"finetune.{budget}"] for name in layers}
    if corruptions := metrics.get("robustness", {}).get("corruptions"):
        found[CORRUPTED] = {name: [f"robust.{corruption}" for corruption in corruptions] for name in layers}
    if all(TRANSFER in stage for stage in layers.values()):
        found[TRANSFER] = {name: [f"transfer.linear.{stage[TRANSFER]}"] for name, stage in layers.items()}
    return found


def right(groups: Mapping[str, list[Run]], keys: Mapping[str, list[str]]) -> dict[str, Floats]:
    """Row -> (S seeds, R redraws, n test images): 1 where right, 0 where not, or the share of its predictions that are.

    A row without predictions is left out.

    Raises:
        UserError: the rows were evaluated with different numbers of redraws.
    """
    found = {}
    for name, group in groups.items():
        tables = [_hits(run, keys[name]) for run in group if all(key in run.predictions for key in keys[name])]
        if tables:
            found[name] = np.stack(tables)
    redraws = {name: table.shape[1] for name, table in found.items()}
    if len(set(redraws.values())) > 1:
        raise UserError(f"The runs were evaluated with different `evaluate.redraws`: {redraws}. Evaluate them alike.")
    return found


def _hits(run: Run, keys: Sequence[str]) -> Floats:
    """(R, n). Severities of a corruption are no redraws: they are averaged, as the corruptions are."""
    tables = [np.atleast_2d(run.predictions[key] == run.predictions[_truth(key)]) for key in keys]
    if keys[0].startswith("robust."):
        return np.asarray(np.concatenate(tables).mean(0, keepdims=True))
    return np.asarray(tables[0], np.float64)


def _truth(key: str) -> str:
    group = key.partition(".")[0]
    return f"{group}.label" if group in ("robust", TRANSFER) else "label"
