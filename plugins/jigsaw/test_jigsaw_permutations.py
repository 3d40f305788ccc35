"""The permutations of the jigsaw: far apart, the same in every run, and the right way round."""

import itertools

import numpy as np
import pytest
import torch
from pretext_jigsaw import Jigsaw, Params, permutation_set
from torch import Tensor

from pretextbench.base.section import parse
from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.method import Data
from pretextbench.params import EncoderParams

torch.set_num_threads(1)  # the networks here are too small to share


def method(**params: object) -> Jigsaw:
    torch.manual_seed(0)
    facts = Data(32, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), images=100)
    return Jigsaw(Params(**params), build(EncoderParams(width=8), 32, facts.mean, facts.std), facts)


def noise(n: int) -> Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("count", "least", "mean"), [(10, 8, 8.80), (30, 7, 8.03), (100, 6, 8.03)])
def test_distances_of_the_set_by_brute_force(count: int, least: int, mean: float) -> None:
    """The least distance is what the greedy choice reaches elsewhere; the mean does not fall below it by 0.05."""
    result = permutation_set(9, count)
    pairs = [sum(x != y for x, y in zip(a, b, strict=True)) for a, b in itertools.combinations(result.tolist(), 2)]
    assert min(pairs) == least
    assert np.mean(pairs) > mean - 0.05


@pytest.mark.parametrize(("tiles", "count"), [(9, 100), (4, 24), (4, 2)])
def test_the_set_holds_distinct_permutations(tiles: int, count: int) -> None:
    result = permutation_set(tiles, count)
    assert result.shape == (count, tiles)
    assert (np.sort(result, 1) == np.arange(tiles)).all()
    assert len({tuple(row) for row in result.tolist()}) == count


def test_the_set_is_the_same_in_every_run_and_grows_from_its_beginning() -> None:
    permutation_set.cache_clear()
    first = permutation_set(9, 10).copy()
    permutation_set.cache_clear()
    np.random.seed(7)
    assert (permutation_set(9, 10) == first).all()
    assert torch.equal(method().permutations, method().permutations)


def test_more_permutations_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="a grid of 2 has 24 permutations, found permutations: 30"):
        parse(Params, {"grid": 2}, "test")
    assert method(grid=2, permutations=24).permutations.shape == (24, 4)


def test_a_permutation_and_its_inverse_give_the_tiles_back_bitwise() -> None:
    """Position j of the puzzle shows tile permutations[l, j]: the map itself, not its inverse."""
    jigsaw, tiles = method(), torch.rand(5, 9, 3, 8, 8)
    labels = torch.arange(30).expand(5, -1)
    puzzles = jigsaw.arrange(tiles, labels)  # (5, 30, 9, ...)
    for label in range(30):
        order = jigsaw.permutations[label]
        assert torch.equal(puzzles[:, label], tiles[:, order])
        assert torch.equal(puzzles[:, label][:, order.argsort()], tiles)


def test_labels_are_uniform() -> None:
    """Chi square of 30,000 draws in 30 classes: 29 degrees of freedom, below 70 but once in 30,000 times."""
    jigsaw = method(puzzles=60)
    jigsaw.logits = lambda tiles, labels: torch.zeros(*labels.shape, 30)  # type: ignore[method-assign]
    _, labels, _ = jigsaw.puzzles(noise(500))
    counts = torch.bincount(labels.flatten(), minlength=30).double()
    assert float(((counts - 1000).square() / 1000).sum()) < 70
