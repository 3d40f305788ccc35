"""Methods with two views of each image: their augmentation, their passes, their pictures and their signs of health."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pretextbench.errors import UserError
from pretextbench.measures import alignment, effective_rank, feature_std, uniformity
from pretextbench.method import Batch, Data, Picture, PretextMethod
from pretextbench.params import Fraction, MethodParams
from pretextbench.recipe import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Op,
    RandomResizedCrop,
    Recipe,
    Solarize,
    View,
)

BLUR_ABOVE = 64  # pixels: on smaller images blur takes away what there is to see
BY_VIEW = 3  # images: of two, a batch norm makes -1 and 1 whatever they show, and hardly a gradient comes through
COLLAPSING, COLLAPSED = 0.3, 0.05  # of the deviation on the unit sphere, where 1 is healthy
DIRECTIONS = 3  # effective rank below which few are used; trained methods have 5 to 60
Result = TypeVar("Result")


class PairParams(MethodParams):
    """Parameters of two views of an image: crop, flip, colour jitter, grey, blur and solarisation."""

    crop_min: float = Field(0.2, gt=0, le=1, description="smallest share of the area in a crop (papers: 0.08)")
    colour: float = Field(0.5, ge=0, le=1, description="strength of colour distortion (SimCLR: 1; 0.5 on CIFAR-10)")
    grayscale: Fraction = Field(0.2, description="probability of dropping colour (papers: 0.2)")
    blur: Fraction | None = Field(None, description="probability of blur; null = 0 up to 64 px, 0.5 above")
    solarize: Fraction = Field(0.0, description="probability of solarisation, in the second view (BYOL: 0.2)")

    def pair(self, image_size: int) -> Recipe:
        """Two views of each image; with `solarize` the second view is of another kind than the first."""
        ops, s = self.view(image_size), self.solarize
        if not s:
            return Recipe(views=(View(ops=ops, draws=2),))
        return Recipe(views=(View(ops=ops), View(ops=(*ops, Solarize(p=s)))))

    def view(self, image_size: int) -> tuple[Op, ...]:
        """Operations of one view (Chen 2020, appendix A)."""
        s, blur = self.colour, self.blur
        if blur is None:
            blur = 0.5 if image_size > BLUR_ABOVE else 0.0
        return (
            RandomResizedCrop(scale=(self.crop_min, 1.0)),
            HorizontalFlip(),
            ColorJitter(brightness=0.8 * s, contrast=0.8 * s, saturation=0.8 * s, hue=0.2 * s),
            Grayscale(p=self.grayscale),
            *([GaussianBlur(p=blur)] if blur else []),
        )


P = TypeVar("P", bound=PairParams)


class PairMethod(PretextMethod[P]):
    """A method that compares two views of each image by a projection head, which its constructor makes.

    Here are the augmentation, the projections, their pictures and their signs of health; a method adds its loss.
    """

    projector: nn.Module  # (B, encoder.dim) -> (B, D)

    @classmethod
    def recipe(cls, params: P, image_size: int) -> Recipe:
        """Two views of crop, flip, colour jitter, grey and, on larger images, blur; `solarize` in the second."""
        return params.pair(image_size)

    def project(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Projections of both views, each (B, D); batch norm sees one view at a time."""
        z1, z2 = (self.projector(h) for h in encode(self.encoder, views[:2]))
        return z1, z2

    def show(self, batch: Batch) -> list[Picture]:
        """The two views of each image, and the cosines of all projections with each other."""
        return pair_pictures(batch.views, *self.project(batch.views))

    def health(self, batch: Batch) -> dict[str, float]:
        """Spread, rank, alignment and uniformity of the projections."""
        return pair_health(*self.project(batch.views))


def encode(network: nn.Module, views: Sequence[Tensor]) -> list[Tensor]:
    """The network on each view (B, 3, H, W) by itself: batch norm sees one view at a time."""
    return [network(view.contiguous(memory_format=torch.channels_last)) for view in views]


def pair_health(z1: Tensor, z2: Tensor) -> dict[str, float]:
    """Spread, rank, alignment and uniformity of two views' embeddings, each (B, D)."""
    a, b = (F.normalize(z.float(), dim=1) for z in (z1, z2))
    return {
        "projection_std": feature_std(a),
        "projection_rank": effective_rank(a),
        "alignment": alignment(a, b),
        "uniformity": uniformity(a),
    }


def collapse(health: Mapping[str, float], advice: str) -> list[str]:
    """One symptom where the embeddings of all images are nearly equal, or lie in few directions; with what to do."""
    spread, rank = health["projection_std"], health.get("projection_rank", math.inf)
    if spread < COLLAPSING:
        word = "collapsed" if spread < COLLAPSED else "is collapsing"
        return [f"the projection {word}: standard deviation {spread:.2f} of a healthy 1; {advice}"]
    if rank < DIRECTIONS:
        return [f"the projection uses few of its directions: effective rank {rank:.1f}; {advice}"]
    return []


def pair_pictures(views: Sequence[Tensor], z1: Tensor, z2: Tensor) -> list[Picture]:
    """The two views of each image, and the cosines of all embeddings with each other (white: alike)."""
    z = torch.cat([z1, z2])
    pair = Picture("two views", ("view 1", "view 2"), torch.stack(tuple(views[:2]), 1))
    return [pair, cosine_picture("cosine of views", z, z)]


def cosine_picture(title: str, rows: Tensor, columns: Tensor) -> Picture:
    """Cosines of all `rows` (n, D) with all `columns` (m, D), a pixel each (white: alike)."""
    a, b = (F.normalize(z.float(), dim=1) for z in (rows, columns))
    pixels = ((a @ b.T + 1) / 2).clamp(0, 1).expand(3, -1, -1)  # (3, n, m)
    return Picture(title, ("",), pixels[None, None])


def embedding_picture(z1: Tensor, z2: Tensor, dims: int = 64) -> Picture:
    """The first dimensions of the embeddings (B, D) of two views: an image is a row of pixels, a dimension a column.

    Grey is the mean of the dimension, black and white are two deviations from it. The views should look the same, rows
    should differ, and so should columns. Correlations would need more images than a picture has.
    """
    z = torch.stack([z1, z2])[..., :dims].float()  # (2, B, dims)
    centred = z - z.mean((0, 1))
    pixels = (centred / (4 * centred.std().clamp_min(1e-6)) + 0.5).clamp(0, 1)
    return Picture("embeddings, an image a row", ("view 1", "view 2"), pixels[None, :, None].expand(-1, -1, 3, -1, -1))


def in_float32(function: Callable[..., Result]) -> Callable[..., Result]:
    """Decorator of a loss: its tensors become float32 at least, and autocast is off inside.

    Half precision overflows in exponentials and loses the small differences that covariances are made of.
    """

    @functools.wraps(function)
    def with_float32(*values: Any, **settings: Any) -> Result:
        device = next(value.device.type for value in values if isinstance(value, Tensor))
        with torch.autocast(device, enabled=False):
            return function(*map(_at_least_float32, values), **settings)

    return with_float32


def _at_least_float32(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    return value


def require_images(method: str, images: int, least: int = 2) -> None:
    """Refuse a batch that is too small for statistics over its images: in `loss`, where nothing else has refused it.

    Raises:
        UserError: fewer than `least` images in the batch of one process.
    """
    if images < least:
        raise UserError(
            f"Method {method!r} needs at least {least} images in each batch of a process, found {images}: it compares "
            "the images of a batch. Raise pretrain.batch_size, or lower pretrain.accumulate."
        )


def require_batch(method: str, data: Data, least: int = 2, whole: bool = False) -> None:
    """Refuse what `pretrain` asks of a method, in its constructor: before anything is trained.

    Args:
        method: its name.
        data: with the numbers of the training; those that are not known refuse nothing.
        least: fewest images at a time, of all processes: `BY_VIEW` for a head whose batch norms see one view.
        whole: the loss depends on all images of a batch together, so that the mean of its parts is another loss.

    Raises:
        UserError: fewer images, one image of a process, or `whole` and `pretrain.accumulate` above 1.
    """
    together = data.batch // data.accumulate
    if whole and data.accumulate > 1:
        raise UserError(
            f"Method {method!r} compares all images of a batch with each other, and pretrain.accumulate, "
            f"{data.accumulate}, would make it compare {together} at a time instead of {data.batch}: another loss. "
            "Set accumulate to 1; a smaller batch_size saves memory too."
        )
    if data.batch and together < least and least >= BY_VIEW:
        raise UserError(
            f"Method {method!r} needs at least {least} images at a time, found {together}: a batch norm of its head "
            "makes -1 and 1 of any two values. Raise pretrain.batch_size, or lower pretrain.accumulate."
        )
    if data.part:
        require_images(method, data.part)
