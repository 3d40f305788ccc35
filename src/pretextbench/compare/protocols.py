"""The protocols under which rows are compared, and how well label-free measures agree with them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from pretextbench.compare.runs import Run
from pretextbench.errors import UserError

BETTER = {"rankme": 1, "feature_std": 1, "alignment": -1, "uniformity": -1}  # the sign that is said to be good
FEWEST = 5  # encoders: with fewer the interval would be all of [-1, 1]


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the orders by a measure and by accuracy: 1 the same, 0 unrelated, -1 reversed."""

    measure: str
    tau: float
    low: float  # ends of the interval
    high: float
    p: float  # exact, two-sided, of no agreement


def agreement(
    measure: str, values: Sequence[float], accuracies: Sequence[float], confidence: float
) -> Agreement | None:
    """Of one measure over M encoders; None with fewer than five, or where all values are one.

    The interval treats the encoders as a sample of those one might have compared: artanh(tau) is about normal with
    variance 0.437 / (M - 4) (Fieller, Hartley & Pearson 1957). Its centre has one pair in order and one out of order
    added, as artanh(1) is infinite; without them it covered 83 % instead of 95 % where few encoders agree strongly.
    """
    count = len(values)
    if count < FEWEST:
        return None
    found = stats.kendalltau([BETTER[measure] * value for value in values], accuracies)
    if math.isnan(found.statistic):
        return None
    pairs = count * (count - 1) / 2
    centre = math.atanh(found.statistic * pairs / (pairs + 2))
    reach = float(special.ndtri((1 + confidence) / 2)) * math.sqrt(0.437 / (count - 4))
    low, high = math.tanh(centre - reach), math.tanh(centre + reach)
    return Agreement(measure, float(found.statistic), low, high, float(found.pvalue))


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
