"""Whether what was written gives the features of the original: the lines that are printed are run and compared."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pretextbench.augment import as_float
from pretextbench.data import synthetic
from pretextbench.encoder import Encoder
from pretextbench.export.script import DEPRECATED
from pretextbench.params import Prepare

LIMIT = 1e-5  # of the largest difference, in units of the largest feature of the original
IMAGES = 16


@dataclass(frozen=True)
class Agreement:
    """How far the features of the export lie from those of the original, in float32 on the CPU."""

    images: int  # drawn scenes: in a batch, one alone, and larger ones
    largest: float  # absolute difference of one number
    scale: float  # largest absolute feature of the original

    @property
    def relative(self) -> float:
        """The largest difference in units of the scale."""
        return self.largest / self.scale if self.scale else float("inf" if self.largest else 0)

    @property
    def holds(self) -> bool:
        """Whether they are the same features; NaN is not."""
        return self.relative <= LIMIT

    def __str__(self) -> str:
        return (
            f"largest absolute difference {self.largest:.2e}, which is {self.relative:.2e} of the largest feature, "
            f"{self.scale:.3g} (allowed: {LIMIT:g}); {self.images} drawn scenes in a batch, one alone and larger ones, "
            "float32 on the CPU"
        )


def compare(encoder: Encoder, code: str, side: int) -> Agreement:
    """Run `code` and the original on the same images."""
    pairs = [(_original(encoder, images), run(code, images)) for images in scenes(side)]
    largest = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    if not all(theirs.isfinite().all() for _, theirs in pairs):
        largest = float("nan")
    scale = max(float(ours.abs().max()) for ours, _ in pairs)
    return Agreement(sum(len(ours) for ours, _ in pairs), largest, scale)


def run(code: str, images: Tensor) -> Tensor:
    """The features (B, D) that the lines make of images (B, 3, H, W) in [0, 1].

    The lines come from this package, out of checked numbers and a quoted path; running them is what makes sure that
    the lines people are shown are true.
    """
    names = {"images": images}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", DEPRECATED)
        exec(code, names)
    return torch.as_tensor(names["features"])


def scenes(side: int) -> Iterator[Tensor]:
    """Scenes of the synthetic data set, (B, 3, H, W) in [0, 1]: a batch, one alone, and some half as large again."""
    for count, edge in ((IMAGES, side), (1, side), (3, side + side // 2)):
        drawn = synthetic.listing(Prepare(image_size=max(8, min(edge, 1024))))
        yield as_float(torch.from_numpy(np.stack(list(drawn.read(range(count))))))


def _original(encoder: Encoder, images: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = encoder(images)
    return features
