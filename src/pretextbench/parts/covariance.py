"""Covariances and correlations of embeddings over the batches of all processes, with gradients."""

import torch
from torch import Tensor

from pretextbench.distributed import gather, mean


def off_diagonal(matrix: Tensor) -> Tensor:
    """The elements of a square matrix (D, D) outside its diagonal, row by row: (D (D - 1),)."""
    n = len(matrix)
    return matrix.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


def cross_correlation(z1: Tensor, z2: Tensor, eps: float = 1e-5) -> Tensor:
    """Correlation of each dimension of z1 with each of z2, both (B, D): (D, D), over the images of all processes.

    The deviation is the biased one with `eps` in the variance, as that of a batch norm, so that the correlation of a
    dimension with itself is var / (var + eps).
    """
    a, b = (_standardised(z, eps) for z in (z1, z2))
    return mean(a.T @ b / len(a))


def _standardised(z: Tensor, eps: float) -> Tensor:
    centred = z - mean(z.mean(0))
    variance: Tensor = mean(centred.square().mean(0))
    return centred * (variance + eps).rsqrt()


def variance_and_covariance(z: Tensor) -> tuple[Tensor, Tensor]:
    """Unbiased variances (D,) and covariances (D, D) of the dimensions of z, (B, D), over all processes."""
    everyone = gather(z)
    centred = everyone - everyone.mean(0)
    covariance = centred.T @ centred / (len(everyone) - 1)
    return torch.diagonal(covariance), covariance
