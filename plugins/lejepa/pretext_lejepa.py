"""LeJEPA: all views of an image are alike, and the embeddings of a view are normally distributed.

Several random views of every image go through encoder and projection head: Z_v of (N, D) for view v. With c the mean
over an image's global views, and `weight` as lambda (Balestriero & LeCun 2025, arXiv:2511.08544):

    invariance   mean over views, images and dimensions of (c - z)^2
    SIGReg       mean over views and over random unit vectors a, drawn anew at every step, of the Epps-Pulley statistic
                 N integral from -3 to 3 of |phi(t) - exp(-t^2 / 2)|^2 exp(-t^2 / 2) dt, phi(t) = mean of exp(i t a z)
    VISReg       mean (1 - std)^2 + mean m^2 + mean (sorted a (z - m) / std - normal quantiles of i / (N + 1))^2
    loss         (1 - lambda) invariance + lambda SIGReg

`regulariser: visreg` takes VISReg in the place of SIGReg (arXiv:2606.02572): scale, centre and shape of each view's
embeddings, whose dimensions have mean m and deviation std. There is no twin, no stop-gradient between views, no
temperature and no queue.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss
from pretextbench.params import Fraction, OptimizerParams
from pretextbench.parts import (
    MultiCropMethod,
    MultiCropParams,
    collapse,
    in_float32,
    mlp,
    pair_health,
    random_directions,
    require_batch,
    require_images,
    sigreg,
    visreg,
)

WEIGHTS = {"sigreg": 0.02, "visreg": 0.6}  # lambda for small images, in the authors' recipes
SHRUNK = 0.1  # of the deviation, where 1 is wanted


class Params(MultiCropParams):
    """Parameters of LeJEPA; the defaults are for small images, those of the authors are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=2e-3, weight_decay=5e-2, warmup=0.1)
    global_views: int = Field(4, ge=2, le=16, description="global crops of each image (authors' small recipe: 4)")
    local_views: int = Field(0, ge=0, le=32, description="local crops of each image (authors: 0, or 6 with 2 global)")
    regulariser: Literal["sigreg", "visreg"] = Field("sigreg", description="what keeps the embeddings apart")
    weight: Fraction | None = Field(None, description="of the regulariser; null = 0.02 of sigreg, 0.6 of visreg")
    directions: int = Field(256, ge=1, le=65536, description="random directions (authors: 256 to 1024; visreg: 4096)")
    head_hidden: int = Field(512, ge=2, description="hidden units of the projection (authors: 2048)")
    head_dim: int = Field(64, ge=2, description="of z (authors: 16; visreg: 128)")


@in_float32
def invariance(views: Tensor, centres: int) -> Tensor:
    """Mean squared distance of the views' embeddings (V, N, D) from the mean of an image's first `centres` views."""
    return (views - views[:centres].mean(0)).square().mean()


@in_float32
def regularisation(views: Tensor, directions: Tensor, regulariser: str = "sigreg") -> Tensor:
    """SIGReg or VISReg of embeddings (V, N, D) on directions (D, K), each view by itself: mean over views."""
    statistic = sigreg if regulariser == "sigreg" else visreg
    return torch.stack([statistic(z, directions) for z in views]).mean()


class LeJEPA(MultiCropMethod[Params]):
    """The encoder and a projection head of three layers, with batch norm and ReLU between them."""

    api_version = 1
    reference = "Balestriero & LeCun 2025, LeJEPA: provable and scalable self-supervised learning, arXiv:2511.08544"
    search = {"weight": (None, 0.01, 0.05)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("lejepa", data, whole=True)
        self.head = mlp(encoder.dim, params.head_hidden, params.head_hidden, params.head_dim)
        self.weight = WEIGHTS[params.regulariser] if params.weight is None else params.weight

    def terms(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Invariance and regularisation of embeddings (V, N, head_dim)."""
        directions = random_directions(z[0].float() if z.dtype != torch.float64 else z[0], self.params.directions)
        distance = invariance(z, self.params.global_views)
        return distance, regularisation(z, directions, regulariser=self.params.regulariser)

    def loss(self, batch: Batch) -> Loss:
        """The weighted sum of both terms."""
        require_images("lejepa", len(batch.index))
        distance, apart = self.terms(self.project(batch.views))
        total = (1 - self.weight) * distance + self.weight * apart
        return Loss(total, {"invariance": distance, self.params.regulariser: apart})

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of the embeddings, their deviation (1 is wanted), and both terms of the loss."""
        z = self.project(batch.views).float()
        if z.shape[1] < 2:
            return pair_health(z[0], z[1])
        distance, apart = self.terms(z)
        deviation = z.std(1, correction=0).mean()
        measures = {"deviation": deviation, "invariance": distance, self.params.regulariser: apart}
        return {**pair_health(z[0], z[1]), **{name: float(value) for name, value in measures.items()}}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the embeddings; embeddings that shrink to a point."""
        symptoms = collapse(health, "raise `weight`, or lower optimizer.lr")
        if health.get("deviation", 1.0) < SHRUNK:
            symptoms.append(
                f"the embeddings shrink to a point: their deviation is {health['deviation']:.3f} of a wanted 1; raise "
                "`weight`"
            )
        return symptoms
