"""VICReg: two views are alike, every dimension varies, no two dimensions vary together (Bardes 2022, arXiv:2105.04906).

Two random views of every image go through encoder and projection head: Z, Z' of (N, D). Equations 1 to 6 of the
paper:

    invariance  s(Z, Z') = (1 / N) sum over the pairs of |z - z'|^2
    variance    v(Z) = mean over dimensions of max(0, 1 - sqrt(Var(z_j) + 1e-4))             Var unbiased
    covariance  c(Z) = (1 / D) sum of the squared covariances outside the diagonal           unbiased
    loss        = 25 s(Z, Z') + 25 [v(Z) + v(Z')] + 1 [c(Z) + c(Z')]

The authors' code, which the published numbers come from, divides s by D as well and halves the variance term
(`scaling: official`, the default); `scaling: paper` is the printed formula. Constant outputs cost 24.75 under the
official scaling: 25 (1 - 0.01).
"""

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pretextbench.distributed import gather
from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, Picture
from pretextbench.params import OptimizerParams
from pretextbench.parts import (
    BY_VIEW,
    PairMethod,
    PairParams,
    collapse,
    embedding_picture,
    in_float32,
    mlp,
    off_diagonal,
    pair_health,
    pair_pictures,
    require_batch,
    require_images,
    variance_and_covariance,
)

EPS = 1e-4  # in the standard deviation
Scaling = Literal["official", "paper"]


class Params(PairParams):
    """Parameters of VICReg; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-4, warmup=0.1)
    head_dim: int = Field(512, ge=2, description="of z, and units of the hidden layers (paper: 8192)")
    invariance: float = Field(25.0, ge=0, description="weight of the distance of the views (paper: 25)")
    variance: float = Field(25.0, ge=0, description="weight of the variance term (paper: 25)")
    covariance: float = Field(1.0, ge=0, description="weight of the covariance term (paper: 1)")
    scaling: Scaling = Field("official", description="of the terms: as the authors' code, or as the paper prints them")


@in_float32
def terms(z1: Tensor, z2: Tensor, scaling: Scaling = "official") -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance of embeddings (N, D), scalars, over the images of all processes."""
    official = scaling == "official"
    distance = (gather(z1) - gather(z2)).square()  # (N, D)
    invariance = distance.mean() if official else distance.sum(1).mean()
    variance = covariance = z1.new_zeros(())
    for z in (z1, z2):
        variances, matrix = variance_and_covariance(z)
        variance = variance + F.relu(1 - (variances + EPS).sqrt()).mean()
        covariance = covariance + off_diagonal(matrix).square().sum() / z.shape[1]
    return invariance, variance / 2 if official else variance, covariance


class VICReg(PairMethod[Params]):
    """The encoder and a projection head of three layers, with batch norm and ReLU between them."""

    api_version = 1
    reference = "Bardes 2022, VICReg: variance-invariance-covariance regularization, arXiv:2105.04906"
    search = {"invariance": (10.0, 25.0), "covariance": (0.5, 1.0, 4.0)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("vicreg", data, least=BY_VIEW, whole=True)
        self.projector = mlp(encoder.dim, params.head_dim, params.head_dim, params.head_dim, last_bias=False)

    def loss(self, batch: Batch) -> Loss:
        """The weighted sum of the three terms."""
        require_images("vicreg", len(batch.index))
        invariance, variance, covariance = terms(*self.project(batch.views), self.params.scaling)
        p = self.params
        total = p.invariance * invariance + p.variance * variance + p.covariance * covariance
        return Loss(total, {"invariance": invariance, "variance": variance, "covariance": covariance})

    def show(self, batch: Batch) -> list[Picture]:
        """The two views, the cosines of all embeddings, and the first 64 dimensions of the embeddings."""
        z1, z2 = self.project(batch.views)
        return [*pair_pictures(batch.views, z1, z2), embedding_picture(z1, z2)]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of the embeddings, and the terms of the loss that tell a collapse."""
        z1, z2 = self.project(batch.views)
        if len(z1) < 2:
            return pair_health(z1, z2)
        invariance, variance, covariance = (float(term) for term in terms(z1, z2))
        measures = {"invariance": invariance, "variance_hinge": variance, "covariance": covariance}
        return {**pair_health(z1, z2), **measures}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the embeddings; dimensions that hardly vary."""
        symptoms = collapse(health, "raise `variance`, or lower optimizer.lr")
        if health.get("variance_hinge", 0.0) > 0.5:
            symptoms.append(
                f"dimensions hardly vary: the variance term is {health['variance_hinge']:.2f}, where 1 is a collapse "
                "and 0 is wanted; raise `variance`, or train longer"
            )
        return symptoms
