"""A comparison: rows ranked by accuracy, with intervals, paired tests, tie groups and a cost front."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import numpy as np

from pretextbench.base.measure import MEASURES, Measure, measure_of
from pretextbench.base.seed import Seed
from pretextbench.params import Compare
from pretextbench.ranking import families
from pretextbench.ranking.agreement import LABEL_FREE, Agreement, agreement
from pretextbench.ranking.budget_orders import BudgetOrders
from pretextbench.ranking.curves import Curves, curves_of
from pretextbench.ranking.pick import Pick, pick
from pretextbench.ranking.protocols import (
    LINEAR,
    Protocol,
    few_labels,
    fixed_choices,
    groups_of,
    protocols,
    right,
    scratch_keys,
)
from pretextbench.ranking.rows import Row, front, row_of
from pretextbench.ranking.runs import (
    PIXELS,
    RANDOM,
    UNTOUCHED,
    UNTRAINED,
    Run,
    by_name,
    check_budgets,
    check_same_test,
    common_work,
)  # fmt: skip
from pretextbench.ranking.statistics import Indices
from pretextbench.ranking.verdict import Verdict, among, verdict_of
from pretextbench.tune.summary import Summary

FROM_SCRATCH = "from scratch"  # name of its line in the columns for few labels


@dataclass(frozen=True)
class Comparison:
    """The answer: rows best first on test, the method that validation picked, and how sure the order is.

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
    fixed: Mapping[Protocol, str] = field(default_factory=dict)  # budgets too small to choose by: what was taken
    scratch: Mapping[Protocol, Verdict] = field(default_factory=dict)  # budget -> the network trained on it alone
    unequal: bool = False  # budgets of pretraining differ, and the user knows
    work: float | None = None  # multiply-adds that every training was given, where the budget is in them
    front: tuple[str, ...] = ()  # rows that need no labels and that none beats in both seconds and accuracy
    work_front: tuple[str, ...] = ()  # the same for the multiply-adds of the training
    agreements: tuple[Agreement, ...] = ()  # of the label-free measures with the linear probe
    chance: float | None = None  # main measure of an answer that looks at no image; None without labels
    measure: Measure = MEASURES["class"]  # by which rows are ranked
    task: Mapping[str, Any] = field(default_factory=dict)  # of labels that are no classes: `name`, `names`, `notes`
    groups: int | None = None  # groups of test images that are drawn together; None where images are
    curves: Curves = field(default_factory=Curves)  # along the trainings, on validation
    orders: BudgetOrders = field(default_factory=BudgetOrders)  # at several budgets; empty where there is one
    tuning: Mapping[str, Summary] = field(default_factory=dict)  # method -> its tuning; empty where that is off
    pick: Pick | None = None  # on validation; None without labels, or where no method has predictions

    @property
    def one_seed(self) -> bool:
        """Whether every row has one seed, so that the answer is about these encoders and not about the methods."""
        return max(len(row.seeds) for row in self.rows) == 1

    def subject(self, name: str) -> str:
        """The subject of a sentence about a row's accuracy: the method, or with one seed its encoder."""
        is_method = any(row.name == name and not row.control for row in self.rows)
        return f"{name}'s encoder" if self.one_seed and is_method else name

    @property
    def leader(self) -> Row | None:
        """The method that validation picked, and that test judges; None where nothing could be picked."""
        return next((row for row in self.rows if self.pick and row.name == self.pick.name), None)

    @property
    def contenders(self) -> list[Row]:
        """The methods that have predictions: the leader, then the others, best first on test."""
        names = self.verdicts[LINEAR].names if LINEAR in self.verdicts else ()
        methods = [row for row in self.rows if not row.control and row.name in names]
        return sorted(methods, key=lambda row: row is not self.leader)

    @property
    def tied(self) -> list[Row]:
        """The leader, and the methods that the test cannot distinguish from it."""
        return [row for row in self.contenders if row is self.leader or not self._apart(row)]

    @property
    def better(self) -> list[Row]:
        """The methods that test shows to be better than the leader: validation picked the wrong one."""
        return [row for row in self.contenders if row is not self.leader and self._apart(row) and self._above(row)]

    @property
    def unmoved(self) -> list[Row]:
        """The rows whose label-free measures are those of the start weights."""
        start = next((row for row in self.rows if row.name == UNTOUCHED), None)
        continued = [row for row in self.rows if start and row.kind == "method" and not row.from_scratch]
        return [row for row in continued if start and row.images_seen and _equal(row.labelfree, start.labelfree)]

    def _apart(self, row: Row) -> bool:
        verdict = self.verdicts[LINEAR]
        return verdict.p(self.contenders[0].name, row.name) < 1 - self.params.confidence

    def _above(self, row: Row) -> bool:
        verdict = self.verdicts[LINEAR]
        return (verdict.accuracy(row.name) or 0.0) > (verdict.accuracy(self.contenders[0].name) or 0.0)

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
    rows, metrics = {name: row_of(name, group) for name, group in groups.items()}, runs[0].metrics
    classes = len(metrics["classes"])
    if not metrics["labelled"]:
        order = sorted(rows.values(), key=lambda row: -row.labelfree["rankme"])
        empty = Comparison(tuple(order), params, metrics["reason"], metrics["data"]["val"], classes)
        return replace(empty, unequal=unequal, work=common_work(groups))
    keys = protocols(metrics, {name: row.layers for name, row in rows.items()})
    tables = {protocol: table for protocol, names in keys.items() if (table := right(groups, names))}
    methods = [row for name, row in rows.items() if not row.control and name in tables.get(LINEAR, {})]
    chosen = pick(methods, metrics["data"].get("val_labelled", metrics["data"]["val"]))
    leader = chosen.name if chosen else None
    verdicts = {
        protocol: among(table, rows, leader, params, Seed(seed).numpy("compare", protocol), groups_of(runs, protocol))
        for protocol, table in tables.items()
    }
    comparison = Comparison(
        _ranked(rows, verdicts),
        params,
        None,
        metrics["data"]["test_labelled"],
        classes,
        verdicts,
        few_labels(metrics),
        fixed_choices(metrics),
        _from_scratch(groups, params, seed),
        unequal,
        common_work(groups),
        chance=_largest_class(runs),
        measure=measure_of(metrics),
        task=metrics.get("task", {}),
        groups=_count(groups_of(runs, LINEAR)),
        pick=chosen,
    )
    curves = curves_of(comparison.rows, groups, params.confidence)
    comparison = replace(comparison, rows=_lettered(comparison), curves=curves)
    seconds, work = (_front(comparison, cost) for cost in (attrgetter("seconds"), attrgetter("total_multiply_adds")))
    return replace(comparison, front=seconds, work_front=work, agreements=_agreements(comparison))


def _count(groups: Indices | None) -> int | None:
    return None if groups is None else len(np.unique(groups))


def _largest_class(runs: Sequence[Run]) -> float | None:
    """The share of the largest class, or what the evaluation says where labels are no classes."""
    if task := runs[0].metrics.get("task"):
        return float(task["chance"])
    labels = next((run.predictions["label"] for run in runs if len(run.predictions.get("label", ()))), None)
    return None if labels is None else float(np.unique(labels, return_counts=True)[1].max() / len(labels))


def _equal(first: Mapping[str, float], second: Mapping[str, float]) -> bool:
    return first.keys() == second.keys() and np.allclose(list(first.values()), list(second.values()), rtol=1e-6)


def _ranked(rows: Mapping[str, Row], verdicts: Mapping[Protocol, Verdict]) -> tuple[Row, ...]:
    """Best first on test; rows without predictions last."""
    linear = verdicts.get(LINEAR)
    if linear is None:
        return tuple(rows.values())
    judged = sorted((*linear.names, *linear.references), key=lambda name: -(linear.accuracy(name) or 0.0))
    return (*map(rows.__getitem__, judged), *(row for name, row in rows.items() if linear.accuracy(name) is None))


def _lettered(comparison: Comparison) -> tuple[Row, ...]:
    """The rows with tie letters: of all pairs, or `a` for the leader and the methods that cannot be distinguished."""
    verdict = comparison.verdicts.get(LINEAR)
    if verdict is None:
        return comparison.rows
    if comparison.params.pairs == "all":
        names = [row.name for row in comparison.rows if row.name in verdict.names]
        order = [verdict.names.index(name) for name in names]
        shared = dict(zip(names, families.letters(verdict.judgement.different[np.ix_(order, order)]), strict=True))
    else:
        shared = {row.name: "a" for row in comparison.tied}
    return tuple(replace(row, letters=shared.get(row.name, "")) for row in comparison.rows)


def _from_scratch(groups: Mapping[str, list[Run]], params: Compare, seed: int) -> dict[Protocol, Verdict]:
    """The untrained network, trained on the labels of each budget alone: judged by itself, in no test of methods."""
    runs, verdicts = groups.get(RANDOM, []), {}
    for protocol, key in (scratch_keys(runs[0].metrics) if runs else {}).items():
        if table := right({FROM_SCRATCH: runs}, {FROM_SCRATCH: [key]}):
            generator = Seed(seed).numpy("compare", key)
            verdicts[protocol] = verdict_of(table, (), params, generator, groups_of(runs, protocol))
    return verdicts


def _front(comparison: Comparison, cost: Callable[[Row], float]) -> tuple[str, ...]:
    free = [row for row in comparison.rows if not row.control or row.name in UNTRAINED]
    points = {row.name: (cost(row), comparison.cell(LINEAR, row.name)) for row in free}
    return tuple(front({name: (c, worth) for name, (c, worth) in points.items() if worth is not None}))


def _agreements(comparison: Comparison) -> tuple[Agreement, ...]:
    # agreement is one within an encoder
    same = [row for row in comparison.rows if row.kind != "reference" and row.name != PIXELS]
    judged = [row for row in same if comparison.cell(LINEAR, row.name) is not None]
    worth = [comparison.cell(LINEAR, row.name) or 0.0 for row in judged]
    measures = [name for name in LABEL_FREE if all(name in row.labelfree for row in judged)]
    confidence = comparison.params.confidence
    agreements = (agreement(name, [row.labelfree[name] for row in judged], worth, confidence) for name in measures)
    return tuple(item for item in agreements if item is not None)
