"""Barlow Twins: the two views' embeddings correlate dimension by dimension and not across (Zbontar 2021).

Two random views of every image go through encoder and projection head: Z, Z' of (N, D). Each dimension is standardised
over the batch (biased deviation, 1e-5 in the variance). With C_ij the correlation of z_i and z'_j, equations 1 and 2 of
arXiv:2103.03230:

    loss = scale [ sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2 ]

Constant outputs cost D, equal dimensions lambda D (D - 1), and whitened equal views about 0.
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, Picture
from pretextbench.params import OptimizerParams
from pretextbench.parts import (
    BY_VIEW,
    PairMethod,
    PairParams,
    collapse,
    cross_correlation,
    embedding_picture,
    in_float32,
    mlp,
    off_diagonal,
    pair_health,
    pair_pictures,
    require_batch,
    require_images,
)


class Params(PairParams):
    """Parameters of Barlow Twins; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-4, warmup=0.1)
    head_dim: int = Field(512, ge=2, description="of z, and units of the hidden layers (paper: 8192)")
    redundancy: float = Field(5.1e-3, ge=0, description="lambda, weight of the correlations across (paper: 0.0051)")
    scale: float = Field(0.1, gt=0, description="of the loss (paper: 1; 0.1 on CIFAR-10 in solo-learn)")


@in_float32
def barlow(z1: Tensor, z2: Tensor, redundancy: float) -> tuple[Tensor, Tensor]:
    """Equation 1 for embeddings (N, D), unscaled, and the mean of the diagonal of C; over all processes."""
    c = cross_correlation(z1, z2)  # (D, D)
    diagonal = torch.diagonal(c)
    return (1 - diagonal).square().sum() + redundancy * off_diagonal(c).square().sum(), diagonal.mean()


class BarlowTwins(PairMethod[Params]):
    """The encoder and a projection head of three layers, with batch norm and ReLU between them."""

    api_version = 1
    reference = "Zbontar 2021, Barlow Twins: self-supervised learning via redundancy reduction, arXiv:2103.03230"
    search = {"redundancy": (2e-3, 5.1e-3, 2e-2)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("barlow-twins", data, least=BY_VIEW, whole=True)
        self.projector = mlp(encoder.dim, params.head_dim, params.head_dim, params.head_dim, last_bias=False)

    def loss(self, batch: Batch) -> Loss:
        """The distance of the correlations from the identity."""
        require_images("barlow-twins", len(batch.index))
        total, diagonal = barlow(*self.project(batch.views), self.params.redundancy)
        return Loss(self.params.scale * total, {"diagonal": diagonal})

    def show(self, batch: Batch) -> list[Picture]:
        """The two views, the cosines of all embeddings, and the first 64 dimensions of the embeddings."""
        z1, z2 = self.project(batch.views)
        return [*pair_pictures(batch.views, z1, z2), embedding_picture(z1, z2)]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of the embeddings, and the two halves of C: 1 and 0 are wanted."""
        z1, z2 = self.project(batch.views)
        c = cross_correlation(z1.float(), z2.float())
        across = off_diagonal(c).square().mean().sqrt()
        return {**pair_health(z1, z2), "diagonal": float(torch.diagonal(c).mean()), "across": float(across)}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the embeddings; dimensions that repeat each other; views that do not correlate."""
        symptoms = collapse(health, "raise the batch size, or lower optimizer.lr")
        if health["across"] > 0.5:
            symptoms.append(
                f"dimensions repeat each other: their correlation is {health['across']:.2f} on average; raise "
                "`redundancy`"
            )
        if health["diagonal"] < 0.1:
            symptoms.append(
                f"the views do not correlate: {health['diagonal']:.2f} of a wanted 1; train longer, or make views more "
                "alike (crop_min up, colour down)"
            )
        return symptoms
