"""The questions of a comparison: the pairs of rows that answer each, p values corrected within it, and tie letters."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pretextbench.ranking.rows import Row, twins

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Family:
    """Pairs of rows, by their index, whose p values are corrected together: false alarms are counted per family."""

    pairs: Pairs
    selected: bool = False  # the first of each pair is the luckiest of all, so that it stands for any pair of them

    @property
    def charges(self) -> Floats:
        """Comparisons by which the smallest p is multiplied, then the next (Holm 1979).

        The leader is picked on validation. With several seeds that is no fresh draw: seeds that were lucky there are
        lucky on test. Of k + 1 equal methods it is then compared as the largest is, so that all (k + 1) k / 2 pairs
        count, and those of the rows that are left at the later steps.
        """
        left = np.arange(len(self.pairs), 0, -1, dtype=np.float64)
        return left * (left + 1) / 2 if self.selected else left


def every_pair(count: int) -> tuple[Family, ...]:
    """One family of all pairs of `count` rows."""
    return (Family(tuple(combinations(range(count), 2))),) if count > 1 else ()


def asked(rows: Sequence[Row], leader: str | None) -> tuple[Family, ...]:
    """The leader against every other method; every method against each control; rows against twins from scratch."""
    place = {row.name: i for i, row in enumerate(rows)}
    methods = [row for row in rows if not row.control]
    groups = [[(place[row.name], place[control.name]) for row in methods] for control in rows if control.control]
    groups.append([(place[row.name], place[other.name]) for row, other in twins(rows)])
    families = [Family(tuple(pairs)) for pairs in groups if pairs]
    if leader in place and len(methods) > 1:
        several = max(len(row.seeds) for row in methods) > 1
        pairs = tuple((place[leader], place[row.name]) for row in methods if row.name != leader)
        families.insert(0, Family(pairs, selected=several))
    return tuple(families)


def corrected(p: Floats, families: Sequence[Family]) -> Floats:
    """(M, M) p values after correction within their families; nan for pairs in none, the larger where one is in two."""
    result = np.full_like(p, np.nan)
    np.fill_diagonal(result, 1.0)
    for family in families:
        i, j = np.array(family.pairs).T
        values = np.fmax(holm(p[i, j], family.charges), result[i, j])
        result[i, j] = result[j, i] = values
    return result


def holm(p: Floats, charges: Floats) -> Floats:
    """(k,) p values times the charge of their step, rising (Holm 1979): three lines here instead of a dependency."""
    order = np.argsort(p, kind="stable")
    rising = np.minimum(1.0, np.maximum.accumulate(p[order] * charges))
    return np.asarray(rising[np.argsort(order, kind="stable")])


def letters(different: Bools) -> list[str]:
    """Compact letters: two of the M rows share a letter exactly when they do not differ significantly (Piepho 2004)."""
    groups = [frozenset(range(len(different)))]
    for i, j in zip(*np.triu_indices(len(different), 1), strict=True):
        if different[i, j]:
            split = [g - {k} for g in groups if {i, j} <= g for k in (i, j)]
            groups = [g for g in groups if not {i, j} <= g] + split
            groups = [
                g for k, g in enumerate(groups) if not any(g < h or (g == h and k > m) for m, h in enumerate(groups))
            ]
    groups.sort(key=sorted)
    return ["".join(_letter(k) for k, group in enumerate(groups) if row in group) for row in range(len(different))]


def _letter(k: int) -> str:
    return chr(ord("a") + k % 26) + (str(k // 26) if k >= 26 else "")
