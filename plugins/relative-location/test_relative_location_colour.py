"""What patches of the relative location lose before they are compared: colour, and sometimes resolution."""

import pytest
import torch
from pretext_relative_location import LEAST_SIDE, Params, RelativeLocation, blurred, drop_colour, projection
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.method import Data
from pretextbench.params import EncoderParams

torch.set_num_threads(1)  # the networks here are too small to share
CPU = torch.device("cpu")


def method(**params: object) -> RelativeLocation:
    torch.manual_seed(0)
    facts = Data(32, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), images=100)
    return RelativeLocation(Params(**params), build(EncoderParams(width=8), 32, facts.mean, facts.std), facts)


def noise() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_projection_is_one() -> None:
    """B B = B, B a^T = 0, rank 2, and grey stays grey."""
    b, a = projection().double(), torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(b @ b, b, rtol=0, atol=1e-6)
    torch.testing.assert_close(b @ a, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-6)
    assert int(torch.linalg.matrix_rank(b, tol=1e-5)) == 2
    torch.testing.assert_close(b @ torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))


def test_projected_patches_hold_no_green_against_magenta() -> None:
    location = method(colour="project", downsample=0)
    x = location.cut(noise(), *location.places(4, CPU))
    centred = location.prepare(x) - location.encoder.mean
    along = (centred * torch.tensor([-1.0, 2.0, -1.0]).view(3, 1, 1)).sum(2)
    assert float(along.abs().max()) < 1e-6
    by_hand = torch.stack([projection() @ pixel for pixel in (x - location.encoder.mean)[0, 0].flatten(1).T], 1)
    torch.testing.assert_close(centred[0, 0].flatten(1), by_hand, rtol=0, atol=1e-6)


def test_dropped_channels_are_noise_of_a_hundredth() -> None:
    """One channel of each patch stays bitwise; the others' deviation is 0.01 of its, their mean is 0."""
    x = torch.randn(400, 9, 3, 24, 24) * torch.rand(400, 9, 1, 1, 1)
    result = drop_colour(x)
    same = (result == x).all(-1).all(-1)  # (400, 9, 3)
    assert (same.sum(-1) == 1).all()
    assert (same.float().mean((0, 1)) - 1 / 3).abs().max() < 0.03
    kept = x.std((-2, -1), correction=0)[same].view(400, 9, 1)
    others = result.std((-2, -1), correction=0) / kept
    assert float(others[~same].mean()) == pytest.approx(0.01, rel=0.01)
    assert float(result.mean((-2, -1))[~same].abs().max()) < 0.01


def test_kept_colour_is_the_pixels_themselves() -> None:
    location = method(colour="keep", downsample=0)
    x = location.cut(noise(), *location.places(4, CPU))
    torch.testing.assert_close(location.prepare(x), x, rtol=0, atol=1e-6)


def test_some_patches_lose_resolution_and_small_ones_never() -> None:
    small, large = torch.rand(50, 9, 3, LEAST_SIDE, LEAST_SIDE), torch.rand(50, 9, 3, 24, 24)
    assert blurred(small, 1.0) is small
    assert blurred(large, 0.0) is large
    changed = (blurred(large, 0.5) != large).flatten(2).any(2).float().mean()
    assert 0.4 < float(changed) < 0.6
    smooth = blurred(large, 1.0)
    assert float(smooth.std()) < 0.8 * float(large.std())
    torch.testing.assert_close(smooth.mean(), large.mean(), rtol=0, atol=1e-2)
