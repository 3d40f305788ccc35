"""Runs in, one comparison out: rows ranked, judged against each other, with everything a report says about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pretextbench.compare.runs import Run
from pretextbench.compare.statistics import Judgement, judge, letters
from pretextbench.errors import UserError
from pretextbench.params import Compare
from pretextbench.seed import Seed

RANDOM = "random"  # the control that is not trained
ROUNDING = 0.01  # budgets that differ by less are equal: a budget is spent in whole batches
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The rows that have predictions under one protocol, judged against each other."""

    names: tuple[str, ...]
    judgement: Judgement
    examples: Mapping[str, Floats]  # name -> (n,) share of seeds and redraws that get each test image right

    def accuracy(self, name: str) -> float | None:
        """Test accuracy of a row, a fraction; None where it has no predictions."""
        return float(self.judgement.accuracy[self.names.index(name)]) if name in self.names else None

    def interval(self, name: str) -> tuple[float, float] | None:
        """The ends of its interval; None where it has no predictions."""
        if name not in self.names:
            return None
        i = self.names.index(name)
        return float(self.judgement.low[i]), float(self.judgement.high[i])

    def p(self, first: str, second: str) -> float:
        """Two-sided p of the paired difference, corrected over all pairs of this protocol."""
        return float(self.judgement.corrected[self.names.index(first), self.names.index(second)])


@dataclass(frozen=True)
class Row:
    """One method or control, over its seeds."""

    name: str
    control: bool
    seeds: tuple[int, ...]
    layers: Mapping[str, str]  # "linear", "knn" -> stage chosen on validation over all seeds; "last" -> the last stage
    labelfree: Mapping[str, float]
    images_seen: int
    seconds: float  # mean over seeds, as the next
    images_per_second: float
    peak_memory_mib: float  # largest over seeds
    parameters: int
    notes: tuple[str, ...] = ()  # why a cell is empty
    letters: str = ""  # rows that share one cannot be told apart


@dataclass(frozen=True)
class Comparison:
    """The answer: rows best first, and how sure their order is.

    `verdicts` has "linear" (best stage), "last" (linear, last stage), "knn" (best stage) and every label budget. It is
    empty where there are no labels to judge by; `reason` then says why, and rows are in the order of RankMe.
    """

    rows: tuple[Row, ...]
    params: Compare
    reason: str | None
    images: int  # test images with a label; without labels, validation images
    classes: int
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    budgets: Mapping[str, int | None] = field(default_factory=dict)  # label budget -> labels it grants, None if too few
    unequal: bool = False  # budgets of pretraining differ, and the user knows

    def cell(self, protocol: str, name: str) -> float | None:
        """An accuracy as a fraction; None is an empty cell."""
        return self.verdicts[protocol].accuracy(name) if protocol in self.verdicts else None


def compare(runs: Sequence[Run], params: Compare, seed: int = 0, allow_unequal_budgets: bool = False) -> Comparison:
    """Rank the runs and judge every pair of rows.

    Args:
        runs: every method and control at every seed, in any order.
        params: level of the tests and number of resamples.
        seed: of the resamples.
        allow_unequal_budgets: rank rows that have seen different numbers of images.

    Raises:
        UserError: there are no runs, a run is there twice, the runs were not evaluated on the same test images, or
            their budgets differ.
    """
    groups = _by_name(runs)
    unequal = _check_budgets(groups, allow_unequal_budgets)
    _check_same_test(runs)
    rows, metrics = {name: _row(name, group) for name, group in groups.items()}, runs[0].metrics
    classes = len(metrics["classes"])
    if not metrics["labelled"]:
        order = sorted(rows.values(), key=lambda row: -row.labelfree["rankme"])
        return Comparison(tuple(order), params, metrics["reason"], metrics["data"]["val"], classes, unequal=unequal)
    budgets = {name: found.get("labels") for name, found in metrics["budgets"].items()}
    keys = {
        "linear": {name: f"linear.{row.layers['linear']}" for name, row in rows.items()},
        "last": {name: f"linear.{row.layers['last']}" for name, row in rows.items()},
        "knn": {name: f"knn.{row.layers['knn']}" for name, row in rows.items()},
        **{budget: dict.fromkeys(rows, f"budget.{budget}") for budget in budgets},
    }
    found = {
        protocol: _verdict(groups, wanted, params, Seed(seed).numpy("compare", protocol))
        for protocol, wanted in keys.items()
    }
    verdicts = {protocol: verdict for protocol, verdict in found.items() if verdict is not None}
    images = metrics["data"]["test_labelled"]
    return Comparison(_ranked(rows, verdicts), params, None, images, classes, verdicts, budgets, unequal)


def _ranked(rows: Mapping[str, Row], verdicts: Mapping[str, Verdict]) -> tuple[Row, ...]:
    """Best first, with tie letters; rows without predictions last."""
    linear = verdicts.get("linear")
    if linear is None:
        return tuple(rows.values())
    best_first = np.argsort(-linear.judgement.accuracy, kind="stable")
    shared = letters(linear.judgement.different[np.ix_(best_first, best_first)])
    ranked = [replace(rows[linear.names[i]], letters=group) for i, group in zip(best_first, shared, strict=True)]
    return (*ranked, *(row for name, row in rows.items() if name not in linear.names))


def _by_name(runs: Sequence[Run]) -> dict[str, list[Run]]:
    if not runs:
        raise UserError("There is nothing to compare: no runs were given. Name methods or controls in `compare`.")
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.control, run.name, run.seed)):
        group = groups.setdefault(run.name, [])
        if any(run.seed == other.seed for other in group):
            raise UserError(f"The run {run.name}-{run.seed} is there twice. Give each method and seed once.")
        group.append(run)
    return groups


def _check_budgets(groups: Mapping[str, list[Run]], allowed: bool) -> bool:
    """Whether budgets differ; an encoder that was not trained has none."""
    seen = {
        f"{run.name}-{run.seed}": run.images_seen for group in groups.values() for run in group if run.name != RANDOM
    }
    if not seen or max(seen.values()) - min(seen.values()) <= ROUNDING * max(seen.values()):
        return False
    if not allowed:
        listed = ", ".join(f"{name} {images:,}" for name, images in seen.items())
        raise UserError(
            f"The budgets differ, so the rows cannot be ranked; images seen: {listed}. Pretrain all of them with the "
            "same `pretrain.images` or `pretrain.epochs`, or ask for it with allow_unequal_budgets."
        )
    return True


def _check_same_test(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        ours, theirs = (r.metrics["data"]["fingerprint"] for r in (first, run))
        same = ours == theirs and all(
            np.array_equal(first.predictions[key], run.predictions[key])
            for key in ("index", "label")
            if first.predictions and run.predictions
        )
        if not same or first.metrics["labelled"] != run.metrics["labelled"]:
            raise UserError(
                f"{first.name}-{first.seed} and {run.name}-{run.seed} were evaluated on different test images or labels"
                f" (fingerprints {ours[:12]} and {theirs[:12]}), so they cannot be compared. Run the evaluate stage of "
                "all rows on the same prepared data."
            )


def _row(name: str, group: Sequence[Run]) -> Row:
    layers, notes = {}, [run.missing for run in group if run.missing]
    if group[0].metrics["labelled"]:
        layers = {probe: _best_layer(probe, group) for probe in ("linear", "knn")}
        layers["last"] = group[0].metrics["linear"]["last"]
        budgets = group[0].metrics["budgets"].items()
        notes += [f"{budget}: {found['reason']}" for budget, found in budgets if found.get("reason")]
    free = [run.metrics["labelfree"] for run in group]
    measures = [key for key, value in free[0].items() if isinstance(value, float | int)]
    return Row(
        name=name,
        control=group[0].control,
        seeds=tuple(run.seed for run in group),
        layers=layers,
        labelfree={key: float(np.mean([found[key] for found in free])) for key in measures},
        images_seen=max(run.images_seen for run in group),
        seconds=float(np.mean([run.seconds for run in group])),
        images_per_second=float(np.mean([run.images_per_second for run in group])),
        peak_memory_mib=max(run.peak_memory_mib for run in group),
        parameters=group[0].parameters,
        notes=tuple(notes),
    )


def _best_layer(probe: str, group: Sequence[Run]) -> str:
    """The stage with the highest validation accuracy, mean over seeds: one per row, so that seeds are alike."""
    stages: list[str] = list(group[0].metrics[probe]["layers"])
    return max(stages, key=lambda stage: float(np.mean([run.metrics[probe]["layers"][stage]["val"] for run in group])))


def _verdict(
    groups: Mapping[str, list[Run]], keys: Mapping[str, str], params: Compare, generator: np.random.Generator
) -> Verdict | None:
    """Judge the rows that have these predictions; None if no row has."""
    correct = {}
    for name, group in groups.items():
        hits = [_hits(run, keys[name]) for run in group if keys[name] in run.predictions]
        if hits:
            correct[name] = np.stack(hits)  # (S, R, n)
    redraws = {name: table.shape[1] for name, table in correct.items()}
    if len(set(redraws.values())) > 1:
        raise UserError(f"The runs were evaluated with different `evaluate.redraws`: {redraws}. Evaluate them alike.")
    if not correct:
        return None
    judgement = judge(list(correct.values()), params.confidence, params.resamples, generator)
    examples = {name: table.mean((0, 1)) for name, table in correct.items()}
    return Verdict(tuple(correct), judgement, examples)


def _hits(run: Run, key: str) -> Floats:
    """(R, n): 1 where the prediction is the label."""
    return np.atleast_2d(run.predictions[key] == run.predictions["label"]).astype(np.float64)
