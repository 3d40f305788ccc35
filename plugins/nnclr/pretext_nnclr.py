"""NNCLR: the positive of a view is the nearest neighbour of its other view (Dwibedi 2021, arXiv:2104.14548).

Two views of every image go through encoder and projection head: z1, z2 of (N, D), length 1. NN(z) is the nearest of the
K vectors of a queue of earlier batches, without a gradient; p = h(z) is the prediction head's output, tau the
temperature. Equation 3 of the paper and its algorithm 1, in nats, mean over images:

    L(n, p) = -log( exp(n_i p_i / tau) / sum_j exp(n_i p_j / tau) )
    loss    = 1/2 L(NN(z1), p2) + 1/2 L(NN(z2), p1)

Negatives are the predictions of the batch, of all processes. The projections of the first view enter the queue, after
the step: a batch never finds itself.
"""

from collections.abc import Mapping

import torch
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
    Queue,
    collapse,
    info_nce,
    mlp,
    pair_health,
    pair_pictures,
    queue_size,
    require_batch,
    require_images,
)

SIDE = 16  # pixels of the small pictures that the queue keeps of its images, for `show`


class Params(PairParams):
    """Parameters of NNCLR; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-4, warmup=0.1)
    queue: int | None = Field(None, ge=2, description="null = 1024, or what the budget fills if less (paper: 98304)")
    temperature: float = Field(0.2, gt=0, le=10, description="tau (paper: 0.1)")
    head_dim: int = Field(128, ge=2, description="of z (paper: 256)")
    head_hidden: int = Field(512, ge=2, description="hidden units of both heads (paper: 2048 and 4096)")


@torch.no_grad()
def nearest(z: Tensor, queue: Tensor) -> Tensor:
    """Numbers (N,) of the rows of the queue, (K, D) of length 1, with the largest cosine to each row of z, (N, D)."""
    unit = F.normalize(z.to(queue.dtype), dim=1)
    with torch.autocast(z.device.type, enabled=False):
        return (unit @ queue.T).argmax(1)


def cross_entropy(neighbours: Tensor, p: Tensor, temperature: float) -> Tensor:
    """L(n, p) for neighbours and predictions (n, D), pair by pair; negatives are the predictions of all processes."""
    return info_nce(neighbours.detach(), p, temperature)


class NNCLR(PairMethod[Params]):
    """The encoder, a projection head of three layers, a prediction head of two, and the queue."""

    api_version = 1
    reference = "Dwibedi 2021, With a little help from my friends, arXiv:2104.14548"
    search = {"temperature": (0.1, 0.2, 0.5)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("nnclr", data, least=BY_VIEW, whole=True)
        hidden = params.head_hidden
        self.projector = mlp(encoder.dim, hidden, hidden, params.head_dim, last_norm="affine")
        self.predictor = mlp(params.head_dim, hidden, params.head_dim)
        size = queue_size("nnclr", params.queue, 1024, data)
        self.queue = Queue(size, params.head_dim, batch=data.batch, owner="nnclr")
        self.images = Queue(size, 3 * SIDE * SIDE)  # in the same order; grey until there are images
        self.images.rows = torch.full_like(self.images.rows, 0.5, dtype=torch.float16)

    def loss(self, batch: Batch) -> Loss:
        """Half of each direction; the projections and small pictures of the first view are staged."""
        require_images("nnclr", len(batch.index))
        z1, z2 = self.project(batch.views)
        n1, n2 = (self.queue.rows[nearest(z, self.queue.rows)] for z in (z1, z2))
        tau = self.params.temperature
        total = cross_entropy(n1, self.predictor(z2), tau) + cross_entropy(n2, self.predictor(z1), tau)
        small = F.adaptive_avg_pool2d(batch.views[0], SIDE).flatten(1)
        cosine = (n1 * F.normalize(z1.detach().to(n1.dtype), dim=1)).sum(1).mean()
        staged = {"projections": F.normalize(z1.float(), dim=1), "images": small}
        return Loss(total / 2, {"neighbour_cosine": cosine}, staged)

    def after_step(self, progress: float, staged: Mapping[str, Tensor]) -> None:
        """Let the first views of this step into the queue, once per optimizer step; those of the first step fill it."""
        self.queue.enter(staged["projections"], progress)
        self.images.enter(staged["images"], progress)

    def show(self, batch: Batch) -> list[Picture]:
        """The views, the cosines of projections, and each first view with the image whose projection is nearest."""
        z1, z2 = self.project(batch.views)
        number = nearest(z1, self.queue.rows)
        small = self.images.rows[number].to(batch.views[0].dtype).view(-1, 3, SIDE, SIDE).clamp(0, 1)
        neighbours = F.interpolate(small, batch.views[0].shape[-2:])
        cosines = (self.queue.rows[number] * F.normalize(z1.to(self.queue.rows.dtype), dim=1)).sum(1)
        captions = tuple(("", f"{float(cosine):.2f}") for cosine in cosines)
        columns = ("view 1", "neighbour in the queue, cosine")
        result = Picture("positives", columns, torch.stack([batch.views[0], neighbours], 1), captions)
        return [*pair_pictures(batch.views, z1, z2), result]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of z, the neighbours' cosine, and how many different neighbours there are."""
        z1, z2 = self.project(batch.views)
        number = nearest(z1, self.queue.rows)
        neighbours = self.queue.rows[number]
        cosine = (neighbours * F.normalize(z1.to(neighbours.dtype), dim=1)).sum(1).mean()
        share = len(number.unique()) / min(len(number), len(self.queue.rows))
        return {**pair_health(z1, z2), "neighbour_cosine": float(cosine), "neighbour_share": share}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of z; neighbours that are no neighbours; the same few neighbours for all images."""
        symptoms = collapse(health, "lower optimizer.lr, or raise the batch size: other images keep views apart")
        if health["neighbour_cosine"] < 0.3:
            symptoms.append(
                f"the nearest of the queue is far: cosine {health['neighbour_cosine']:.2f}, and the positives are "
                "chance; train longer, or raise `queue`"
            )
        if health["neighbour_share"] < 0.1:
            symptoms.append(
                f"few neighbours serve all images: {health['neighbour_share']:.0%} of as many as could be; raise "
                "`queue`, or lower optimizer.lr"
            )
        return symptoms
