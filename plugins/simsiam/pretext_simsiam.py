"""SimSiam: predict the embedding of another view, with the gradient stopped (Chen 2021, arXiv:2011.10566).

Two views go through encoder and projection head: z1, z2 of (N, D); p = h(z) is the prediction head's output, sg stops
the gradient. Equations 1 to 4 of the paper:

    loss = -1/2 cos(p1, sg(z2)) - 1/2 cos(p2, sg(z1))        mean over images, -1 to 1

There are no negatives and no slow copy: without sg the loss falls to -1 at once and all images have one embedding. The
loss is -1 there too, so a collapse is seen in `projection_std` alone: the standard deviation of z / |z|, times sqrt(D),
is 0 then and 1 for a z that is spread evenly.
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
    collapse,
    cosine_picture,
    in_float32,
    mlp,
    pair_health,
    pair_pictures,
    require_batch,
    require_images,
)


class Params(PairParams):
    """Parameters of SimSiam; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=1e-3, weight_decay=1e-4, warmup=0.1)
    head_dim: int = Field(512, ge=2, description="of z, and units of the projection's hidden layers (paper: 2048)")
    head_hidden: int = Field(128, ge=2, description="hidden units of the prediction head, a quarter (paper: 512)")
    predictor_decay: bool = Field(False, description="whether the rate of the prediction head decays (paper: false)")


@in_float32
def closeness(p: Tensor, z: Tensor) -> Tensor:
    """Equation 1 with its stop-gradient: minus the cosine of predictions and projections (N, D), mean over images."""
    return -F.cosine_similarity(p, z.detach(), dim=1).mean()


class SimSiam(PairMethod[Params]):
    """The encoder, a projection head of three layers and a prediction head of two with a narrow middle."""

    api_version = 1
    reference = "Chen 2021, Exploring simple Siamese representation learning, arXiv:2011.10566"
    search = {"head_dim": (128, 512)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("simsiam", data, least=BY_VIEW)
        self.projector = mlp(encoder.dim, params.head_dim, params.head_dim, params.head_dim, last_norm="plain")
        self.predictor = mlp(params.head_dim, params.head_hidden, params.head_dim)

    def loss(self, batch: Batch) -> Loss:
        """Half the closeness of each view's prediction to the other view's projection."""
        require_images("simsiam", len(batch.index))  # the projection ends with a batch norm
        z1, z2 = self.project(batch.views)
        return Loss((closeness(self.predictor(z1), z2) + closeness(self.predictor(z2), z1)) / 2)

    def constant_rate(self) -> set[str]:
        """Names of the parameters whose learning rate stays at its peak: the prediction head's (section 4.2)."""
        own = {name for name, _ in self.named_parameters() if name.startswith("predictor.")}
        return set() if self.params.predictor_decay else own

    def show(self, batch: Batch) -> list[Picture]:
        """The two views, the cosines of all projections, and those of predictions with the other views' projections."""
        z1, z2 = self.project(batch.views)
        cosines = cosine_picture("cosine of predictions (rows) and projections", self.predictor(z1), z2)
        return [*pair_pictures(batch.views, z1, z2), cosines]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of the projections, and the cosine of predictions and projections."""
        z1, z2 = self.project(batch.views)
        return {**pair_health(z1, z2), "prediction_cosine": -float(closeness(self.predictor(z1), z2))}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the projections; predictions that are far from the projections."""
        symptoms = collapse(health, "lower optimizer.lr, or raise the batch size; the loss does not show it")
        if health["prediction_cosine"] < 0.2:
            symptoms.append(
                f"predictions do not meet the projections: cosine {health['prediction_cosine']:.2f}, where 0 is "
                "chance; train longer, or make views more alike (crop_min up, colour down)"
            )
        return symptoms
