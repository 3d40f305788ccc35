"""The verdict of one protocol: accuracies, intervals, and the p values of the pairs that were asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pretextbench.params import Compare
from pretextbench.ranking import families
from pretextbench.ranking.families import Family
from pretextbench.ranking.rows import Row
from pretextbench.ranking.statistics import Indices, Judgement, grouped, judge

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """The methods and controls that have predictions under one protocol, judged against each other.

    A reference has another encoder. It is in no test of methods, so it is judged by itself.
    """

    names: tuple[str, ...]
    judgement: Judgement
    examples: Mapping[str, Floats]  # name -> (n,) share of seeds and redraws that get each test image right
    by_seed: Mapping[str, Floats]  # name -> (S,) test accuracies
    families: tuple[Family, ...] = ()  # the pairs that were asked for, as indices of `names`
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

    def asked(self, first: str, second: str) -> bool:
        """Whether the pair is in a family, so that it has a p value."""
        return first in self.names and second in self.names and self.charge(first, second) > 0

    def p(self, first: str, second: str) -> float:
        """Two-sided p of the paired difference, corrected within the family of the pair.

        Raises:
            LookupError: the pair was not asked for (`compare.pairs`), so that nothing may be said of it.
        """
        if not self.asked(first, second):
            raise LookupError(f"{first} and {second} were not tested against each other; `asked` answers that first")
        return float(self.judgement.corrected[self.names.index(first), self.names.index(second)])

    def charge(self, first: str, second: str) -> int:
        """Comparisons by which the correction multiplies the smallest p of the pair's family; 0 for no pair."""
        pair = {self.names.index(first), self.names.index(second)}
        return max((int(family.charges[0]) for family in self.families if pair in map(set, family.pairs)), default=0)

    def open_charge(self, first: str, second: str) -> int:
        """The same where the other pairs of the family that differ were tested before, as the correction does."""
        pair, different = {self.names.index(first), self.names.index(second)}, self.judgement.different
        charges = [
            family.charges[sum(bool(different[other]) for other in family.pairs if set(other) != pair)]
            for family in self.families
            if pair in map(set, family.pairs)
        ]
        return int(max(charges, default=0))


def verdict_of(
    correct: Mapping[str, Floats],
    asked: Sequence[Family],
    params: Compare,
    generator: np.random.Generator,
    groups: Indices | None = None,
) -> Verdict:
    """The rows in `correct` (name -> (S seeds, R redraws, n images)) judged against each other.

    With `groups` (n,) images of a group are drawn together, and an example is a group.
    """
    tables = list(correct.values())
    judgement = judge(tables, params.confidence, params.resamples, generator, asked, groups)
    drawn = tables if groups is None else grouped(tables, groups)
    examples = {name: table.mean((0, 1)) for name, table in zip(correct, drawn, strict=True)}
    by_seed = {name: table.mean((1, 2)) for name, table in correct.items()}
    return Verdict(tuple(correct), judgement, examples, by_seed, tuple(asked))


def among(
    correct: Mapping[str, Floats],
    rows: Mapping[str, Row],
    leader: str | None,
    params: Compare,
    generator: np.random.Generator,
    groups: Indices | None,
) -> Verdict:
    """The rows of one encoder against each other, and each reference by itself."""
    own = {name: table for name, table in correct.items() if rows[name].kind != "reference"} or dict(correct)
    judged = [rows[name] for name in own]
    asked = families.every_pair(len(own)) if params.pairs == "all" else families.asked(judged, leader)
    verdict = verdict_of(own, asked, params, generator, groups)
    alone = {
        name: verdict_of({name: table}, (), params, generator, groups)
        for name, table in correct.items()
        if name not in own
    }
    return replace(verdict, references=alone)
