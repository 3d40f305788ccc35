"""Label-free measures against closed forms and loops."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import euclidean_distances
from torch import Tensor

from pretextbench import measures
from pretextbench.measures import alignment, effective_rank, feature_std, uniformity


def points(n: int = 40, d: int = 6) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64)


def unit(z: Tensor) -> np.ndarray:
    array = z.double().numpy()
    return array / np.sqrt((array**2).sum(1, keepdims=True))


@pytest.mark.parametrize("d", [1, 4, 16])
def test_rank_of_an_isotropic_cloud_is_its_dimension(d: int) -> None:
    """Equal singular values; and no more than the number of points when there are fewer of them."""
    assert effective_rank(torch.eye(d).repeat(3, 1)) == pytest.approx(d)
    assert effective_rank(torch.eye(16)[:d]) == pytest.approx(d)
    assert effective_rank(torch.randn(20_000, d)) == pytest.approx(d, rel=0.01)


def test_rank_of_a_line_is_one() -> None:
    direction = torch.randn(8)
    assert effective_rank(torch.randn(50, 1) * direction) == pytest.approx(1, abs=1e-4)
    assert effective_rank(direction.repeat(50, 1)) == pytest.approx(1, abs=1e-4)


def test_rank_of_two_unequal_axes_by_hand() -> None:
    """Singular values 3 and 1: exp(-(3/4) ln(3/4) - (1/4) ln(1/4))."""
    expected = math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert effective_rank(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) == pytest.approx(expected)


def test_rank_is_rankmes_and_not_centred() -> None:
    """The mean counts as a direction, as in RankMe: a far away cloud has a rank near 1."""
    far = points() + 1000
    sigma = np.linalg.svd(far.numpy(), compute_uv=False)
    p = sigma / sigma.sum()
    assert effective_rank(far) == pytest.approx(math.exp(-(p * np.log(p)).sum()))
    assert effective_rank(far) < 1.1 < 4 < effective_rank(far - far.mean(0))


def test_rank_ignores_scale_and_rotation() -> None:
    z = points()
    rotation, _ = torch.linalg.qr(points(6, 6))
    assert effective_rank(100 * z) == pytest.approx(effective_rank(z))
    assert effective_rank(z @ rotation) == pytest.approx(effective_rank(z))


def test_rank_of_nothing_is_one() -> None:
    assert effective_rank(torch.zeros(5, 3)) == 1


def test_std_is_one_when_spread_evenly_and_zero_when_collapsed() -> None:
    assert feature_std(torch.randn(20_000, 32)) == pytest.approx(1, abs=0.01)
    assert feature_std(torch.cat([torch.eye(8), -torch.eye(8)])) == pytest.approx(1)
    assert feature_std(torch.ones(10, 8)) == pytest.approx(0, abs=1e-9)
    assert feature_std(torch.zeros(10, 8)) == 0


def test_std_against_a_loop() -> None:
    z = points()
    expected = np.mean([np.std(column) for column in unit(z).T]) * math.sqrt(6)
    assert feature_std(z) == pytest.approx(expected)
    assert feature_std(z * torch.rand(40, 1)) == pytest.approx(expected)  # of directions, not of lengths


def test_alignment_of_known_pairs() -> None:
    z = points()
    assert alignment(z, z * 3) == pytest.approx(0, abs=1e-12)
    assert alignment(z, -z) == pytest.approx(4)
    assert alignment(torch.eye(4), torch.eye(4).roll(1, 0)) == pytest.approx(2)


def test_alignment_against_a_loop() -> None:
    z1, z2 = points(), points()
    a, b = unit(z1), unit(z2)
    expected = sum(sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) for p, q in zip(a, b, strict=True)) / 40
    assert alignment(z1, z2) == pytest.approx(expected)


@pytest.mark.parametrize("chunk", [7, 2048])
def test_uniformity_against_scikit_learn(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "CHUNK", chunk)
    z = points()
    squared = euclidean_distances(unit(z), squared=True)[np.triu_indices(40, 1)]
    assert uniformity(z) == pytest.approx(math.log(np.exp(-2 * squared).mean()))


def test_uniformity_of_known_clouds() -> None:
    assert uniformity(torch.ones(10, 4)) == pytest.approx(0, abs=1e-9)
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8)  # one pair, distance 2
    assert uniformity(torch.eye(5)) == pytest.approx(-4)  # all pairs at distance sqrt 2
    assert uniformity(torch.randn(1000, 512)) == pytest.approx(-4, abs=0.05)


def test_half_precision_is_measured_in_double() -> None:
    z = points().half()
    for measure in (feature_std, effective_rank, uniformity):
        assert measure(z) == measure(z.double())
