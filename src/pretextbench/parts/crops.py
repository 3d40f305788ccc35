"""Multi-crop: large and small crops of each image; their augmentation, their passes and their pictures (Caron 2020)."""

from collections.abc import Sequence
from itertools import groupby
from typing import Self, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from pretextbench.errors import UserError
from pretextbench.method import Batch, Picture, PretextMethod
from pretextbench.parts.pairs import PairParams, encode, in_float32, pair_pictures
from pretextbench.recipe import RandomResizedCrop, Recipe, View


class MultiCropParams(PairParams):
    """Parameters of global crops, which have the image's size, and of smaller local crops of a smaller area."""

    global_views: int = Field(2, ge=2, le=16, description="global crops of each image (papers: 2)")
    local_views: int = Field(4, ge=0, le=32, description="local crops of each image (papers: 6 to 8)")
    local_size: int | None = Field(None, ge=4, description="pixels; null = half of the image (papers: 96 of 224)")
    local_min: float = Field(0.08, gt=0, le=1, description="smallest share of the area in a local crop (papers: 0.05)")
    local_max: float = Field(0.4, gt=0, le=1, description="largest share of the area in a local crop (papers: 0.14)")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.local_min > self.local_max:
            raise ValueError(f"`local_min` is above `local_max`: {self.local_min} and {self.local_max}")
        return self

    def crops(self, image_size: int) -> Recipe:
        """First the global crops, then the local ones; `solarize` acts in all global crops but the first.

        Raises:
            UserError: a local crop is larger than the image.
        """
        *first, last = self.pair(image_size).views
        large = (*first, last.model_copy(update={"draws": self.global_views - len(first)}))
        if not self.local_views:
            return Recipe(views=large)
        size = self.local_size or max(image_size // 2, 1)
        if size > image_size:
            raise UserError(
                f"A local crop of {size} px is larger than the images, which have {image_size} px. Lower `local_size`, "
                "or leave it out: a local crop is then half as large as the image."
            )
        _, *ops = self.view(image_size)
        crop = RandomResizedCrop(scale=(self.local_min, self.local_max))
        return Recipe(views=(*large, View(ops=(crop, *ops), size=size, draws=self.local_views)))


P = TypeVar("P", bound=MultiCropParams)


class MultiCropMethod(PretextMethod[P]):
    """A method that compares large and small crops of each image by a head, which its constructor makes.

    Here are the augmentation, the embeddings and their pictures; a method adds its loss and its signs of health.
    """

    head: nn.Module  # (B, encoder.dim) -> (B, D)

    @classmethod
    def recipe(cls, params: P, image_size: int) -> Recipe:
        """Global and local crops with flip, colour jitter, grey and, on larger images, blur."""
        return params.crops(image_size)

    def project(self, views: Sequence[Tensor]) -> Tensor:
        """Embeddings of all crops, (V, B, D)."""
        return torch.stack(encode_crops(self.encoder, self.head, views))

    def show(self, batch: Batch) -> list[Picture]:
        """The crops of each image, and the cosines of the embeddings of the first two."""
        z1, z2, *_ = self.project(batch.views)
        return crop_pictures(self.params, batch.views, z1, z2)


def encode_crops(encoder: nn.Module, head: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
    """The head's outputs of each view, (B, D): one pass of the encoder for all views of a size, one of the head.

    Batch norm of the encoder sees all crops of a size together, that of the head all crops.
    """
    groups = (list(group) for _, group in groupby(views, key=lambda view: view.shape[-1]))
    features = torch.cat([h for group in groups for h in encode(encoder, [torch.cat(group)])])
    return list(head(features).chunk(len(views)))


@in_float32
def cross_view_entropy(targets: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of targets with the predictions of all other views: a scalar; the targets get no gradient.

    The mean over pairs of a target and another view, and over images.

    Args:
        targets: (G, B, K) of the first G views; the last dimension sums to 1.
        scores: (V, B, K) of all views; the prediction is softmax(scores / temperature).
        temperature: of the predictions.
    """
    logs = (scores / temperature).log_softmax(-1)
    costs = -torch.einsum("gbk,vbk->gv", targets.detach(), logs) / targets.shape[1]
    between = 1 - torch.eye(*costs.shape, dtype=costs.dtype, device=costs.device)  # 0 for a view and itself
    total: Tensor = (costs * between).sum() / between.sum()
    return total


def crop_pictures(params: MultiCropParams, views: Sequence[Tensor], z1: Tensor, z2: Tensor) -> list[Picture]:
    """All crops of each image, small ones in a white frame, and the cosines of two views' embeddings (B, D)."""
    side, count = views[0].shape[-1], params.global_views
    names = [f"global {i + 1}" if i < count else f"local {i + 1 - count}" for i in range(len(views))]
    framed = [_framed(view, side) for view in views]
    _, cosines = pair_pictures(views, z1, z2)
    return [Picture("crops", tuple(names), torch.stack(framed, 1)), cosines]


def _framed(view: Tensor, side: int) -> Tensor:
    """A view (B, 3, H, W) in the middle of white images (B, 3, side, side)."""
    before, after = (side - view.shape[-1]) // 2, (side - view.shape[-1] + 1) // 2
    return F.pad(view, (before, after, before, after), value=1.0)
