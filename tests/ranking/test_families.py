"""The pairs that a comparison asks about, their correction, and the letters of all pairs."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from pretextbench.ranking.families import Family, asked, corrected, every_pair, holm, letters


def row(name, kind="method", seeds=3, method=None, from_scratch=False):
    facts = {"method": method or name, "from_scratch": from_scratch, "control": kind != "method"}
    return SimpleNamespace(name=name, kind=kind, seeds=tuple(range(seeds)), **facts)


ROWS = [row("simclr"), row("plain", method="simclr", from_scratch=True), row("rotation")]
ROWS += [row("random", "control"), row("supervised", "control")]


def test_holm_by_hand():
    # Holm 1979: 0.01 * 3, max(0.04 * 1, 0.03 * 2), ...
    left = np.array([3.0, 2.0, 1.0])
    assert holm(np.array([0.01, 0.04, 0.03]), left) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.5, 0.9, 0.8]), left) == pytest.approx([1, 1, 1])


def test_the_pairs_that_are_asked():
    pairs = [family.pairs for family in asked(ROWS, "rotation")]
    assert pairs == [((2, 0), (2, 1)), ((0, 3), (1, 3), (2, 3)), ((0, 4), (1, 4), (2, 4)), ((0, 1),)]
    assert asked(ROWS[3:], None) == ()
    assert [family.pairs for family in asked(ROWS[2:4], "rotation")] == [((0, 1),)]


def test_a_leader_that_was_lucky_with_its_seeds_is_charged_for_all_pairs():
    """Of five equal methods the luckiest is compared with the unluckiest: the largest of ten differences."""
    methods = [row(name) for name in "abcde"]
    (several,), (single,) = asked(methods, "c"), asked([row(name, seeds=1) for name in "abcde"], "c")
    assert several.charges.tolist() == [10, 6, 3, 1]
    assert single.charges.tolist() == [4, 3, 2, 1]


def test_p_values_are_corrected_within_their_family_and_missing_where_nothing_is_asked():
    p = np.full((4, 4), 0.01)
    two = Family(((0, 1), (0, 2))), Family(((1, 2), (0, 1), (0, 2)))
    results = corrected(p, two)
    assert results[0, 1] == results[1, 0] == pytest.approx(0.03), "in two families: the larger"
    assert corrected(p, two[:1])[0, 1] == pytest.approx(0.02)
    assert np.isnan(results[0, 3])
    assert np.isnan(results[1, 3])
    assert (np.diag(results) == 1).all()
    every = corrected(p, every_pair(4))
    assert every[np.triu_indices(4, 1)] == pytest.approx(np.full(6, 0.06))
    assert every_pair(1) == ()


def test_two_rows_share_a_letter_exactly_when_they_cannot_be_told_apart():
    for seed in range(200):
        generator = np.random.default_rng(seed)
        size = int(generator.integers(1, 8))
        different = np.triu(generator.random((size, size)) < 0.5, 1)
        different |= different.T
        results = letters(different)
        assert all(results), "every row has a letter"
        for i, j in itertools.combinations(range(size), 2):
            assert bool(set(results[i]) & set(results[j])) != different[i, j]
        members = [{row for row in range(size) if letter in results[row]} for letter in sorted(set("".join(results)))]
        assert not any(a <= b for a, b in itertools.permutations(members, 2)), "a letter that says nothing new"


def test_letters_start_at_the_best_row():
    different = np.zeros((3, 3), bool)
    different[0, 2] = different[2, 0] = True
    assert letters(different) == ["a", "ab", "b"]
