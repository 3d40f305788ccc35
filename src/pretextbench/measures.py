"""Label-free measures of a representation: signs of collapse in training, and the comparison without labels.

Each takes features (N, D) of held-out images. They find collapse; they do not measure usefulness.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["alignment", "effective_rank", "feature_std", "uniformity"]

CHUNK = 2048  # rows of the pairwise distances at once


def feature_std(z: Tensor) -> float:
    """Mean over dimensions of std(z / |z|), times sqrt(D): 0 collapsed, 1 spread evenly (Chen & He 2021, figure 2b)."""
    unit = F.normalize(z.double(), dim=1)
    return float(unit.std(0, correction=0).mean() * z.shape[1] ** 0.5)


def effective_rank(z: Tensor) -> float:
    """RankMe: exp of the entropy of the singular values of z, 1 to min(N, D) (Garrido 2023, eq. 1-2). Not centred."""
    sigma = torch.linalg.svdvals(z.double())
    if not sigma.sum() > 0:
        return 1.0  # all features are zero: full collapse
    p = sigma / sigma.sum()
    return float(torch.special.entr(p).sum().exp())


def alignment(z1: Tensor, z2: Tensor) -> float:
    """Mean squared distance of the pairs on the unit sphere: 0 invariant, 2 unrelated (Wang & Isola 2020, eq. 5)."""
    a, b = (F.normalize(z.double(), dim=1) for z in (z1, z2))
    return float((a - b).square().sum(1).mean())


def uniformity(z: Tensor) -> float:
    """log mean over pairs of exp(-2 |zi - zj|^2): 0 in one point, about -4 spread out (Wang & Isola 2020, eq. 6)."""
    n, unit = len(z), F.normalize(z.double(), dim=1)
    if n < 2:
        return 0.0  # a single point has no pairs
    total = unit.new_zeros(())
    for rows in unit.split(CHUNK):
        total += torch.exp(-2 * torch.cdist(rows, unit).square()).sum()
    return float(((total - n) / (n * (n - 1))).clamp(min=1e-300).log())  # without the n distances to itself
