"""Measures of a representation that need no label. They find collapse; they do not measure usefulness.

Each takes pooled features (n, D) of held-out images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.errors import UserError

CHUNK = 2048  # rows of the pairwise distances at once


def rankme(features: Tensor) -> float:
    """Effective rank exp(H(sigma / sum sigma)) of the singular values (Garrido 2023, eq. 1): 1 to min(n, D)."""
    sigma = torch.linalg.svdvals(features.double())
    if not sigma.sum() > 0:
        return 1.0  # all features are zero: as collapsed as can be
    p = sigma / sigma.sum()
    return float(torch.special.entr(p).sum().exp())


def uniformity(features: Tensor, t: float = 2.0) -> float:
    """log mean over pairs i < j of exp(-t |z_i - z_j|^2), z = x/|x| (Wang & Isola 2020): 0 collapsed, -2t at best."""
    z = F.normalize(features.double())
    total = z.new_zeros(())
    for rows in z.split(CHUNK):
        total += torch.exp(-t * torch.cdist(rows, z).square()).sum()
    n = len(z)
    return float(((total - n) / (n * (n - 1))).clamp(min=1e-300).log())  # without the n distances to itself


def alignment(first: Tensor, second: Tensor, alpha: float = 2.0) -> float:
    """Mean |z_i - z'_i|^alpha between two views of each image (Wang & Isola 2020): 0 invariant, about 2 unrelated."""
    distance = (F.normalize(first.double()) - F.normalize(second.double())).norm(dim=1)
    return float(distance.pow(alpha).mean())


def feature_std(features: Tensor) -> float:
    """Mean over dimensions of std(x/|x|), times sqrt(D): 0 collapsed, 1 spread evenly (Chen & He 2021, figure 2b)."""
    z = F.normalize(features.double())
    return float(z.std(0, correction=0).mean() * z.shape[1] ** 0.5)


def measure(features: Tensor) -> dict[str, float]:
    """RankMe, uniformity and feature std of (n, D) features.

    Raises:
        UserError: fewer than two images.
    """
    if len(features) < 2:
        raise UserError(f"Label-free measures need two validation images or more; found {len(features)}.")
    return {
        "rankme": rankme(features),
        "uniformity": uniformity(features),
        "feature_std": feature_std(features),
    }
