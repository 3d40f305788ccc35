"""A comparison: rows ranked by accuracy, with intervals, paired tests, tie groups and a cost front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pretextbench.base.seed import Seed
from pretextbench.compare.protocols import (
    LABEL_FREE,
    LINEAR,
    Agreement,
    Protocol,
    agreement,
    best_layers,
    few_labels,
    protocols,
    right,
)
from pretextbench.compare.runs import RANDOM, UNTOUCHED, Kind, Run, by_name, check_budgets, check_same_test
from pretextbench.compare.statistics import Judgement, judge, letters
from pretextbench.params import Compare


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names on the Pareto front of (cost, accuracy), cheapest first: nothing is at most as dear and more accurate.

    Of equals, all are on it.
    """

    def beaten(name: str) -> bool:
        cost, worth = points[name]
        return any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points.values())

    return sorted((name for name in points if not beaten(name)), key=lambda name: points[name])


Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The methods and controls that have predictions under one protocol, judged against each other.

    A reference has another encoder. It is in no test of methods, so it is judged by itself.
    """

    names: tuple[str, ...]
    judgement: Judgement
    examples: Mapping[str, Floats]  # name -> (n,) share of seeds and redraws that get each test image right
    references: Mapping[str, "Verdict"] = field(default_factory=dict)  # name -> the verdict on it alone

    def accuracy(self, name: str) -> float | None:
        """Test accuracy of a row, a fraction; None where it has no predictions."""
        if name in self.references:
            return self.references[name].accuracy(name)
        return float(self.judgement.accuracy[self.names.index(name)]) if name in self.names else None

    def interval(self, name: str) -> tuple[float, float] | None:
        """The ends of its interval; None where it has no predictions."""
        if name in self.references:
            return self.references[name].interval(name)
        if name not in self.names:
            return None
        i = self.names.index(name)
        return float(self.judgement.low[i]), float(self.judgement.high[i])

    def p(self, first: str, second: str) -> float:
        """Two-sided p of the paired difference, corrected over all pairs of this protocol."""
        return float(self.judgement.corrected[self.names.index(first), self.names.index(second)])


@dataclass(frozen=True)
class Row:
    """One method, control or reference, over its seeds."""

    name: str
    kind: Kind
    seeds: tuple[int, ...]
    layers: Mapping[str, str]  # "linear", "knn", "transfer" -> stage chosen on validation over all seeds; "last"
    labelfree: Mapping[str, float]
    images_seen: int
    seconds: float  # mean over seeds, as the next
    images_per_second: float
    peak_memory_mib: float  # largest over seeds
    parameters: int
    views: int  # of an image, that a training step sees
    multiply_adds: int  # of one image through the encoder
    training_multiply_adds: int  # of one image in the forward passes of a training step
    notes: tuple[str, ...] = ()  # why a cell is empty
    letters: str = ""  # rows that share one cannot be distinguished; a reference has none
    encoder: str = ""  # architecture of a reference
    method: str = ""  # which the row is a variant of, or has the name of
    from_scratch: bool = False  # trained from random weights

    @property
    def control(self) -> bool:
        """Whether it is no pretext method, so that no sentence on methods is about it."""
        return self.kind != "method"

    @property
    def title(self) -> str:
        """Its name, and what it is where it is no method: `random (control)`."""
        return f"{self.name} ({self.kind})" if self.control else self.name


@dataclass(frozen=True)
class Comparison:
    """The answer: rows best first, and how sure their order is.

    `verdicts` has "linear" (best stage), "last" (linear, last stage), "knn" (best stage), every label budget and, where
    they were run, "corrupted", "transfer" and "finetune <budget>". It is empty where there are no labels to judge by;
    `reason` then says why, and rows are in the order of RankMe.
    """

    rows: tuple[Row, ...]
    params: Compare
    reason: str | None
    images: int  # test images with a label; without labels, validation images
    classes: int
    verdicts: Mapping[Protocol, Verdict] = field(default_factory=dict)
    budgets: Mapping[Protocol, int | None] = field(default_factory=dict)  # labels granted, None if too few
    unequal: bool = False  # budgets of pretraining differ, and the user knows
    front: tuple[str, ...] = ()  # rows that need no labels and that none beats in both seconds and accuracy
    agreements: tuple[Agreement, ...] = ()  # of the label-free measures with the linear probe

    @property
    def one_seed(self) -> bool:
        """Whether every row has one seed, so that the answer is about these encoders and not about the methods."""
        return max(len(row.seeds) for row in self.rows) == 1

    def subject(self, name: str) -> str:
        """The subject of a sentence about a row's accuracy: the method, or with one seed its encoder."""
        is_method = any(row.name == name and not row.control for row in self.rows)
        return f"{name}'s encoder" if self.one_seed and is_method else name

    def cell(self, protocol: Protocol, name: str) -> float | None:
        """An accuracy as a fraction; None is an empty cell."""
        return self.verdicts[protocol].accuracy(name) if protocol in self.verdicts else None


def compare(runs: Sequence[Run], params: Compare, seed: int = 0) -> Comparison:
    """Rank the runs and judge every pair of rows.

    Args:
        runs: every method and control at every seed, in any order.
        params: level of the tests, number of resamples, whether budgets may differ.
        seed: of the resamples.

    Raises:
        UserError: there are no runs, a run is there twice, the runs were not evaluated on the same test images, or
            their budgets differ.
    """
    groups = by_name(runs)
    unequal = check_budgets(groups, params.allow_unequal_budgets)
    check_same_test(runs)
    rows, metrics = {name: _row(name, group) for name, group in groups.items()}, runs[0].metrics
    classes = len(metrics["classes"])
    if not metrics["labelled"]:
        order = sorted(rows.values(), key=lambda row: -row.labelfree["rankme"])
        return Comparison(tuple(order), params, metrics["reason"], metrics["data"]["val"], classes, unequal=unequal)
    verdicts = {}
    for protocol, keys in protocols(metrics, {name: row.layers for name, row in rows.items()}).items():
        if correct := right(groups, keys):
            alone = {name for name, row in rows.items() if row.kind == "reference"}
            verdicts[protocol] = _verdict(correct, alone, params, Seed(seed).numpy("compare", protocol))
    comparison = Comparison(
        _ranked(rows, verdicts),
        params,
        None,
        metrics["data"]["test_labelled"],
        classes,
        verdicts,
        few_labels(metrics),
        unequal,
    )
    return replace(comparison, front=_front(comparison), agreements=_agreements(comparison))


def _ranked(rows: Mapping[str, Row], verdicts: Mapping[Protocol, Verdict]) -> tuple[Row, ...]:
    """Best first, with tie letters; rows without predictions last."""
    linear = verdicts.get(LINEAR)
    if linear is None:
        return tuple(rows.values())
    best_first = np.argsort(-linear.judgement.accuracy, kind="stable")
    shared = letters(linear.judgement.different[np.ix_(best_first, best_first)])
    ranked = [replace(rows[linear.names[i]], letters=group) for i, group in zip(best_first, shared, strict=True)]
    ranked = sorted([*ranked, *map(rows.__getitem__, linear.references)], key=lambda r: -(linear.accuracy(r.name) or 0))
    return (*ranked, *(row for name, row in rows.items() if linear.accuracy(name) is None))


def _front(comparison: Comparison) -> tuple[str, ...]:
    free = [row for row in comparison.rows if not row.control or row.name in (RANDOM, UNTOUCHED)]
    points = {row.name: (row.seconds, comparison.cell(LINEAR, row.name)) for row in free}
    return tuple(front({name: (c, worth) for name, (c, worth) in points.items() if worth is not None}))


def _agreements(comparison: Comparison) -> tuple[Agreement, ...]:
    same = [row for row in comparison.rows if row.kind != "reference"]  # agreement is one within an encoder
    judged = [row for row in same if comparison.cell(LINEAR, row.name) is not None]
    worth = [comparison.cell(LINEAR, row.name) or 0.0 for row in judged]
    measures = [name for name in LABEL_FREE if all(name in row.labelfree for row in judged)]
    confidence = comparison.params.confidence
    agreements = (agreement(name, [row.labelfree[name] for row in judged], worth, confidence) for name in measures)
    return tuple(item for item in agreements if item is not None)


def _row(name: str, group: Sequence[Run]) -> Row:
    notes = [run.missing for run in group if run.missing]
    for kind in ("budgets", "finetune"):
        parts = group[0].metrics.get(kind, {}).items()
        notes += [f"{budget}: {result['reason']}" for budget, result in parts if result.get("reason")]
    for kind in ("robustness", "transfer"):
        if reason := group[0].metrics.get(kind, {}).get("reason"):
            notes.append(f"{kind}: {reason}")
    free = [run.metrics["labelfree"] for run in group]
    measures = [key for key, value in free[0].items() if isinstance(value, float | int)]
    return Row(
        name=name,
        kind=group[0].kind,
        encoder=group[0].encoder if group[0].kind == "reference" else "",
        method=group[0].method,
        from_scratch=group[0].from_scratch,
        seeds=tuple(run.seed for run in group),
        layers=best_layers(group),
        labelfree={key: float(np.mean([measured[key] for measured in free])) for key in measures},
        images_seen=max(run.images_seen for run in group),
        seconds=float(np.mean([run.seconds for run in group])),
        images_per_second=float(np.mean([run.images_per_second for run in group])),
        peak_memory_mib=max(run.peak_memory_mib for run in group),
        parameters=group[0].parameters,
        views=group[0].views,
        multiply_adds=group[0].multiply_adds,
        training_multiply_adds=group[0].training_multiply_adds,
        notes=tuple(notes),
    )


def _verdict(
    correct: Mapping[str, Floats], alone: set[str], params: Compare, generator: np.random.Generator
) -> Verdict:
    """The rows of one encoder against each other, and those in `alone` each by itself."""
    family = {name: table for name, table in correct.items() if name not in alone} or correct
    judgement = judge(list(family.values()), params.confidence, params.resamples, generator)
    examples = {name: table.mean((0, 1)) for name, table in family.items()}
    others = [name for name in correct if name not in family]
    references = {name: _verdict({name: correct[name]}, set(), params, generator) for name in others}
    return Verdict(tuple(family), judgement, examples, references)
