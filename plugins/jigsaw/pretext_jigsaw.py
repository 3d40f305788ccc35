"""Jigsaw: in which order do the tiles lie? (Noroozi and Favaro 2016, https://arxiv.org/abs/1603.09246)

An image is cut into a grid of cells and a tile is taken from inside each. Every tile goes through the same encoder; the
features, in the order of one of P permutations, are joined, and a linear layer says which permutation it was:

    loss = -(1 / BK) sum_i sum_k log p_l(ik)(f(t_i,pi(1)), ..., f(t_i,pi(9)))    pi = permutation l(ik)

over K puzzles of each of B images, in nats; ln P is chance. Position j of puzzle l shows tile `permutations[l, j]`.
What would give the answer away is taken out: tiles are cut with a shift of their own (edges do not continue),
standardised one by one (light does not continue), their channels shifted against each other (nor does chromatic
aberration), and some images are grey.
"""

import functools
import itertools
import math
from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data, Loss, Picture, PretextMethod
from pretextbench.params import Fraction, MethodParams, OptimizerParams
from pretextbench.recipe import Grayscale, HorizontalFlip, PadCrop, Recipe, augmented

LEAST_CELL = 4  # pixels; a smaller cell has no room for a tile and its shift
EPS = 1e-2  # of a tile's standard deviation, on the [0, 1] scale: flat tiles stay flat


class Params(MethodParams):
    """Parameters of jigsaw; the paper's numbers are for images of 225 px and AlexNet."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=4e-3, weight_decay=1e-4, warmup=0.1)
    grid: Literal[2, 3] = Field(3, description="cells on a side (paper: 3)")
    permutations: int = Field(30, ge=2, le=1000, description="P, classes to tell apart (paper: 1000)")
    puzzles: int = Field(4, ge=1, le=64, description="K, permutations of each image in a step (paper: 1)")
    tile: float = Field(0.8, gt=0, lt=1, description="side of a tile, share of the cell's (paper: 64 / 75)")
    channel_shift: int | None = Field(
        None, ge=0, description="pixels between channels; null = 2 in 225 px (paper), so none at 32 px"
    )
    grayscale: Fraction = Field(0.3, description="probability of dropping colour (paper: 0.3)")
    padding: int | None = Field(None, ge=0, description="pixels of random shift of the image; null = an eighth of it")
    features: int = Field(128, ge=2, description="of each tile, before they are joined (paper: 512)")

    @model_validator(mode="after")
    def _check_permutations(self) -> Self:
        most = math.factorial(self.grid**2)
        if self.permutations > most:
            raise ValueError(f"a grid of {self.grid} has {most} permutations, found permutations: {self.permutations}")
        return self


@functools.cache
def permutation_set(tiles: int, count: int) -> np.ndarray:
    """`count` permutations far apart, uint8 (count, tiles): each next one maximises the least Hamming distance.

    Algorithm 1 of the paper, with the minimum in place of the mean; ties go to the largest mean, then to the draw of a
    fixed generator, so that label l names the same permutation in every run.
    """
    every = np.array(list(itertools.permutations(range(tiles))), np.uint8)  # (tiles!, tiles)
    every = np.random.default_rng(0).permutation(every)
    least, total = np.full(len(every), tiles, np.int64), np.zeros(len(every), np.int64)
    chosen = [0]
    while len(chosen) < count:
        distance = (every != every[chosen[-1]]).sum(1)
        least, total = np.minimum(least, distance), total + distance
        chosen.append(int((least * (tiles * count + 1) + total).argmax()))
    return every[chosen]


def cut(x: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """Squares of `side` pixels from x (B, 3, H, W) at top, left (B, T, 3), per channel: (B, T, 3, side, side)."""
    steps = torch.arange(side, device=x.device)
    rows, columns = top[..., None] + steps, left[..., None] + steps  # (B, T, 3, side)
    image = torch.arange(len(x), device=x.device).view(-1, 1, 1, 1, 1)
    channel = torch.arange(3, device=x.device).view(-1, 1, 1)
    return x[image, channel, rows[..., :, None], columns[..., None, :]]


def standardised(tiles: Tensor) -> Tensor:
    """Every channel of every tile to mean 0 and deviation 1: (..., H, W) to the same."""
    centred = tiles - tiles.mean((-2, -1), keepdim=True)
    return centred / (centred.square().mean((-2, -1), keepdim=True).sqrt() + EPS)


class Jigsaw(PretextMethod[Params]):
    """The encoder on every tile; a layer with norm and ReLU per tile; the tiles joined in order; P outputs."""

    api_version = 1
    reference = (
        "Noroozi 2016, Unsupervised learning of visual representations by solving jigsaw puzzles, arXiv:1603.09246"
    )
    search = {"permutations": (30, 100), "grayscale": (0.0, 0.3)}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.tiles, self.cell = params.grid**2, data.image_size // params.grid
        if self.cell < LEAST_CELL:
            least = LEAST_CELL * params.grid
            raise UserError(
                f"Jigsaw needs images of at least {least} px for a grid of {params.grid}, found {data.image_size} px."
            )
        self.side = min(self.cell - 1, max(1, round(params.tile * self.cell)))
        shift = round(2 * data.image_size / 225) if params.channel_shift is None else params.channel_shift
        self.shift = min(shift, (self.cell - self.side) // 2)
        table = torch.from_numpy(permutation_set(self.tiles, params.permutations)).long()
        self.register_buffer("permutations", table)  # (P, tiles)
        self.tile = nn.Sequential(
            nn.Linear(encoder.dim, params.features, bias=False), nn.BatchNorm1d(params.features), nn.ReLU(inplace=True)
        )
        self.head = nn.Linear(self.tiles * params.features, params.permutations)

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """One view: shift, flip, sometimes grey. The puzzle is the task, not an augmentation."""
        padding = image_size // 8 if params.padding is None else params.padding
        return augmented(
            *([PadCrop(padding=padding)] if padding else []), HorizontalFlip(), Grayscale(p=params.grayscale)
        )

    def places(self, images: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Top and left of every tile in the image, drawn: each (B, tiles, 3), row-major, inside the tile's own cell."""
        spare, edge = self.cell - self.side, (self.data.image_size - self.params.grid * self.cell) // 2
        corner = torch.arange(self.params.grid, device=device) * self.cell + edge
        top, left = corner.repeat_interleave(self.params.grid), corner.repeat(self.params.grid)
        drawn = torch.randint(self.shift, spare - self.shift + 1, (2, images, self.tiles, 1), device=device)
        apart = torch.randint(-self.shift, self.shift + 1, (2, images, self.tiles, 3), device=device)
        inside = drawn + apart
        return top[:, None] + inside[0], left[:, None] + inside[1]

    def encode(self, tiles: Tensor) -> Tensor:
        """Tiles (B, T, 3, side, side) as cut to features (B, T, features); the encoder sees them standardised."""
        mean, std = self.encoder.get_buffer("mean"), self.encoder.get_buffer("std")
        x = (standardised(tiles) * std + mean).flatten(0, 1)  # what the encoder's own normalisation undoes
        features: Tensor = self.tile(self.encoder(x.contiguous(memory_format=torch.channels_last))).unflatten(
            0, tiles.shape[:2]
        )
        return features

    def arrange(self, tiles: Tensor, labels: Tensor) -> Tensor:
        """(B, T, ...) and labels (B, K) to (B, K, T, ...): position j holds tile permutations[label, j]."""
        order = self.get_buffer("permutations")[labels]  # (B, K, T)
        return tiles[torch.arange(len(tiles), device=tiles.device)[:, None, None], order]

    def logits(self, tiles: Tensor, labels: Tensor) -> Tensor:
        """Tiles (B, T, 3, side, side) in place and labels (B, K) to the scores of every puzzle: (B, K, P), float32.

        The towers share their weights, so that the features are put in order, not the pixels: one pass for K puzzles.
        """
        logits: Tensor = self.head(self.arrange(self.encode(tiles), labels).flatten(2)).float()
        return logits

    def puzzles(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tiles (B, T, 3, side, side), labels (B, K) and logits (B, K, P) of images x, freshly drawn."""
        tiles = cut(x, *self.places(len(x), x.device), self.side)
        shape = (len(x), self.params.puzzles)
        labels = torch.randint(self.params.permutations, shape, device=x.device)
        return tiles, labels, self.logits(tiles, labels)

    def loss(self, batch: Batch) -> Loss:
        """Mean cross-entropy over all puzzles, in nats, and the share that is solved."""
        _, labels, logits = self.puzzles(batch.views[0])
        accuracy = (logits.argmax(2) == labels).float().mean()
        return Loss(F.cross_entropy(logits.flatten(0, 1), labels.flatten()), {"accuracy": accuracy})

    def show(self, batch: Batch) -> list[Picture]:
        """Each image, a puzzle of it, and the puzzle put together as the network says."""
        x = batch.views[0]
        tiles, labels, logits = self.puzzles(x)
        truth, predicted = labels[:, :1], logits[:, :1].argmax(2)
        puzzle = self.arrange(tiles, truth)[:, 0]
        back = self.get_buffer("permutations")[predicted[:, 0]].argsort(1)  # where each tile would lie, were it so
        solved = puzzle[torch.arange(len(x), device=x.device)[:, None], back]
        images = torch.stack([x, self._spread(puzzle), self._spread(solved)], 1)
        captions = tuple(
            ("", f"order {a}", f"says {b}") for a, b in zip(truth[:, 0].tolist(), predicted[:, 0].tolist(), strict=True)
        )
        return [Picture("puzzles", ("image", "puzzle", "as the network puts it"), images, captions)]

    def _spread(self, tiles: Tensor) -> Tensor:
        """Tiles (B, T, 3, side, side) on white, each in the middle of its cell: (B, 3, H, W)."""
        grid, size = self.params.grid, self.data.image_size
        before, room = (self.cell - self.side) // 2, self.cell - self.side
        framed = F.pad(tiles, (before, room - before, before, room - before), value=1.0)
        page = (
            framed.unflatten(1, (grid, grid)).permute(0, 3, 1, 4, 2, 5).reshape(len(tiles), 3, *(grid * self.cell,) * 2)
        )
        edge = size - grid * self.cell
        return F.pad(page, (edge // 2, edge - edge // 2, edge // 2, edge - edge // 2), value=1.0)

    def health(self, batch: Batch) -> dict[str, float]:
        """Accuracy and loss on held-out images, and chance."""
        _, labels, logits = self.puzzles(batch.views[0])
        return {
            "jigsaw_accuracy": float((logits.argmax(2) == labels).float().mean()),
            "jigsaw_chance": 1 / self.params.permutations,
            "jigsaw_loss": float(F.cross_entropy(logits.flatten(0, 1), labels.flatten())),
            "jigsaw_chance_loss": math.log(self.params.permutations),
        }

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """A loss at ln P: the network does not see the order."""
        if health["jigsaw_loss"] < health["jigsaw_chance_loss"] - 0.1:
            return []
        return [
            f"jigsaw loss {health['jigsaw_loss']:.2f} is at chance ({health['jigsaw_chance_loss']:.2f}): the images "
            "may look alike everywhere (texture), the budget is too small for so many permutations, or the rate is off"
        ]
