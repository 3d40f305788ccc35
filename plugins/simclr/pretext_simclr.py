"""SimCLR: two views of one image are alike, views of different images are not (Chen 2020, arXiv:2002.05709).

Two random views of every image go through encoder f and projection head g: z = g(f(x)). Equations 8 to 10 of the
lesson, which are equation 1 of the paper and its average, with sim the cosine and tau the temperature:

    loss(i, j) = -log( exp(sim(z_i, z_j) / tau) / sum_{k != i} exp(sim(z_i, z_k) / tau) )    over all 2N views k
    loss       = (1 / 2N) sum_k [loss(2k - 1, 2k) + loss(2k, 2k - 1)]                        in nats

The denominator holds the positive, so the loss is above zero always; ln(2N - 1) when all z are equal. (The authors'
TensorFlow code returns exactly twice this value.) The head is thrown away; f is what is kept.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pretextbench.distributed import gather, rank
from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss
from pretextbench.params import OptimizerParams
from pretextbench.parts import (
    PairMethod,
    PairParams,
    collapse,
    in_float32,
    mlp,
    pair_health,
    require_batch,
    require_images,
)


class Params(PairParams):
    """Parameters of SimCLR; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=6e-3, weight_decay=1e-4, warmup=0.1)
    temperature: float = Field(0.2, gt=0, le=10, description="tau (paper: 0.1 on ImageNet, 0.5 on CIFAR-10)")
    head_dim: int = Field(128, ge=2, description="of z (paper: 128)")
    head_hidden: int | None = Field(None, ge=2, description="hidden units of g; null = the encoder's dim (paper)")
    decoupled: bool = Field(False, description="leave the positive out of the denominator (DCL, Yeh 2022)")


@in_float32
def nt_xent(z1: Tensor, z2: Tensor, temperature: float, decoupled: bool = False) -> Tensor:
    """Equation 10 for views z1, z2, each (N, D), pair i = (z1[i], z2[i]); scalar in nats.

    The views are stacked, [z1; z2], so that the positive of row i is row i + N. Across processes every row meets the
    rows of all of them, and the mean of the processes' losses is the loss of the whole batch. `decoupled`: the
    denominator holds the 2N - 2 negatives alone (Yeh 2022, arXiv:2110.06848, equation 6); it can be below zero.
    """
    a, b = F.normalize(z1, dim=1), F.normalize(z2, dim=1)  # (n, D) of this process
    all_a, all_b = gather(a), gather(b)  # (N, D) of all of them
    n, total, first = len(a), len(all_a), rank() * len(a)
    logits = torch.cat([a, b]) @ torch.cat([all_a, all_b]).T / temperature  # (2n, 2N)
    rows = torch.arange(n, device=a.device) + first
    me, partner = torch.cat([rows, rows + total]), torch.cat([rows + total, rows])
    logits = logits.scatter(1, me[:, None], float("-inf"))  # k != i
    if not decoupled:
        return F.cross_entropy(logits, partner)
    negatives = logits.scatter(1, partner[:, None], float("-inf"))
    return (negatives.logsumexp(1) - logits.gather(1, partner[:, None])[:, 0]).mean()


class SimCLR(PairMethod[Params]):
    """The encoder f and a projection head g: linear, norm, ReLU, linear, norm."""

    api_version = 1
    reference = "Chen 2020, A simple framework for contrastive learning of visual representations, arXiv:2002.05709"
    search = {"temperature": (0.1, 0.2, 0.5)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        require_batch("simclr", data, whole=True)
        self.projector = mlp(encoder.dim, params.head_hidden or encoder.dim, params.head_dim, last_norm="affine")

    def project(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """z of both views, each (B, head_dim); one pass for both, so that batch norm sees them together."""
        z = self.projector(self.encoder(torch.cat(views[:2]).contiguous(memory_format=torch.channels_last)))
        z1, z2 = z.chunk(2)
        return z1, z2

    def loss(self, batch: Batch) -> Loss:
        """NT-Xent of the two views, and how often the positive is the nearest of all."""
        if self.params.decoupled:
            require_images("simclr", len(batch.index))  # a single image has no negatives
        z1, z2 = self.project(batch.views)
        total = nt_xent(z1, z2, self.params.temperature, self.params.decoupled)
        return Loss(total, {"retrieval": retrieval(z1.detach(), z2.detach())})

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread and rank of z, closeness of pairs, and how often a view finds its partner among all views."""
        z1, z2 = self.project(batch.views)
        chance = 1 / (2 * len(z1) - 1)
        return {**pair_health(z1, z2), "retrieval": float(retrieval(z1, z2)), "retrieval_chance": chance}

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the projection, and views that do not find each other."""
        advice = "lower optimizer.lr, or raise the batch size: other images are what keeps views apart"
        symptoms = collapse(health, advice)
        if health["retrieval"] < 3 * health["retrieval_chance"] < 0.5:  # among a handful of views chance is high
            symptoms.append(
                f"views do not find their partners: {health['retrieval']:.3f}, near chance; train longer, or make "
                "views more alike (crop_min up, colour down)"
            )
        return symptoms


def retrieval(z1: Tensor, z2: Tensor) -> Tensor:
    """Share of views whose most similar other view is their partner."""
    z = F.normalize(torch.cat([z1, z2]).float(), dim=1)
    nearest = (z @ z.T).fill_diagonal_(-2).argmax(1)
    partner = torch.arange(len(z), device=z.device).roll(len(z1))
    return (nearest == partner).float().mean()
