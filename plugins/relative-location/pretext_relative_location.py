"""Relative patch location: where does this patch lie beside that one? (Doersch 2015, https://arxiv.org/abs/1505.05192)

Nine patches are cut from every image in a 3x3 grid, with gaps between them and a shift for each. The centre and one of
its eight neighbours go through the same encoder; their features are joined, and the head says which neighbour it is:

    loss = -(1 / 8B) sum_i sum_k log p_k(f(centre_i), f(neighbour_ik))        in nats; ln 8 = 2.079 is chance

Neighbours are numbered row by row without the centre, 0 (above left) to 7 (below right): seen from the other patch,
k is 7 - k. Lenses bend colours apart and so tell where in the image a patch was; two of three channels are therefore
replaced by noise, or the axis green - magenta is projected out.
"""

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data, Loss, Picture, PretextMethod
from pretextbench.params import Fraction, MethodParams, OptimizerParams
from pretextbench.recipe import Grayscale, HorizontalFlip, PadCrop, Recipe, augmented

PLACES = ("above left", "above", "above right", "left", "right", "below left", "below", "below right")
CHANCE = 1 / len(PLACES)
CHANCE_LOSS = math.log(len(PLACES))
NEIGHBOURS = (0, 1, 2, 3, 5, 6, 7, 8)  # of the centre, 4, in the row-major grid
NOISE = 0.01  # deviation of what replaces a channel, share of the kept channel's (paper: about 1 / 100)
LEAST_SIDE = 10  # pixels that a patch keeps when it is downsampled (paper: 100 pixels in all)


class Params(MethodParams):
    """Parameters of relative location; the paper's numbers are for patches of 96 px."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=4e-3, weight_decay=1e-4, warmup=0.1)
    patch: float = Field(0.25, gt=0, lt=0.33, description="side of a patch, share of the image's (8 px at 32)")
    jitter: float = Field(
        0.07, ge=0, le=0.25, description="shift of each patch, share of its side, at least 1 px (paper: 7 / 96)"
    )
    pairs: Literal["all", "one"] = Field("all", description="neighbours of each image in a step (paper: one)")
    colour: Literal["project", "drop", "keep"] = Field(
        "project", description="against chromatic aberration (paper: project or drop)"
    )
    downsample: Fraction = Field(
        0.5, description="probability that a patch of more than 10 px loses resolution (paper: some)"
    )
    grayscale: Fraction = Field(0.0, description="probability of a grey image (paper: none)")
    padding: int | None = Field(None, ge=0, description="pixels of random shift of the image; null = an eighth of it")
    hidden: int = Field(256, ge=2, description="units of the head (paper: 4096)")


def projection() -> Tensor:
    """B = I - a^T a / (a a^T) for a = (-1, 2, -1), green against magenta: (3, 3), of rank 2."""
    a = torch.tensor([[-1.0, 2.0, -1.0]])
    return torch.eye(3) - a.T @ a / (a @ a.T)


def drop_colour(x: Tensor) -> Tensor:
    """Patches (..., 3, H, W) of mean 0: one channel of each, drawn, stays; elsewhere noise of 1/100 its deviation."""
    kept = torch.randint(3, (*x.shape[:-3], 1, 1, 1), device=x.device)
    channel = torch.arange(3, device=x.device).view(3, 1, 1)
    grey = x.gather(-3, kept.expand(*x.shape[:-3], 1, *x.shape[-2:]))
    noise = NOISE * grey.std((-2, -1), correction=0, keepdim=True) * torch.randn_like(x)
    return torch.where(channel == kept, x, noise)


def blurred(x: Tensor, probability: float) -> Tensor:
    """Patches (B, T, 3, side, side): some, drawn, brought down to a drawn side of at least 10 px and back."""
    side = x.shape[-1]
    if side <= LEAST_SIDE or not probability:
        return x
    small = int(torch.randint(LEAST_SIDE, side, ()))
    flat = F.interpolate(x.flatten(0, 1), size=(small, small), mode="bilinear", antialias=True)
    back = F.interpolate(flat, size=(side, side), mode="bilinear").view_as(x)
    chosen = torch.rand(*x.shape[:2], 1, 1, 1, device=x.device) < probability
    return torch.where(chosen, back, x)


class RelativeLocation(PretextMethod[Params]):
    """The encoder on every patch; the features of centre and neighbour joined; linear, norm, ReLU, eight outputs."""

    api_version = 1
    reference = "Doersch 2015, Unsupervised visual representation learning by context prediction, arXiv:1505.05192"
    search = {"patch": (0.2, 0.25), "colour": ("project", "drop")}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.side = round(params.patch * data.image_size)
        self.jitter = max(1, round(params.jitter * self.side)) if params.jitter else 0
        self.gap = (data.image_size - 3 * self.side - 2 * self.jitter) // 2  # without the shifts
        if self.side < 1 or self.gap - 2 * self.jitter < 1:
            raise UserError(
                f"Three patches of {self.side} px, shifted by up to {self.jitter} px, leave no gap in images of "
                f"{data.image_size} px. Lower `patch` or `jitter` of relative-location, or take larger images."
            )
        self.register_buffer("projection", projection())
        self.register_buffer("neighbours", torch.tensor(NEIGHBOURS), persistent=False)
        self.head = nn.Sequential(
            nn.Linear(2 * encoder.dim, params.hidden, bias=False),
            nn.BatchNorm1d(params.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(params.hidden, len(PLACES)),
        )

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """One view: shift and flip, before the patches are cut: both patches of a pair are flipped together."""
        padding = image_size // 8 if params.padding is None else params.padding
        shift = [PadCrop(padding=padding)] if padding else []
        return augmented(*shift, HorizontalFlip(), *([Grayscale(p=params.grayscale)] if params.grayscale else []))

    def places(self, images: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Top and left of every patch, drawn: each (B, 9), row-major."""
        pitch = self.side + self.gap
        edge = (self.data.image_size - 2 * pitch - self.side) // 2
        corner = torch.arange(3, device=device) * pitch + edge
        shift = torch.randint(-self.jitter, self.jitter + 1, (2, images, 9), device=device)
        return corner.repeat_interleave(3) + shift[0], corner.repeat(3) + shift[1]

    def cut(self, x: Tensor, top: Tensor, left: Tensor) -> Tensor:
        """Patches of x (B, 3, H, W) at top, left (B, 9): (B, 9, 3, side, side)."""
        steps = torch.arange(self.side, device=x.device)
        rows, columns = (start[..., None, None] + steps for start in (top, left))  # (B, 9, 1, side)
        image = torch.arange(len(x), device=x.device).view(-1, 1, 1, 1, 1)
        channel = torch.arange(3, device=x.device).view(-1, 1, 1)
        return x[image, channel, rows[..., :, None], columns[..., None, :]]

    def prepare(self, patches: Tensor) -> Tensor:
        """Patches (B, 9, 3, side, side) of pixels as the encoder gets them: without what would give the place away."""
        mean = self.encoder.get_buffer("mean")
        x = blurred(patches, self.params.downsample) - mean
        if self.params.colour == "drop":
            x = drop_colour(x)
        elif self.params.colour == "project":
            x = torch.einsum("cd,btdhw->btchw", self.get_buffer("projection"), x)
        return x + mean

    def encode(self, patches: Tensor) -> Tensor:
        """Patches (B, 9, 3, side, side) as prepared to features (B, 9, dim)."""
        x = patches.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.encoder(x).unflatten(0, patches.shape[:2])
        return features

    def logits(self, features: Tensor, labels: Tensor) -> Tensor:
        """Features (B, 9, dim) and neighbours (B, K) to scores (B, K, 8), float32."""
        neighbour = self.get_buffer("neighbours")[labels]
        image = torch.arange(len(features), device=labels.device)[:, None]
        second = features[image, neighbour]  # (B, K, dim)
        joined = torch.cat([features[:, 4:5].expand_as(second), second], 2)
        logits: Tensor = self.head(joined.flatten(0, 1)).float().unflatten(0, labels.shape)
        return logits

    def labels(self, images: int, device: torch.device) -> Tensor:
        """Which neighbours are asked for: (B, 8), all of them, or (B, 1), drawn."""
        if self.params.pairs == "one":
            return torch.randint(len(PLACES), (images, 1), device=device)
        return torch.arange(len(PLACES), device=device).expand(images, -1)

    def guess(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours (B, K) and scores (B, K, 8) of images x, freshly cut."""
        patches = self.prepare(self.cut(x, *self.places(len(x), x.device)))
        labels = self.labels(len(x), x.device)
        return labels, self.logits(self.encode(patches), labels)

    def loss(self, batch: Batch) -> Loss:
        """Mean cross-entropy over all pairs, in nats, and the share that is right."""
        labels, logits = self.guess(batch.views[0])
        accuracy = (logits.argmax(2) == labels).float().mean()
        return Loss(F.cross_entropy(logits.flatten(0, 1), labels.flatten()), {"accuracy": accuracy})

    def show(self, batch: Batch) -> list[Picture]:
        """Each image, and its centre patch with each neighbour as the encoder gets them; under them the predictions."""
        x = batch.views[0]
        top, left = self.places(len(x), x.device)
        patches = self.prepare(self.cut(x, top, left))
        every = torch.arange(len(PLACES), device=x.device).expand(len(x), -1)
        predicted = self.logits(self.encode(patches), every).argmax(2).tolist()
        pages = [self._page(patches, (4, place)) for place in NEIGHBOURS]
        captions = tuple(("", *(f"says {PLACES[k]}" for k in row)) for row in predicted)
        return [Picture("pairs of patches", ("image", *PLACES), torch.stack([x, *pages], 1), captions)]

    def _page(self, patches: Tensor, shown: tuple[int, ...]) -> Tensor:
        """Patches (B, 9, 3, side, side), those shown at their places on white: (B, 3, H, W)."""
        size, pitch = self.data.image_size, self.side + self.gap
        edge = (size - 2 * pitch - self.side) // 2
        page = patches.new_ones(len(patches), 3, size, size)
        for place in shown:
            top, left = edge + place // 3 * pitch, edge + place % 3 * pitch
            page[..., top : top + self.side, left : left + self.side] = patches[:, place].clamp(0, 1)
        return page

    def health(self, batch: Batch) -> dict[str, float]:
        """Accuracy and loss on held-out images, and chance."""
        labels, logits = self.guess(batch.views[0])
        return {
            "location_accuracy": float((logits.argmax(2) == labels).float().mean()),
            "location_chance": CHANCE,
            "location_loss": float(F.cross_entropy(logits.flatten(0, 1), labels.flatten())),
            "location_chance_loss": CHANCE_LOSS,
        }

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """A loss at ln 8: the network does not see where a patch lies."""
        if health["location_loss"] < CHANCE_LOSS - 0.05:
            return []
        return [
            f"location loss {health['location_loss']:.2f} is at chance ({CHANCE_LOSS:.2f}): the images may look alike "
            "everywhere (textures), the budget may be too small, or the learning rate is wrong"
        ]
