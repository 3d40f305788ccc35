"""Building blocks of methods against known answers."""

from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from pretextbench.errors import UserError
from pretextbench.method import Data
from pretextbench.parts import (
    PairParams,
    Queue,
    Twin,
    collapse,
    cosine_momentum,
    cosine_picture,
    cross_correlation,
    embedding_picture,
    in_float32,
    mlp,
    off_diagonal,
    pair_health,
    queue_size,
    require_images,
    variance_and_covariance,
)


def rows(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_layers_of_a_head() -> None:
    kinds = [type(layer).__name__ for layer in mlp(8, 16, 16, 4, last_norm="plain")]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    head = mlp(8, 16, 4, norm=False)
    assert [type(layer).__name__ for layer in head] == ["Linear", "ReLU", "Linear"]
    assert all(layer.bias is not None for layer in head if isinstance(layer, nn.Linear))
    assert [type(layer).__name__ for layer in mlp(8, 16, 4, norm=False, gelu=True)] == ["Linear", "GELU", "Linear"]


def test_no_layer_has_a_bias_that_a_norm_takes_away() -> None:
    for head in (mlp(8, 16, 4, last_norm="affine"), mlp(8, 16, 16, 4, last_norm="plain")):
        assert all(layer.bias is None for layer in head if isinstance(layer, nn.Linear))
    assert mlp(8, 16, 4)[-1].bias is not None
    assert mlp(8, 16, 4, last_bias=False)[-1].bias is None
    assert mlp(8, 16, 4, last_norm="affine")[-1].weight is not None
    assert mlp(8, 16, 4, last_norm="plain")[-1].weight is None


def test_a_twin_follows_by_the_closed_form() -> None:
    """Of a network that stands still: theta_t = m^t theta_0 + (1 - m^t) theta."""
    network = nn.Linear(3, 2, dtype=torch.float64)
    twin = Twin(network)
    start = network.weight.detach().clone()
    with torch.no_grad():
        network.weight.add_(1)
    for _ in range(5):
        twin.follow(0.9, network)
    expected = 0.9**5 * start + (1 - 0.9**5) * network.weight
    torch.testing.assert_close(twin.copies[0].weight, expected.detach(), rtol=0, atol=1e-12)


def test_a_twin_gets_no_gradient_and_stands_still_at_momentum_one() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    twin, x = Twin(network), torch.randn(4, 3, requires_grad=True)
    assert not twin(x).requires_grad
    assert not any(p.requires_grad for p in twin.parameters())
    before = [p.clone() for p in twin.parameters()]
    with torch.no_grad():
        network[0].weight.add_(1)
    twin.follow(1.0, network)
    assert all(torch.equal(p, q) for p, q in zip(twin.parameters(), before, strict=True))
    twin.follow(0.0, network)
    assert torch.equal(twin.copies[0][0].weight, network[0].weight)


def test_the_norms_of_a_twin_are_its_own() -> None:
    network = nn.BatchNorm1d(2)
    twin = Twin(network)
    twin(torch.randn(8, 2) + 5)
    assert twin.copies[0].running_mean.mean() > 0.3
    assert not network.running_mean.any()
    own = twin.copies[0].running_mean.clone()
    twin.follow(0.5, network)
    assert torch.equal(twin.copies[0].running_mean, own)


def test_the_schedule_of_the_momentum() -> None:
    assert cosine_momentum(0.99, 0.0) == pytest.approx(0.99)
    assert cosine_momentum(0.99, 0.5) == pytest.approx(0.995)
    assert cosine_momentum(0.99, 1.0) == 1.0


@pytest.mark.parametrize("size", [4, 7, 12])
def test_a_queue_is_first_in_first_out(size: int) -> None:
    """Against a deque, around the end and with a last batch that is smaller."""
    queue, expected = Queue(size, 2), deque(maxlen=size)
    start = queue.rows.clone()
    torch.testing.assert_close(start.norm(dim=1), torch.ones(size))
    expected.extend(start.tolist())
    for step, n in enumerate([4, 4, 3, 1, 4, 2]):
        new = rows(n, 2, step).float()
        queue.add(new)
        expected.extend(new.tolist())
        oldest_first = queue.rows.roll(-int(queue.next), 0)
        assert oldest_first.tolist() == list(expected)
    assert set(queue.state_dict()) == {"rows", "next"}


def test_a_queue_shorter_than_a_batch_is_refused() -> None:
    with pytest.raises(UserError, match="The queue, of 4 embeddings, is shorter than a batch of 5"):
        Queue(4, 2).add(torch.zeros(5, 2))
    with pytest.raises(UserError, match="The queue, of 4 embeddings, is shorter than a batch of 5"):
        Queue(4, 2).fill(torch.zeros(5, 2))
    with pytest.raises(UserError, match="The queue, of 4 embeddings, is shorter than a batch of 5"):
        Queue(4, 2, batch=5)
    assert len(Queue(4, 2, batch=4).rows) == 4


def test_a_queue_is_filled_with_a_batch_repeated() -> None:
    queue, new = Queue(7, 2), rows(3, 2).float()
    queue.fill(new)
    assert torch.equal(queue.rows, torch.cat([new, new, new[:1]]))
    queue.add(-new[:2])
    assert torch.equal(queue.rows, torch.cat([-new[:2], new[2:], new, new[:1]]))


def test_the_size_of_a_queue_is_what_the_budget_fills_at_most() -> None:
    def size(asked: int | None, budget: int, batch: int = 8) -> int:
        return queue_size("moco", asked, 64, Data(32, (0.5,) * 3, (0.5,) * 3, 100, batch=batch, budget=budget))

    assert [size(None, budget) for budget in (0, 8, 24, 72, 1000)] == [64, 8, 16, 64, 64]
    assert [size(200, 0), size(200, 1000, batch=0), size(56, 64)] == [200, 200, 56]
    words = "The queue of method 'moco', of 57 embeddings, would never be full: 56 images are seen before the last step"
    with pytest.raises(UserError, match=f"{words}. Lower `queue`, or raise the budget."):
        size(57, 64)


def test_off_diagonal_elements() -> None:
    assert off_diagonal(torch.arange(9).view(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]


def test_covariance_is_that_of_numpy() -> None:
    z = rows(9, 4)
    variance, covariance = variance_and_covariance(z)
    np.testing.assert_allclose(covariance.numpy(), np.cov(z.numpy(), rowvar=False), atol=1e-14)
    np.testing.assert_allclose(variance.numpy(), z.numpy().var(0, ddof=1), atol=1e-14)


def test_correlation_is_that_of_numpy() -> None:
    z1, z2 = rows(9, 3), rows(9, 3, seed=1)
    expected = np.corrcoef(z1.numpy(), z2.numpy(), rowvar=False)[:3, 3:]
    np.testing.assert_allclose(cross_correlation(z1, z2, eps=0).numpy(), expected, atol=1e-14)
    variance = z1.var(0, correction=0)
    own = torch.diagonal(cross_correlation(z1, z1))
    torch.testing.assert_close(own, variance / (variance + 1e-5), rtol=0, atol=1e-14)


def test_a_loss_is_computed_in_float32_at_least() -> None:
    @in_float32
    def kind(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.dtype, torch.dtype]:
        return (x @ x.T).dtype, y.dtype

    index = torch.zeros(2, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        assert kind(torch.randn(2, 2), index) == (torch.float32, torch.int64)
        assert kind(torch.randn(2, 2, dtype=torch.bfloat16), index)[0] == torch.float32
    assert kind(torch.randn(2, 2, dtype=torch.float64), index)[0] == torch.float64


def test_the_second_view_alone_is_solarised() -> None:
    first, second = PairParams(solarize=0.2).pair(32).views
    assert [op.op for op in second.ops] == [*(op.op for op in first.ops), "solarize"]
    (both,) = PairParams().pair(32).views
    assert both.draws == 2
    assert "gaussian_blur" not in [op.op for op in both.ops]
    assert "gaussian_blur" in [op.op for op in PairParams().view(65)]


def test_collapse_is_named_with_advice() -> None:
    z = torch.ones(8, 16) + 1e-4 * torch.randn(8, 16)
    health = pair_health(z, z)
    assert health["projection_std"] < 0.05
    assert health["alignment"] == pytest.approx(0, abs=1e-6)
    assert collapse(health, "do this") == [
        f"the projection collapsed: standard deviation {health['projection_std']:.2f} of a healthy 1; do this"
    ]
    spread = pair_health(torch.randn(256, 16), torch.randn(256, 16))
    assert spread["projection_std"] == pytest.approx(1, abs=0.05)
    assert collapse(spread, "do this") == []


def test_few_directions_are_named_where_the_spread_is_healthy() -> None:
    """All images at v or at -v: a deviation of 1, in one direction. A trained method has a rank of 5 or more."""
    z = torch.where(torch.arange(256) % 3 > 0, 1.0, -1.0)[:, None] * rows(1, 64).float()
    health = pair_health(z, z)
    assert health["projection_std"] > 0.7
    assert collapse(health, "do this") == ["the projection uses few of its directions: effective rank 1.0; do this"]


def test_health_of_known_embeddings() -> None:
    """Of N orthogonal rows: rank N, squared distance 2 between any two; a view turned by a right angle is 2 away."""
    z = 3 * torch.eye(8)
    health = pair_health(z, z.roll(1, 1))
    assert health["projection_rank"] == pytest.approx(8)
    assert health["uniformity"] == pytest.approx(-4)
    assert health["alignment"] == pytest.approx(2)
    assert pair_health(z, z)["alignment"] == pytest.approx(0)


def test_pictures_of_cosines_and_embeddings() -> None:
    """White is alike and black opposite; grey is the mean of a dimension."""
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0]])
    assert cosine_picture("", z, z[:2]).images[0, 0, 0].tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    shown = embedding_picture(z, z - 1).images
    assert shown.shape == (1, 2, 3, 3, 2)
    torch.testing.assert_close(shown.mean((0, 1, 2, 3)), torch.full((2,), 0.5))
    assert (shown[:, 0] > shown[:, 1]).all()


def test_too_few_images_are_one_sentence() -> None:
    require_images("vicreg", 2)
    with pytest.raises(UserError, match=r"'vicreg' needs at least 2 images in each batch of a process, found 1: .*"):
        require_images("vicreg", 1)
