"""SwAV: predict the prototypes that one crop is assigned to from the other crops of the image (Caron 2020).

Large (global) and small (local) crops of every image go through encoder and projection head to unit vectors z. With
prototypes C (K unit vectors) and scores s = z C^T (arXiv:2006.09882, equations 2, 5 and 6):

    assignments  Q_g = Sinkhorn-Knopp of exp(s_g / epsilon) over the batch, for each global crop g; no gradient
    prediction   p_v = softmax(s_v / temperature), for every crop v
    loss         mean over g, over v != g and over images of the cross-entropy  - sum_k Q_g,k log p_v,k

The equal shares of the prototypes keep the images apart. Each optimizer step is followed by a normalisation of the
prototypes, and in the first steps they stand still.
"""

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, Picture
from pretextbench.params import BudgetShare, OptimizerParams
from pretextbench.parts import (
    MultiCropMethod,
    MultiCropParams,
    Prototypes,
    Queue,
    collapse,
    cross_view_entropy,
    dominant_prototype,
    entropies,
    mlp,
    pair_health,
    prototype_count,
    prototype_pictures,
    queue_size,
    require_batch,
    require_images,
    same_for_all,
    sinkhorn,
    uniform_predictions,
)

USUAL = 256  # prototypes


class Params(MultiCropParams):
    """Parameters of SwAV; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-4, warmup=0.1)
    head_hidden: int = Field(512, ge=2, description="hidden units of the projection (paper: 2048)")
    head_dim: int = Field(128, ge=2, description="of z (paper: 128)")
    prototypes: int | None = Field(
        None,
        description="null = 256, or if that is less the embeddings that share them (a batch, with the queue) or a "
        "quarter of the training images (paper: 3000)",
    )
    temperature: float = Field(0.1, ge=1e-3, le=1000, description="of the predictions (paper: 0.1)")
    epsilon: float = Field(0.05, ge=1e-3, le=1000, description="of Sinkhorn-Knopp (paper: 0.05)")
    iterations: int = Field(3, ge=1, le=1000, description="of Sinkhorn-Knopp (paper: 3)")
    frozen: BudgetShare = Field(
        0.05, lt=1, description="share of the budget in which the prototypes stand still (paper: 1/800)"
    )
    queue: int = Field(0, ge=0, le=10**7, description="earlier embeddings that share the prototypes (paper: 0, 3840)")


class SwAV(MultiCropMethod[Params]):
    """The encoder, a projection head of two layers with batch norm and ReLU between them, and the prototypes."""

    api_version = 1
    reference = (
        "Caron 2020, Unsupervised learning of visual features by contrasting cluster assignments, arXiv:2006.09882"
    )
    search = {"temperature": (0.1, 0.2), "epsilon": (0.03, 0.05)}
    full: Tensor  # embeddings that each queue has been given, at most its size

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("swav", data, whole=True)
        usual = min(USUAL, data.batch + params.queue) if data.batch else USUAL  # more would not get an image each
        count = prototype_count("swav", params.prototypes, usual, data.images)
        self.head = mlp(encoder.dim, params.head_hidden, params.head_dim)
        self.prototypes = Prototypes(params.head_dim, count, params.frozen)
        size = queue_size("swav", params.queue, 0, data) if params.queue else 0
        sizes = [size] * params.global_views if size else []
        self.queues = nn.ModuleList(Queue(size, params.head_dim, data.batch, "swav") for size in sizes)
        self.register_buffer("full", torch.zeros((), dtype=torch.int64))

    def assign(self, scores: Tensor) -> Tensor:
        """Assignments of the global crops, (G, B, K), by their scores (G, B, K); with the queues once they are full."""
        extra: list[Tensor | None] = [None] * len(scores)
        if self.queues and int(self.full) >= self.params.queue:
            extra = [self.prototypes(queue.rows) for queue in self.queues]
        epsilon, iterations = self.params.epsilon, self.params.iterations
        return torch.stack([sinkhorn(s, epsilon, iterations, queued) for s, queued in zip(scores, extra, strict=True)])

    def loss(self, batch: Batch) -> Loss:
        """The swapped predictions; the embeddings of the global crops are staged for the queues."""
        require_images("swav", len(batch.index))
        z = self.project(batch.views)
        count = self.params.global_views
        scores = self.prototypes(z)
        total = cross_view_entropy(self.assign(scores[:count]), scores, self.params.temperature)
        staged = {f"z{i}": view for i, view in enumerate(z[:count])} if self.queues else {}
        return Loss(total, staged=staged)

    def after_step(self, progress: float, staged: Mapping[str, Tensor]) -> None:
        """Normalise the prototypes; then add what was staged to the queues."""
        self.prototypes.normalise()
        for i, queue in enumerate(self.queues):
            cast(Queue, queue).add(F.normalize(staged[f"z{i}"].float(), dim=1))
        if self.queues:
            self.full.add_(len(staged["z0"])).clamp_(max=self.params.queue)

    def show(self, batch: Batch) -> list[Picture]:
        """The crops of each image, the cosines of the first two, and the images nearest to the prototypes."""
        scores = self.prototypes(self.project(batch.views)[0])
        return [*super().show(batch), *prototype_pictures(batch.views[0], scores)]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of z, and the entropies of the predictions and of their mean."""
        z1, z2, *_ = self.project(batch.views)
        row, mean = entropies((self.prototypes(z1) / self.params.temperature).softmax(1))
        return {**pair_health(z1, z2), "prediction_entropy": row, "prototype_use": mean}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the embeddings; predictions that are uniform or the same of all images; one prototype for all."""
        row, mean = health["prediction_entropy"], health["prototype_use"]
        return [
            *collapse(health, "lower optimizer.lr or `epsilon`"),
            *uniform_predictions(row),
            *same_for_all(row, mean),
            *dominant_prototype(row, mean),
        ]
