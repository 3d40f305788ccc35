"""Label-free measures of a representation: signs of collapse in training, and of quality where there are no labels."""

import torch
from torch import Tensor


def feature_std(z: Tensor) -> float:
    """Mean over dimensions of std(z / |z|), times sqrt(D), of z (N, D): 1 when spread evenly, 0 when collapsed."""
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    return float(unit.std(0, correction=0).mean() * z.shape[1] ** 0.5)


def effective_rank(z: Tensor) -> float:
    """RankMe: exp of the entropy of the singular values of z (N, D), from 1 to min(N, D) (Garrido 2023, eq. 1-2)."""
    sigma = torch.linalg.svdvals(z.double())
    p = sigma / sigma.sum().clamp_min(1e-300)
    return float(torch.special.entr(p).sum().exp())


def alignment(z1: Tensor, z2: Tensor) -> float:
    """Mean squared distance of the pairs on the unit sphere, 0 to 4 (Wang & Isola 2020, eq. 5). z1, z2 (N, D)."""
    a, b = (torch.nn.functional.normalize(z.double(), dim=1) for z in (z1, z2))
    return float((a - b).square().sum(1).mean())


def uniformity(z: Tensor) -> float:
    """log of the mean of exp(-2 |zi - zj|^2) over pairs, 0 (one point) down to about -4 (Wang & Isola 2020, eq. 6)."""
    if len(z) < 2:
        return 0.0  # one point is one point
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    squared = torch.pdist(unit).square()
    return float((-2 * squared).exp().mean().log())
