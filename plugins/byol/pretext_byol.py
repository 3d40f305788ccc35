"""BYOL: predict the embedding that a slow copy of the network gives to another view (Grill 2020, arXiv:2006.07733).

Online network: encoder f, projection g, prediction q. Target network: a twin of f and g whose weights xi are a moving
average of the online weights theta. For views v and v', equations 1 and 2 of the paper:

    loss = 2 - 2 cos(q(g(f(v))), sg(g_xi(f_xi(v'))))  +  the same with v and v' swapped          mean over images
    xi <- tau xi + (1 - tau) theta        after every step; tau rises from `momentum` to 1 along a cosine

Nothing keeps images apart but the predictor, the batch norm and the slow target; a collapse is seen in
`projection_std`, not in the loss.
"""

from collections.abc import Mapping

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, Picture
from pretextbench.params import OptimizerParams
from pretextbench.parts import (
    BY_VIEW,
    PairMethod,
    PairParams,
    Twin,
    collapse,
    cosine_momentum,
    cosine_picture,
    encode,
    in_float32,
    mlp,
    pair_health,
    pair_pictures,
    require_batch,
)


class Params(PairParams):
    """Parameters of BYOL; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-4, warmup=0.1)
    head_dim: int = Field(128, ge=2, description="of the projection (paper: 256)")
    head_hidden: int = Field(512, ge=2, description="hidden units of projection and prediction (paper: 4096)")
    momentum: float = Field(0.99, ge=0, le=1, description="tau at the start; it ends at 1 (paper: 0.996)")


@in_float32
def distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Equation 2, |p - z|^2 of unit vectors (N, D) = 2 - 2 cos(p, z): mean over images, 0 to 4."""
    return (2 - 2 * F.cosine_similarity(prediction, target.detach(), dim=1)).mean()


class BYOL(PairMethod[Params]):
    """The encoder, a projection and a prediction head of two layers each, and the twin of encoder and projection."""

    api_version = 1
    reference = "Grill 2020, Bootstrap your own latent, arXiv:2006.07733"
    search = {"momentum": (0.95, 0.99, 0.996)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("byol", data, least=BY_VIEW)
        self.projector = mlp(encoder.dim, params.head_hidden, params.head_dim)
        self.predictor = mlp(params.head_dim, params.head_hidden, params.head_dim)
        self.twin = Twin(encoder, self.projector)

    def loss(self, batch: Batch) -> Loss:
        """The distance of each view's prediction to the other view's target, summed over both."""
        p1, p2 = (self.predictor(z) for z in self.project(batch.views))
        t1, t2 = encode(self.twin, batch.views[:2])
        return Loss(distance(p1, t2) + distance(p2, t1))

    def after_step(self, progress: float, staged: Mapping[str, Tensor]) -> None:
        """Move the target, once per optimizer step."""
        self.twin.follow(cosine_momentum(self.params.momentum, progress), self.encoder, self.projector)

    def show(self, batch: Batch) -> list[Picture]:
        """The two views, the cosines of all projections, and those of predictions with the other views' targets."""
        z1, z2 = self.project(batch.views)
        (target,) = encode(self.twin, batch.views[1:2])
        cosines = cosine_picture("cosine of predictions (rows) and targets", self.predictor(z1), target)
        return [*pair_pictures(batch.views, z1, z2), cosines]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of the projections, and the distance of the predictions to the targets."""
        z1, z2 = self.project(batch.views)
        (target,) = encode(self.twin, batch.views[1:2])
        return {**pair_health(z1, z2), "prediction_distance": float(distance(self.predictor(z1), target))}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the projections; predictions that are far from their targets."""
        symptoms = collapse(health, "raise `momentum`, lower optimizer.lr, or raise the batch size")
        if health["prediction_distance"] > 1.5:
            symptoms.append(
                f"predictions do not meet their targets: distance {health['prediction_distance']:.2f}, where 2 is "
                "chance; train longer, or lower `momentum`"
            )
        return symptoms
