"""The order of the methods at several budgets of pretraining: where one overtakes another, by the test images.

At each budget the layers are chosen on validation, and all pairs of methods are tested. The level of a test is divided
by the number of budgets, because a pair is looked at once at each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from pretextbench.base.seed import Seed
from pretextbench.params import Compare
from pretextbench.ranking.curves import FEWEST, kendall
from pretextbench.ranking.families import every_pair
from pretextbench.ranking.pick import pick
from pretextbench.ranking.protocols import LINEAR, groups_of, protocols, right
from pretextbench.ranking.rows import row_of
from pretextbench.ranking.runs import Run, by_name, check_same_test
from pretextbench.ranking.verdict import Verdict, verdict_of


@dataclass(frozen=True)
class Order:
    """The methods at one budget."""

    images: int  # seen, as asked for
    verdict: Verdict  # of the linear probe, on all pairs of methods
    picked: str  # by validation


@dataclass(frozen=True)
class Reversal:
    """Two methods that change places between two budgets, and differ at both by more than the error."""

    first: str  # better at the smaller budget
    second: str  # better at the larger one
    small: int  # images seen
    large: int


@dataclass(frozen=True)
class BudgetOrders:
    """What the orders at several budgets say together; nothing where there is one budget."""

    orders: tuple[Order, ...] = ()  # by budget, ascending
    reversals: tuple[Reversal, ...] = ()
    kept: int = 0  # pairs that differ at two budgets or more, always in one direction
    pairs: int = 0
    taus: tuple[float, ...] = ()  # Kendall's tau-b between the orders at neighbouring budgets


def budget_orders(runs: Mapping[int, Sequence[Run]], params: Compare) -> BudgetOrders:
    """The orders at each budget.

    Args:
        runs: budget in images -> the runs of the methods there, all seeds.
        params: level of the tests, resamples and their seed.

    Raises:
        UserError: the runs were not evaluated on the same test images.
    """
    orders = [order for images in sorted(runs) if (order := _order(images, runs[images], params))]
    if len(orders) < 2:
        return BudgetOrders()
    check_same_test([run for group in runs.values() for run in group])
    names = [name for name in orders[0].verdict.names if all(name in order.verdict.names for order in orders)]
    level, pairs = (1 - params.confidence) / len(orders), list(combinations(names, 2))
    reversals, kept = [], 0
    for pair in pairs:
        signs = {order.images: _sign(order.verdict, *pair, level) for order in orders}
        changes = list(_changes(*pair, signs))
        reversals += changes
        kept += not changes and sum(sign != 0 for sign in signs.values()) > 1
    taus = [_tau(a.verdict, b.verdict, names) for a, b in pairwise(orders)] if len(names) >= FEWEST else []
    return BudgetOrders(tuple(orders), tuple(reversals), kept, len(pairs), tuple(taus))


def _order(images: int, runs: Sequence[Run], params: Compare) -> Order | None:
    """The methods at one budget; None without predictions of one."""
    groups = by_name(runs)
    if not runs[0].metrics["labelled"]:
        return None
    rows = {name: row_of(name, group) for name, group in groups.items()}
    keys = protocols(runs[0].metrics, {name: row.layers for name, row in rows.items()})[LINEAR]
    tables = right(groups, keys)
    data = runs[0].metrics["data"]
    picked = pick([rows[name] for name in tables], data.get("val_labelled", data["val"]))
    if picked is None:
        return None
    draws = Seed(params.seed).numpy("compare", "budget", str(images))
    verdict = verdict_of(tables, every_pair(len(tables)), params, draws, groups_of(runs, LINEAR))
    return Order(images, verdict, picked.name)


def _sign(verdict: Verdict, first: str, second: str, level: float) -> int:
    """1 where the first method is above the second, -1 where it is below, 0 within the error."""
    if verdict.p(first, second) >= level:
        return 0
    return 1 if (verdict.accuracy(first) or 0.0) > (verdict.accuracy(second) or 0.0) else -1


def _changes(first: str, second: str, signs: Mapping[int, int]) -> Iterator[Reversal]:
    """The neighbouring budgets, of those where the two differ, between which they change places."""
    distinct = [(images, sign) for images, sign in signs.items() if sign]
    for (small, before), (large, after) in pairwise(distinct):
        if before != after:
            up, down = (first, second) if before > 0 else (second, first)
            yield Reversal(up, down, small, large)


def _tau(before: Verdict, after: Verdict, names: Sequence[str]) -> float:
    return kendall(*([verdict.accuracy(name) or 0.0 for name in names] for verdict in (before, after)))
