"""Label-free measures at points where their value is known."""

import numpy as np
import pytest
import torch

from pretextbench.errors import UserError
from pretextbench.evaluate import labelfree


def test_effective_rank():
    assert labelfree.rankme(torch.eye(7)) == pytest.approx(7)
    assert labelfree.rankme(torch.ones(30, 5)) == pytest.approx(1, abs=1e-6)
    assert labelfree.rankme(torch.zeros(30, 5)) == 1
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    s = np.linalg.svd(x.numpy(), compute_uv=False)
    p = s / s.sum()
    assert labelfree.rankme(x) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)


def test_uniformity_is_the_mean_over_pairs(monkeypatch):
    x = torch.randn(41, 5, generator=torch.Generator().manual_seed(0))
    z = torch.nn.functional.normalize(x.double())
    expected = torch.pdist(z).square().mul(-2).exp().mean().log().item()
    monkeypatch.setattr(labelfree, "CHUNK", 9)
    assert labelfree.uniformity(x) == pytest.approx(expected, rel=1e-6)
    assert labelfree.uniformity(torch.ones(10, 3)) == pytest.approx(0, abs=1e-6)


def test_alignment():
    x = torch.randn(2000, 64, generator=torch.Generator().manual_seed(0))
    assert labelfree.alignment(x, 3 * x) == pytest.approx(0, abs=1e-12)
    assert labelfree.alignment(x, -x) == pytest.approx(4)
    assert labelfree.alignment(x, x.flip(0)) == pytest.approx(2, abs=0.05)


def test_feature_std():
    x = torch.randn(4000, 64, generator=torch.Generator().manual_seed(0))
    assert labelfree.feature_std(x) == pytest.approx(1, abs=0.02)
    assert labelfree.feature_std(torch.ones(10, 4)) == pytest.approx(0, abs=1e-7)


def test_one_image_is_refused():
    with pytest.raises(UserError, match="two validation images or more; found 1"):
        labelfree.measure(torch.randn(1, 4))
