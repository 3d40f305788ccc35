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
from torch import Tensor, nn

from pretextbench.distributed import gather, rank
from pretextbench.encoder import Encoder
from pretextbench.measures import alignment, effective_rank, feature_std, uniformity
from pretextbench.method import Batch, Data, Loss, Picture, PretextMethod
from pretextbench.params import Fraction, MethodParams, OptimizerParams
from pretextbench.recipe import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    RandomResizedCrop,
    Recipe,
    augmented,
)


class Params(MethodParams):
    """Parameters of SimCLR; the defaults are for small images, the paper's are named beside them."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=6e-3, weight_decay=1e-4, warmup=0.1)
    temperature: float = Field(0.2, gt=0, le=10, description="tau (paper: 0.1 on ImageNet, 0.5 on CIFAR-10)")
    head_dim: int = Field(128, ge=2, description="of z (paper: 128)")
    head_hidden: int | None = Field(None, ge=2, description="hidden units of g; null = the encoder's dim (paper)")
    crop_min: float = Field(0.2, gt=0, le=1, description="smallest share of the area in a crop (paper: 0.08)")
    colour: float = Field(0.5, ge=0, le=1, description="strength s of colour distortion (paper: 1; 0.5 on CIFAR-10)")
    grayscale: Fraction = Field(0.2, description="probability of dropping colour (paper: 0.2)")
    blur: Fraction | None = Field(None, description="probability of blur; null = 0 up to 64 px, 0.5 above (paper)")


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Equation 10 for views z1, z2, each (N, D), pair i = (z1[i], z2[i]); scalar in nats.

    The views are stacked, [z1; z2], so that the positive of row i is row i + N. Across processes every row meets the
    rows of all of them, and the mean of the processes' losses is the loss of the whole batch. float32 at least: in half
    precision exp(1 / tau) overflows for tau below 0.09.
    """
    wide = torch.promote_types(z1.dtype, torch.float32)
    with torch.autocast(z1.device.type, enabled=False):
        a, b = F.normalize(z1.to(wide), dim=1), F.normalize(z2.to(wide), dim=1)  # (n, D) of this process
        all_a, all_b = gather(a), gather(b)  # (N, D) of all of them
        n, total, first = len(a), len(all_a), rank() * len(a)
        logits = torch.cat([a, b]) @ torch.cat([all_a, all_b]).T / temperature  # (2n, 2N)
        rows = torch.arange(n, device=a.device) + first
        me, partner = torch.cat([rows, rows + total]), torch.cat([rows + total, rows])
        logits = logits.scatter(1, me[:, None], float("-inf"))  # k != i
        return F.cross_entropy(logits, partner)


class SimCLR(PretextMethod[Params]):
    """The encoder f and a projection head g: linear, norm, ReLU, linear, norm."""

    api_version = 1
    reference = "Chen 2020, A simple framework for contrastive learning of visual representations, arXiv:2002.05709"

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        hidden = params.head_hidden or encoder.dim
        self.head = nn.Sequential(
            nn.Linear(encoder.dim, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, params.head_dim, bias=False),
            nn.BatchNorm1d(params.head_dim),
        )

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """Two draws of crop, flip, colour jitter, grey and (on larger images) blur (paper, appendix A)."""
        s = params.colour
        blur = params.blur if params.blur is not None else (0.5 if image_size > 64 else 0.0)
        return augmented(
            RandomResizedCrop(scale=(params.crop_min, 1.0)),
            HorizontalFlip(),
            ColorJitter(brightness=0.8 * s, contrast=0.8 * s, saturation=0.8 * s, hue=0.2 * s),
            Grayscale(p=params.grayscale),
            *([GaussianBlur(p=blur)] if blur else []),
            draws=2,
        )

    def project(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """z of both views, each (B, head_dim); one pass for both, so that batch norm sees them together."""
        z = self.head(self.encoder(torch.cat(views[:2]).contiguous(memory_format=torch.channels_last)))
        z1, z2 = z.chunk(2)
        return z1, z2

    def loss(self, batch: Batch) -> Loss:
        """NT-Xent of the two views, and how often the positive is the nearest of all."""
        z1, z2 = self.project(batch.views)
        return Loss(nt_xent(z1, z2, self.params.temperature), {"retrieval": retrieval(z1.detach(), z2.detach())})

    def show(self, batch: Batch) -> list[Picture]:
        """The two views of each image, and the cosines of all views with each other (white: alike)."""
        z = F.normalize(torch.cat(self.project(batch.views)).float(), dim=1)
        cosines = ((z @ z.T + 1) / 2).expand(3, -1, -1)  # (3, 2B, 2B)
        views = Picture("two views", ("view 1", "view 2"), torch.stack(batch.views[:2], 1))
        return [views, Picture("cosine of views", ("",), cosines[None, None])]

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread and rank of z, closeness of pairs, and how often a view finds its partner among all views."""
        z1, z2 = (F.normalize(z.float(), dim=1) for z in self.project(batch.views))
        return {
            "projection_std": feature_std(z1),
            "projection_rank": effective_rank(z1),
            "alignment": alignment(z1, z2),
            "uniformity": uniformity(z1),
            "retrieval": float(retrieval(z1, z2)),
            "retrieval_chance": 1 / (2 * len(z1) - 1),
        }

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """Collapse of the projection, and views that do not find each other."""
        symptoms = []
        if health["projection_std"] < 0.3:
            word = "collapsed" if health["projection_std"] < 0.05 else "is collapsing"
            symptoms.append(
                f"the projection {word}: standard deviation {health['projection_std']:.2f} of a healthy 1; lower "
                "optimizer.lr, or raise the batch size: other images are what keeps views apart"
            )
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
