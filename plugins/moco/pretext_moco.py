"""MoCo: a query meets its key among many others, and a slow copy of the network makes the keys (He 2020, Chen 2021).

Query q: encoder f and projection g of one view. Key k: the same networks' twin, of the other view; its weights are a
moving average, moved once after every step. All vectors have length 1, tau is the temperature.

`form: v2` (arXiv:1911.05722, equation 1, with the head of arXiv:2003.04297): the negatives are the K keys of a queue,
which are those of earlier batches; a batch enters it after the step and never meets its own keys.

    loss = -log( exp(q k / tau) / (exp(q k / tau) + sum over the queue exp(q k_j / tau)) )      mean over images

`form: v3` (arXiv:2104.02057, algorithm 1): no queue, a prediction head p, and the negatives are the keys of the batch:

    ctr(q, k) = -2 tau log( exp(q_i k_i / tau) / sum_j exp(q_i k_j / tau) )
    loss      = ctr(p(z1), k2) + ctr(p(z2), k1)
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pretextbench.encoder import Encoder, TokenEncoder
from pretextbench.method import Batch, Data, Loss, Picture
from pretextbench.params import OptimizerParams
from pretextbench.parts import (
    BY_VIEW,
    PairMethod,
    PairParams,
    Queue,
    Twin,
    collapse,
    cosine_momentum,
    crossing_groups,
    encode,
    hardest_keys,
    in_float32,
    in_groups,
    info_nce,
    mlp,
    pair_health,
    pair_pictures,
    queue_size,
    require_batch,
    require_groups,
    require_images,
    retrieval,
)


class Params(PairParams):
    """Parameters of MoCo; the defaults are for small images, those of the papers are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-4, warmup=0.1)
    form: Literal["v2", "v3"] = Field("v2", description="v2: a queue; v3: symmetric, prediction head, no queue")
    queue: int | None = Field(None, ge=2, description="of v2; null = 2048, or what the budget fills (paper: 65536)")
    norm_groups: int = Field(4, ge=1, description="groups of a batch with batch norms of their own, of v2; 1 = none")
    momentum: float = Field(0.99, ge=0, le=1, description="of the keys' network; in v3 it rises to 1 (v2: 0.999)")
    temperature: float = Field(0.2, gt=0, le=10, description="tau (v2: 0.2; v3: 1 for residual networks)")
    head_dim: int = Field(128, ge=2, description="of queries and keys (v2: 128, v3: 256)")
    head_hidden: int = Field(512, ge=2, description="hidden units of the heads (v2: 2048, v3: 4096)")


@in_float32
def with_queue(q: Tensor, k: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Equation 1 for queries and keys (N, D) and the keys of earlier batches (K, D): mean over images, nats."""
    q, k = F.normalize(q, dim=1), F.normalize(k.detach(), dim=1)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.to(q.dtype).T], 1) / temperature  # (N, 1 + K)
    return F.cross_entropy(logits, logits.new_zeros(len(q), dtype=torch.int64))


def within_batch(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """ctr(q, k) of v3, (n, D) each, against the keys of all processes; the factor 2 tau is in it."""
    return 2 * temperature * info_nce(q, k.detach(), temperature)


class MoCo(PairMethod[Params]):
    """The encoder, a projection head of two layers, their twin, and a queue (v2) or a prediction head (v3).

    The heads of v3 on a vision transformer are the authors' for it: a layer more, and a last norm of the prediction.
    """

    api_version = 1
    reference = "He 2020, Momentum contrast, arXiv:1911.05722; Chen 2020, arXiv:2003.04297; Chen 2021, arXiv:2104.02057"
    search = {"momentum": (0.95, 0.99, 0.996), "temperature": (0.1, 0.2, 0.5)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        queued = params.form == "v2"
        require_batch("moco", data, least=2 if queued else BY_VIEW, whole=not queued)
        sizes = (params.head_hidden, params.head_dim)
        if queued:
            require_groups("moco", data.part, params.norm_groups)
            self.projector, self.predictor = mlp(encoder.dim, *sizes, norm=False), None
            size = queue_size("moco", params.queue, 2048, data)
            self.queue = Queue(size, params.head_dim, batch=data.batch, owner="moco")
        else:
            tokens = isinstance(encoder, TokenEncoder)
            deeper = (params.head_hidden,) if tokens else ()
            self.projector = mlp(encoder.dim, *deeper, *sizes, last_norm="plain")
            self.predictor = mlp(params.head_dim, *sizes, last_norm="plain" if tokens else "none", last_bias=False)
        self.twin = Twin(encoder, self.projector)

    def loss(self, batch: Batch) -> Loss:
        """Equation 1 with the queue, whose new keys are staged; or both directions of v3."""
        require_images("moco", len(batch.index))
        if self.predictor is None:
            return self._queued(batch.views)
        q1, q2 = (self.predictor(z) for z in self.project(batch.views))
        k1, k2 = encode(self.twin, batch.views[:2])
        tau = self.params.temperature
        return Loss(within_batch(q1, k2, tau) + within_batch(q2, k1, tau))

    def _queued(self, views: tuple[Tensor, ...]) -> Loss:
        count = self.params.norm_groups if self.training else 1
        require_groups("moco", len(views[0]), count)
        of_queries, of_keys = crossing_groups(len(views[0]), count)
        q = self.projector(in_groups(self.encoder, views[0], of_queries))
        k = in_groups(self.twin, views[1], of_keys)
        total = with_queue(q, k, self.queue.rows, self.params.temperature)
        return Loss(total, {"retrieval": retrieval(q, k, self.queue.rows)}, {"keys": F.normalize(k.float(), dim=1)})

    def after_step(self, progress: float, staged: Mapping[str, Tensor]) -> None:
        """Move the keys' network, once per optimizer step, and let the keys of this step into the queue."""
        momentum = self.params.momentum if self.predictor is None else cosine_momentum(self.params.momentum, progress)
        self.twin.follow(momentum, self.encoder, self.projector)
        if self.predictor is None:
            self.queue.enter(staged["keys"], progress)

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Queries (B, D) of the first views, keys (B, D) of the second, and the keys of v2's queue, (K, D)."""
        (h,), (k,) = encode(self.encoder, batch.views[:1]), encode(self.twin, batch.views[1:2])
        q = self.projector(h)
        return (q, k, self.queue.rows) if self.predictor is None else (self.predictor(q), k, None)

    def show(self, batch: Batch) -> list[Picture]:
        """The views, cosines of queries and keys, and of v2 each query's own key with the nearest keys of the queue."""
        q, k, queue = self._seen(batch)
        return [*pair_pictures(batch.views, q, k), *([] if queue is None else [hardest_keys(q, k, queue)])]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank and closeness of queries and keys; how often a query's own key is the nearest of all keys."""
        q, k, queue = self._seen(batch)
        chance = 1 / (len(k) if queue is None else len(queue) + 1)
        return {**pair_health(q, k), "retrieval": float(retrieval(q, k, queue)), "retrieval_chance": chance}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the queries; queries that do not find their keys."""
        symptoms = collapse(health, "lower optimizer.lr, raise `momentum`, or use more negatives (`queue`, batch size)")
        if health["retrieval"] < 3 * health["retrieval_chance"] < 0.5:
            symptoms.append(
                f"queries do not find their keys: {health['retrieval']:.3f}, near chance; train longer, or make views "
                "more alike (crop_min up, colour down)"
            )
        return symptoms
