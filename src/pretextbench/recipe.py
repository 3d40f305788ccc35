"""Augmentation recipes as data: they can be frozen to JSON, hashed, compared and replayed. No pixels are read."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pretextbench.base.section import Fraction, Positive, Section

__all__ = [
    "ColorJitter", "GaussianBlur", "Grayscale", "HorizontalFlip", "Op", "PadCrop", "RandomResizedCrop", "Recipe",
    "Solarize", "Span", "View", "augmented",
]  # fmt: skip


def _ordered(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"expected the smaller number first, found {span}")
    return span


Span = Annotated[tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]], AfterValidator(_ordered)]


class RandomResizedCrop(Section):
    """A random part of the image, resized to the view's size (Szegedy 2015)."""

    op: Literal["random_resized_crop"] = "random_resized_crop"
    scale: Span = Field((0.2, 1.0), description="share of the area, smallest and largest")
    ratio: Span = Field((3 / 4, 4 / 3), description="width / height, smallest and largest")


class PadCrop(Section):
    """The image padded with reflections and cropped back to its size: a shift of up to `padding` pixels."""

    op: Literal["pad_crop"] = "pad_crop"
    padding: Positive = Field(4, description="pixels on each side")


class HorizontalFlip(Section):
    """Mirror left and right."""

    op: Literal["horizontal_flip"] = "horizontal_flip"
    p: Fraction = 0.5


class ColorJitter(Section):
    """Brightness, contrast and saturation by a factor in [1 - x, 1 + x], hue by a turn in [-x, x], in random order."""

    op: Literal["color_jitter"] = "color_jitter"
    brightness: Fraction = 0.4
    contrast: Fraction = 0.4
    saturation: Fraction = 0.4
    hue: float = Field(0.1, ge=0, le=0.5, description="share of the colour circle")
    p: Fraction = 0.8


class Grayscale(Section):
    """Luma in all three channels."""

    op: Literal["grayscale"] = "grayscale"
    p: Fraction = 0.2


class GaussianBlur(Section):
    """Gaussian blur with a kernel of about a tenth of the view."""

    op: Literal["gaussian_blur"] = "gaussian_blur"
    sigma: Span = Field((0.1, 2.0), description="pixels, smallest and largest")
    p: Fraction = 0.5


class Solarize(Section):
    """Invert what is brighter than the threshold."""

    op: Literal["solarize"] = "solarize"
    threshold: Fraction = 0.5
    p: Fraction = 0.2


Op = Annotated[
    RandomResizedCrop | PadCrop | HorizontalFlip | ColorJitter | Grayscale | GaussianBlur | Solarize,
    Field(discriminator="op"),
]


class View(Section):
    """One view of every image: operations in order, an optional size, drawn once or several times."""

    ops: tuple[Op, ...] = ()
    size: Positive | None = Field(None, description="side in pixels; null = the image's")
    draws: Positive = Field(1, description="independent draws, each a view of its own")


class Recipe(Section):
    """The views of an image that a method sees. The default is one view: the unchanged image."""

    views: tuple[View, ...] = Field((View(),), min_length=1)


def augmented(*ops: Op, draws: int = 1) -> Recipe:
    """The common case: one kind of view, drawn once or several times."""
    return Recipe(views=(View(ops=ops, draws=draws),))
