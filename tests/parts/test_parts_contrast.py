"""Contrast of queries and keys: known answers; groups of a batch that cross, and their batch norms."""

import math

import pytest
import torch
from torch import nn

from pretextbench.errors import UserError
from pretextbench.parts import contrast, crossing_groups, hardest_keys, in_groups, info_nce, require_groups, retrieval


def test_info_nce_of_known_vectors() -> None:
    """Equal vectors: ln N. Orthogonal ones: the own key e^(1 / tau) among N - 1 of 1. Lengths do not count."""
    equal, apart = torch.ones(5, 3, dtype=torch.float64), torch.eye(5, dtype=torch.float64)
    assert float(info_nce(equal, 2 * equal, 0.1)) == pytest.approx(math.log(5))
    assert float(info_nce(3 * apart, apart, 0.5)) == pytest.approx(math.log(1 + 4 * math.exp(-2)))
    assert float(info_nce(apart, -apart, 0.5)) == pytest.approx(math.log(1 + 4 * math.exp(2)))


def test_two_processes_equal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has half of the queries and the keys of all: the mean of the losses, with the gradients of both."""
    draw = torch.Generator().manual_seed(0)
    q, k = (torch.randn(6, 4, dtype=torch.float64, generator=draw).requires_grad_() for _ in range(2))
    whole, halves = info_nce(q, k, 0.2), []
    monkeypatch.setattr(contrast, "gather", lambda own: nn.functional.normalize(k, dim=1))
    for process in (0, 1):
        monkeypatch.setattr(contrast, "rank", lambda number=process: number)
        part = slice(3 * process, 3 * process + 3)
        halves.append(info_nce(q[part], k[part], 0.2))
    both = torch.stack(halves).mean()
    torch.testing.assert_close(both, whole, rtol=0, atol=1e-12)
    for one, other in zip(*(torch.autograd.grad(loss, (q, k)) for loss in (both, whole)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_half_precision_does_not_reach_the_contrast() -> None:
    q, k = torch.randn(2, 64, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = info_nce(q, k, 0.05)
    torch.testing.assert_close(low, info_nce(q.float(), k.float(), 0.05))


def test_queries_find_their_keys_among_those_of_the_batch_or_of_a_queue() -> None:
    axes = torch.eye(4)
    assert float(retrieval(axes, axes.roll(1, 0))) == 0
    assert float(retrieval(axes, torch.cat([axes[:2], axes[:2]]))) == 0.5
    assert float(retrieval(axes, axes + 0.1, queue=axes[:1])) == 0.75
    picture = hardest_keys(axes, axes, torch.cat([axes, -axes]), columns=3).images[0, 0, 0]
    assert picture.shape == (4, 4)
    assert picture[0].tolist() == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(("images", "count"), [(32, 4), (128, 4), (7, 3), (8, 1), (9, 4), (13, 4), (17, 8), (16, 8)])
def test_groups_of_queries_and_keys_cross(images: int, count: int) -> None:
    """Each has `count` groups of one size, up to an image, and none of a single image: it has no statistics."""
    of_queries, of_keys = crossing_groups(images, count)
    for parts in (of_queries, of_keys):
        assert sorted(number for part in parts for number in part) == list(range(images))
        sizes = {len(part) for part in parts}
        assert len(parts) == count
        assert 2 <= min(sizes) <= max(sizes) <= min(sizes) + 1
    most = math.ceil(max(map(len, of_keys)) / count)
    assert all(len({*a} & {*b}) <= most for a in of_queries for b in of_keys)


def test_batch_norm_sees_one_group_at_a_time() -> None:
    norm, x = nn.BatchNorm2d(1), torch.randn(8, 1, 2, 2)
    parts, _ = crossing_groups(8, 2)
    expected = torch.empty_like(x)
    for part in parts:
        expected[part] = nn.functional.batch_norm(x[part], None, None, training=True)
    torch.testing.assert_close(in_groups(norm, x, parts), expected)


def test_groups_without_statistics_are_refused() -> None:
    for images, count in ((8, 4), (1, 1), (0, 4)):  # 0: not known
        require_groups("moco", images, count)
    with pytest.raises(UserError, match="'moco' normalises 4 groups of a batch, which needs at least 8 images"):
        require_groups("moco", 7, 4)
