"""The protocols under which rows are compared, and the predictions that each of them reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pretextbench.base.section import label_budget
from pretextbench.errors import UserError
from pretextbench.ranking.runs import Run

FEW, TUNED, CORRUPTED, TRANSFER = "budget", "finetune", "corrupted", "transfer"  # kinds other than linear, last and knn
SCRATCH = "scratch"  # the network of the control `random`, trained on few labels alone


class Protocol(str):
    """A way to judge an encoder: its kind, and for few labels and fine-tuning a label budget ("5", "1%").

    The string itself is the key in verdicts and in the seeds of the bootstrap: "linear", "1%", "finetune 1%". A budget
    of few labels is a linear probe on frozen features; fine-tuning trains the whole network.
    """

    kind: str
    budget: str

    def __new__(cls, kind: str, budget: str = "") -> Self:
        """The protocol of a kind, with the label budget of those that have one."""
        protocol = super().__new__(cls, {FEW: budget, TUNED: f"{TUNED} {budget}"}.get(kind, kind))
        protocol.kind, protocol.budget = kind, budget
        return protocol

    @property
    def extra(self) -> bool:
        """Whether it is not a probe of frozen features of clean images, so that it was asked for in params.yaml."""
        return self.kind in (CORRUPTED, TRANSFER, TUNED)

    @property
    def array(self) -> str:
        """Its name among the predictions of an evaluation: `budget.1%`, `finetune.1%`."""
        return f"{self.kind}.{self.budget}"

    @property
    def column(self) -> str:
        """Its column in the CSV and in metrics.json: `linear_1pct`, `linear_5_per_class`, `finetune_1pct`."""
        if not self.budget:
            return self.kind
        slug = self.budget.replace("%", "pct") if "%" in self.budget else f"{self.budget}_per_class"
        return f"{'linear' if self.kind == FEW else self.kind}_{slug}"

    @property
    def all_labels(self) -> bool:
        """Whether its label budget is 100 %."""
        return bool(self.budget) and label_budget(self.budget) == (100.0, True)

    @property
    def labels(self) -> str:
        """Its label budget in words: `1 % labels`, `5 labels/class`."""
        return f"{self.budget[:-1].strip()} % labels" if self.budget.endswith("%") else f"{self.budget} labels/class"

    @property
    def heading(self) -> str:
        """Its heading: `1 % labels`, `fine-tuned, 1 % labels`, `corrupted`."""
        return {FEW: self.labels, TUNED: f"fine-tuned, {self.labels}"}.get(self.kind, self.kind)


LINEAR, LAST, KNN = Protocol("linear"), Protocol("last"), Protocol("knn")  # best stage, last stage, best stage


Floats = npt.NDArray[np.float64]
Keys = dict[Protocol, dict[str, list[str]]]  # protocol -> row -> the arrays of Run.predictions that it averages


def best_layers(group: Sequence[Run]) -> dict[str, str]:
    """The stage of a row under each probe; "last" is the last stage, as peers probe it."""
    first = group[0].metrics
    if not first["labelled"]:
        return {}
    stages = {probe: _best(probe, [run.metrics for run in group]) for probe in ("linear", "knn")}
    if "linear" in first.get("transfer", {}):
        stages[TRANSFER] = _best("linear", [run.metrics["transfer"] for run in group])
    return {**stages, "last": first["linear"]["last"]}


def pictured(group: Sequence[Run]) -> Run:
    """The run whose pictures show a row: the first that has them at the row's layer, or the first where none has."""
    stage = best_layers(group).get("linear")
    return next((run for run in group if stage and run.metrics["linear"]["best"] == stage), group[0])


def _best(probe: str, metrics: Sequence[Mapping[str, Any]]) -> str:
    """The stage with the highest validation accuracy, mean over seeds: one per row, so that seeds are alike."""
    stages: list[str] = list(metrics[0][probe]["layers"])
    return max(stages, key=lambda stage: float(np.mean([seed[probe]["layers"][stage]["val"] for seed in metrics])))


def protocols(metrics: Mapping[str, Any], layers: Mapping[str, Mapping[str, str]]) -> Keys:
    """Every protocol of an evaluation, for rows with these layers."""
    arrays: Keys = {
        LINEAR: {name: [f"linear.{stage['linear']}"] for name, stage in layers.items()},
        LAST: {name: [f"linear.{stage['last']}"] for name, stage in layers.items()},
        KNN: {name: [f"knn.{stage['knn']}"] for name, stage in layers.items()},
    }
    for protocol in [*few_labels(metrics), *fine_tuned(metrics)]:
        arrays[protocol] = {name: [protocol.array] for name in layers}
        if protocol.kind == FEW and protocol.all_labels:  # all labels: the linear probe itself, at the row's layer
            arrays[protocol] = arrays[LINEAR]
    if names := corruptions(metrics):
        arrays[Protocol(CORRUPTED)] = {
            name: [robust_key(stage["linear"], corruption) for corruption in names] for name, stage in layers.items()
        }
    if all(TRANSFER in stage for stage in layers.values()):
        arrays[Protocol(TRANSFER)] = {name: [f"transfer.linear.{stage[TRANSFER]}"] for name, stage in layers.items()}
    return arrays


def corruptions(metrics: Mapping[str, Any]) -> list[str]:
    """The corruptions that an evaluation has predictions of."""
    return list(metrics.get("robustness", {}).get("corruptions", ()))


def robust_key(stage: str, corruption: str) -> str:
    """The name of the predictions (severities, images) of one layer for one corruption."""
    return f"robust.{stage}.{corruption}"


def few_labels(metrics: Mapping[str, Any]) -> dict[Protocol, int | None]:
    """The probes with few labels -> the labels that each grants, None where there were too few."""
    return {Protocol(FEW, budget): result.get("labels") for budget, result in metrics.get("budgets", {}).items()}


def fixed_choices(metrics: Mapping[str, Any]) -> dict[Protocol, str]:
    """The probes with too few labels to choose layer and penalty -> what was taken, in words."""
    budgets = metrics.get("budgets", {}).items()
    return {Protocol(FEW, budget): result["fixed"] for budget, result in budgets if "fixed" in result}


def scratch_keys(metrics: Mapping[str, Any]) -> dict[Protocol, str]:
    """The label budgets on which the untrained network was trained -> the array of predictions (redraws, n)."""
    budgets = metrics.get(SCRATCH, {}).items()
    return {Protocol(FEW, budget): f"{SCRATCH}.{budget}" for budget, result in budgets if not result.get("reason")}


def fine_tuned(metrics: Mapping[str, Any]) -> list[Protocol]:
    """The protocols that train the whole network, with a result or a reason why there is none."""
    return [Protocol(TUNED, budget) for budget in metrics.get("finetune", {})]


def right(groups: Mapping[str, list[Run]], keys: Mapping[str, list[str]]) -> dict[str, Floats]:
    """Row -> (S seeds, R redraws, n test images): 1 where right, 0 where not, or the share of its predictions that are;
    of a task without classes the values whose mean is the main measure.

    A row without predictions is left out.

    Raises:
        UserError: the rows were evaluated with different numbers of redraws.
    """
    result = {}
    for name, group in groups.items():
        tables = [_hits(run, keys[name]) for run in group if all(key in run.predictions for key in keys[name])]
        if tables:
            result[name] = np.stack(tables)
    redraws = {name: table.shape[1] for name, table in result.items()}
    if len(set(redraws.values())) > 1:
        raise UserError(f"The runs were evaluated with different `evaluate.redraws`: {redraws}. Evaluate them alike.")
    return result


def _hits(run: Run, keys: Sequence[str]) -> Floats:
    """(R, n). Severities of a corruption are no redraws: they are averaged, as the corruptions are."""
    tables = [np.atleast_2d(worth(run.predictions, key)) for key in keys]
    if keys[0].startswith("robust."):
        return np.asarray(np.concatenate(tables).mean(0, keepdims=True))
    return np.asarray(tables[0], np.float64)


def groups_of(runs: Sequence[Run], protocol: Protocol) -> npt.NDArray[np.int64] | None:
    """The group of each test image that a protocol sees, such as a patient; None where images are not grouped."""
    predictions = next((run.predictions for run in runs if "group" in run.predictions), None)
    if predictions is None or protocol.kind == TRANSFER:
        return None
    group = predictions["group"]
    if protocol.kind == CORRUPTED:
        return np.asarray(group[np.searchsorted(predictions["index"], predictions["robust.index"])])
    return np.asarray(group)


def worth(predictions: Mapping[str, npt.NDArray[Any]], key: str) -> npt.NDArray[Any]:
    """Whether the predictions `key` are right; of a task without classes, their values as they are (evaluate.task)."""
    table = predictions[key]
    return table if table.dtype.kind == "f" else table == predictions[_truth(key)]


def _truth(key: str) -> str:
    group = key.partition(".")[0]
    return f"{group}.label" if group in ("robust", TRANSFER) else "label"
