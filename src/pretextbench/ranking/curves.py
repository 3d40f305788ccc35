"""Learning curves of the rows: whether their order is settled, where they cross, and what equal work would change.

Accuracies are those of k-NN on validation at each row's k-NN layer, so that test plays no part. Two rows are distinct
at a moment where their difference is larger than its error: binomial, with the spread over seeds where there are
several, at the level of the comparison divided by the number of pairs and of moments that decide: the last two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from scipy import special

from pretextbench.ranking.rows import Row
from pretextbench.ranking.runs import Run

State = Literal["settled", "moving", "short"]
FEWEST = 3  # methods that have an order: of two, Kendall's tau is 1 or -1
Kind = Literal["images", "work"]


@dataclass(frozen=True)
class Curve:
    """One row, mean over seeds, from the first snapshot to the end."""

    name: str
    method: bool  # and no control
    images: tuple[float, ...]  # seen
    work: tuple[float, ...]  # multiply-adds of the forward passes so far
    accuracy: tuple[float, ...]  # fractions
    error: tuple[float, ...]  # standard errors

    def at(self, kind: Kind, amount: float) -> tuple[float, float] | None:
        """Accuracy and error at so many images or multiply-adds; None before the first snapshot or after the end.

        Between two points the accuracy is linear in the logarithm of the amount.
        """
        places = np.log(self.images if kind == "images" else self.work)
        if not places[0] - 1e-9 <= math.log(amount) <= places[-1] + 1e-9:
            return None
        accuracy, error = (float(np.interp(math.log(amount), places, y)) for y in (self.accuracy, self.error))
        return accuracy, error


Pair = tuple[Curve, Curve]


@dataclass(frozen=True)
class Turn:
    """Two rows of which the second is overtaken by the first."""

    first: str
    second: str
    images: float  # seen by the first where the curves cross
    work: float  # multiply-adds of the first there
    accuracy: float
    late: bool  # after the last snapshot


@dataclass(frozen=True)
class Flip:
    """Two methods whose order at equal images is another one than at equal work."""

    images: str  # better at equal images
    work: str  # better at equal work
    seen: float  # images at which they were compared
    spent: float  # multiply-adds


@dataclass(frozen=True)
class Curves:
    """All learning curves of a comparison, and what they say about the order of its methods."""

    rows: tuple[Curve, ...] = ()
    votes: int = 0  # validation images that are classified
    state: State = "short"
    turns: tuple[Turn, ...] = ()  # crossings of two methods, both distinct on either side
    closing: tuple[
        tuple[str, str], ...
    ] = ()  # at the pace of the last part the first overtakes the second within twice
    distinct: int = 0  # pairs of methods that are distinct at the end
    pairs: int = 0
    taus: tuple[tuple[float, float], ...] = ()  # share of the budget, Kendall's tau with the order at the end
    flips: tuple[Flip, ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()  # pairs of which one has no snapshot where the other's work ends

    @property
    def methods(self) -> tuple[Curve, ...]:
        """The curves of methods."""
        return tuple(curve for curve in self.rows if curve.method)


def curve_of(row: Row, group: Sequence[Run]) -> Curve | None:
    """The curve of a row; None where nothing was trained, no snapshot was kept, or its seeds have other moments."""
    parts = [run.metrics.get("curve") for run in group]
    if not all(parts) or not row.layers or len({tuple(part["seen"]) for part in parts if part}) > 1:
        return None
    seeds = np.array([part["layers"][row.layers["knn"]] for part in parts if part])  # (S, moments)
    mean, first = seeds.mean(0), parts[0] or {}
    if "error" in first:  # of a measure that is no accuracy
        variance = np.square(first["error"][row.layers["knn"]])
    else:
        likely = (mean * first["images"] + 1) / (first["images"] + 2)  # so that 100 % of few images has an error
        variance = likely * (1 - likely) / first["images"]
    if len(seeds) > 1:
        variance = variance + seeds.var(0, ddof=1) / len(seeds)
    images = tuple(float(seen) for seen in first["seen"])
    work = tuple(seen * row.training_multiply_adds for seen in images)
    return Curve(row.name, not row.control, images, work, tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def curves_of(rows: Sequence[Row], groups: Mapping[str, Sequence[Run]], confidence: float) -> Curves:
    """What the curves of all rows say about the order of the methods."""
    made = [curve for row in rows if (curve := curve_of(row, groups[row.name]))]
    if not made:
        return Curves()
    methods = [curve for curve in made if curve.method]
    votes = next(run.metrics["curve"]["images"] for run in groups[made[0].name])
    pairs = list(combinations(methods, 2))
    reach = reach_of(confidence, len(pairs))
    alike = len({len(curve.images) for curve in methods}) == 1
    made_of = Curves(tuple(made), votes, pairs=len(pairs))
    if alike:
        made_of = replace(_order(made_of, pairs, reach), taus=_taus(methods))
    return _equal_work(made_of, pairs, reach)


def reach_of(confidence: float, pairs: int) -> float:
    """Standard errors by which two of so many pairs of rows have to differ, at either of two moments."""
    return float(special.ndtri(1 - (1 - confidence) / 2 / (2 * max(1, pairs))))


def _order(whole: Curves, pairs: Sequence[Pair], reach: float) -> Curves:
    """With the state of the order at the end, from the last snapshot before it, and all crossings."""
    turns = [turn for pair in pairs for turn in _turns(*pair, reach)]
    closing = [names for pair in pairs if (names := _closing(*pair, reach))]
    distinct = sum(_signs(*pair, reach)[-1] != 0 for pair in pairs)
    moving = closing or any(turn.late for turn in turns)
    state: State = "moving" if moving else "settled" if distinct else "short"
    return replace(whole, state=state, turns=tuple(turns), closing=tuple(closing), distinct=distinct)


def _gap(a: Curve, b: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Differences of two curves at every moment, and their standard errors."""
    return np.subtract(a.accuracy, b.accuracy), np.hypot(a.error, b.error)


def _signs(a: Curve, b: Curve, reach: float) -> list[int]:
    """At every moment 1 where the first is above, -1 where it is below, 0 within the error."""
    gap, error = _gap(a, b)
    return [int(np.sign(g)) if abs(g) > reach * e else 0 for g, e in zip(gap, error, strict=True)]


def _turns(a: Curve, b: Curve, reach: float) -> list[Turn]:
    """The crossings of two curves: distinct before and after, in other orders."""
    signs, (gap, _) = _signs(a, b, reach), _gap(a, b)
    distinct = [i for i, sign in enumerate(signs) if sign]
    turns = []
    for before, after in pairwise(distinct):
        if signs[before] != -signs[after]:
            continue
        i = next(i for i in range(before, after) if gap[i] * signs[before] > 0 >= gap[i + 1] * signs[before])
        share = gap[i] / (gap[i] - gap[i + 1])
        up, down = (a, b) if signs[after] > 0 else (b, a)
        images, work = (math.exp(np.interp(share, (0, 1), np.log(x[i : i + 2]))) for x in (up.images, up.work))
        level = float(np.interp(share, (0, 1), up.accuracy[i : i + 2]))
        turns.append(Turn(up.name, down.name, images, work, level, late=i == len(gap) - 2))
    return turns


def _closing(a: Curve, b: Curve, reach: float) -> tuple[str, str] | None:
    """The names, if at the pace of the last part the one that was below passes the other within twice the budget.

    The difference is taken as linear in the logarithm of the budget, and its change has to be larger than its error.
    """
    if len(a.images) < 2:
        return None
    signs, (gap, error) = _signs(a, b, reach), _gap(a, b)
    change = gap[-1] - gap[-2]
    pace = math.log(2) / math.log(a.images[-1] / a.images[-2])
    passes = (gap[-1] + change * pace) * gap[-2] < 0
    if not signs[-2] or signs[-1] == -signs[-2] or not passes:  # the second: a crossing already
        return None
    if abs(change) <= reach * math.hypot(error[-1], error[-2]):
        return None
    return (b.name, a.name) if gap[-2] > 0 else (a.name, b.name)


def _taus(methods: Sequence[Curve]) -> tuple[tuple[float, float], ...]:
    """Kendall's tau-b between the order at each snapshot and at the end; 1 the same order, -1 the reverse."""
    if len(methods) < FEWEST:
        return ()
    end = [curve.accuracy[-1] for curve in methods]
    taus = []
    for i, images in enumerate(methods[0].images[:-1]):
        tau = kendall([curve.accuracy[i] for curve in methods], end)
        taus.append((images / methods[0].images[-1], tau))
    return tuple(taus)


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Kendall's tau-b of two rows of accuracies: 1 the same order, -1 the reverse; NaN where all of one are equal."""
    from scipy import stats  # 1 s to import, and a small comparison does not come here

    return float(stats.kendalltau(first, second).statistic)


def _equal_work(whole: Curves, pairs: Sequence[Pair], reach: float) -> Curves:
    """With the pairs whose order at equal images differs from that at equal work, and those that cannot be compared."""
    flips, unknown = [], []
    for a, b in pairs:
        seen, spent = min(a.images[-1], b.images[-1]), min(a.work[-1], b.work[-1])
        if not spent:
            continue
        by_seen, by_spent = _sign_at(a, b, "images", seen, reach), _sign_at(a, b, "work", spent, reach)
        if by_seen is None or by_spent is None:
            unknown.append((a.name, b.name))
        elif by_seen and by_seen == -by_spent:
            by_images, by_work = (a, b) if by_seen > 0 else (b, a)
            flips.append(Flip(by_images.name, by_work.name, seen, spent))
    return replace(whole, flips=tuple(flips), unknown=tuple(unknown))


def _sign_at(a: Curve, b: Curve, kind: Kind, amount: float, reach: float) -> int | None:
    """1, -1 or 0 as in `_signs`, at equal images or work; None where one of the curves does not reach there."""
    places = a.at(kind, amount), b.at(kind, amount)
    if places[0] is None or places[1] is None:
        return None
    gap, error = places[0][0] - places[1][0], math.hypot(places[0][1], places[1][1])
    return int(np.sign(gap)) if abs(gap) > reach * error else 0
