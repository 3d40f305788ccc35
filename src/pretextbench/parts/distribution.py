"""Distribution of embeddings over the batches of all processes, with gradients: covariances, and normality.

Two regularisers keep embeddings apart without negatives, a twin or a stop-gradient: SIGReg (Balestriero & LeCun 2025,
arXiv:2511.08544) and VISReg (arXiv:2606.02572). They compare embeddings with a standard normal distribution.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.distributed import gather, mean, processes


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


KNOTS, REACH = 17, 3.0  # points of the integral over t, from 0 to REACH
TINY = 1e-6  # added to a deviation that is divided by


def random_directions(z: Tensor, count: int) -> Tensor:
    """Random unit vectors (D, count) for embeddings z (N, D), of z's type and device, equal in all processes.

    They are drawn from torch's generator, which the host seeds otherwise in each process: those of the first count.
    """
    drawn = torch.randn(z.shape[1], count).to(z)  # on the CPU: a GPU would draw other numbers
    return F.normalize(gather(drawn[None])[0], dim=0)


def sigreg(z: Tensor, directions: Tensor) -> Tensor:
    """Epps-Pulley statistic of embeddings z (N, D) on directions (D, K), mean over directions: a scalar.

    N times the integral over t of |phi(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), with phi the empirical characteristic
    function: trapezoids on 17 knots in [0, 3], doubled for the negative half. Standard normal embeddings give 1.0525
    on average, whatever N; embeddings in one point at zero 0.402 N.
    """
    t = torch.linspace(0, REACH, KNOTS, dtype=z.dtype, device=z.device)
    normal = torch.exp(-t.square() / 2)
    angles = (z @ directions)[:, :, None] * t  # (N, K, knots)
    real, imaginary = mean(torch.stack([angles.cos().mean(0), angles.sin().mean(0)]))  # each (K, knots)
    integrand = ((real - normal).square() + imaginary.square()) * normal
    statistic: Tensor = 2 * torch.trapezoid(integrand, t, dim=1).mean()
    return statistic * len(z) * processes()


def visreg(z: Tensor, directions: Tensor) -> Tensor:
    """Scale, centre and shape of embeddings z (N, D) against those of a standard normal distribution: a scalar.

    Mean over dimensions of (1 - std)^2 and of mean^2, and mean squared distance of the sorted standardised projections
    on directions (D, K) from the quantiles of i / (N + 1). No gradient goes through the deviation in the shape.
    """
    gathered = gather(z)
    centre, deviation = gathered.mean(0), gathered.std(0, correction=0)
    standard = (gathered - centre) / (deviation.detach() + TINY)
    n = len(gathered)
    quantiles = torch.special.ndtri(torch.arange(1, n + 1, dtype=z.dtype, device=z.device) / (n + 1))
    shape = ((standard @ directions).sort(0).values - quantiles[:, None]).square().mean()
    total: Tensor = (1 - deviation).square().mean() + centre.square().mean() + shape
    return total
