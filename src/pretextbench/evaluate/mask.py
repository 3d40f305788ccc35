"""A mask per image: a linear probe of the map of a stage, enlarged to the mask.

A 1x1 convolution gives a logit per value at each place of the map, and these are enlarged bilinearly to the pixels of
the mask. Both are linear, so that the probe is a logistic regression (`linear`) on the enlarged features of single
pixels; it is fitted on some pixels of each training image and judged on all pixels. The measure is the mean over the
values of the mask of the intersection over the union of all pixels of the test images together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.data.targets import UNKNOWN
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate import linear
from pretextbench.evaluate.features import as_input, frozen
from pretextbench.evaluate.task import Array, Floats, Model, Setup, Task, influences

PIXELS, MOST = 64, 100_000  # of an image, and in all, on which a probe is fitted


@dataclass(frozen=True)
class PixelModel:
    """A probe of classes, for pixels."""

    model: linear.Model

    @property
    def penalty(self) -> float:
        """Its l2 penalty."""
        return self.model.l2

    def outputs(self, features: Tensor) -> Array:
        """(n, P, C) features of pixels -> (n, P) values."""
        x = (features.to(self.model.mean.device) - self.model.mean) / self.model.std
        return np.asarray((x @ self.model.weight + self.model.bias).argmax(-1).cpu().numpy().astype(np.uint8))

    def mask(self, maps: Tensor, side: int) -> Array:
        """(B, C, h, w) map of a stage -> (B, side, side) values: logits at the places of the map, then enlarged."""
        x = (maps.permute(0, 2, 3, 1) - self.model.mean) / self.model.std
        logits = (x @ self.model.weight + self.model.bias.clamp(min=-1e4)).permute(0, 3, 1, 2)
        large = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
        return np.asarray(large.argmax(1).cpu().numpy().astype(np.uint8))


def counts(outputs: Array, targets: Array, values: int) -> tuple[Floats, Floats]:
    """Intersections and unions (n, K) in pixels, of each image; unknown pixels count for nothing."""
    n = len(targets)
    outputs, targets = outputs.reshape(n, -1), targets.reshape(n, -1)
    known = targets != UNKNOWN
    pairs = [((outputs == k) & known, targets == k) for k in range(values)]
    both = np.stack([(first & second).sum(1) for first, second in pairs], 1)
    union = np.stack([(first | second).sum(1) for first, second in pairs], 1)
    return both.astype(float), union.astype(float)


class Mask(Task):
    """A mask per image with values 0 to K - 1; the main measure is the mean IoU of those that the targets have."""

    def __init__(self, values: int) -> None:
        self.count = values

    def fit(self, features: Tensor, targets: Array, setup: Setup) -> Sequence[Model]:
        """Probes of pixels, from (n, P, C) features and (n, P) values; unknown ones are left out."""
        labels = torch.from_numpy(np.where(targets == UNKNOWN, -1, targets).astype(np.int64)).flatten()
        present = labels[labels >= 0].unique()
        if len(present) < 2:
            raise UserError(f"A mask needs two values or more; the training masks have {len(present)}.")
        flat = features.flatten(0, 1)
        models = linear.path(flat, labels, self.count, setup.penalties, setup.steps, setup.device)
        return [PixelModel(model) for model in models]

    def score(self, outputs: Array, targets: Array) -> float:
        """Mean IoU."""
        both, union = counts(outputs, targets, self.count)
        return float(_mean(both.sum(0), union.sum(0), self._there(targets)))

    def values(self, outputs: Array, targets: Array) -> Floats:
        """Influence of an image: the sums without its pixels."""
        both, union = counts(outputs, targets, self.count)
        there = self._there(targets)
        without = _mean(both.sum(0) - both, union.sum(0) - union, there)
        return influences(float(_mean(both.sum(0), union.sum(0), there)), np.asarray(without))

    def scores(self, outputs: Array, targets: Array) -> dict[str, Any]:
        """Mean IoU, IoU per value (None where the targets do not have it), and the share of pixels that are right."""
        both, union = counts(outputs, targets, self.count)
        there, total = self._there(targets), np.maximum(union.sum(0), 1)
        known = targets != UNKNOWN
        return {
            "miou": float(_mean(both.sum(0), union.sum(0), there)),
            "iou": [float(x) if is_there else None for x, is_there in zip(both.sum(0) / total, there, strict=True)],
            "pixel_accuracy": float((outputs == targets)[known].mean()),
        }

    def vote(self, weights: Tensor, targets: Array) -> Array:
        """The value with the largest weight at each pixel, of the masks of the neighbours."""
        votes = np.stack([np.einsum("qk,qk...->q...", weights.numpy(), targets == k) for k in range(self.count)])
        return np.asarray(votes.argmax(0).astype(np.uint8))

    def chance(self, targets: Array) -> float:
        """The best mean IoU of one value for all pixels."""
        answers = [self.score(np.full_like(targets, k), targets) for k in range(self.count)]
        return max(answers)

    def notes(self, train: Array, test: Array) -> list[str]:
        """Values that test does not have."""
        missing = int((~self._there(test)).sum())
        return [f"{missing} of {self.count} values of the masks are in no test image: they are not measured."] * (
            missing > 0
        )

    def _there(self, targets: Array) -> npt.NDArray[np.bool_]:
        return np.isin(np.arange(self.count), targets)


def _mean(both: Floats, union: Floats, there: npt.NDArray[np.bool_]) -> Floats:
    """(..., K) sums -> (...) mean IoU over the values that are there."""
    return np.asarray((both / np.maximum(union, 1))[..., there].mean(-1))


def places(count: int, side: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """(n, P) numbers of pixels, row by row, on which a probe is fitted: drawn for each of n images."""
    pixels = max(1, min(PIXELS, MOST // max(count, 1), side * side))
    return np.stack([generator.choice(side * side, pixels, replace=False) for _ in range(count)])


def maps(
    encoder: Encoder, images: npt.NDArray[np.uint8], device: torch.device, batch_size: int
) -> Iterator[tuple[slice, Mapping[str, Tensor]]]:
    """The maps (B, C, h, w) of every stage that has one, batch by batch, with the rows of the batch."""
    encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with frozen(encoder):
        for start in range(0, len(images), batch_size):
            rows = slice(start, min(start + batch_size, len(images)))
            stages = encoder.features(as_input(np.array(images[rows]), device))
            yield rows, {stage: each.float() for stage, each in stages.items() if each.ndim == 4}


def at_pixels(maps: Tensor, pixels: npt.NDArray[np.int64], side: int) -> Tensor:
    """(B, C, h, w) map -> (B, P, C): its bilinear enlargement to (side, side) at the given pixels (B, P)."""
    numbers = torch.from_numpy(pixels).to(maps.device)
    x, y = numbers % side, torch.div(numbers, side, rounding_mode="floor")
    grid = (torch.stack([x, y], -1).float() * 2 + 1) / side - 1  # (B, P, 2): centres of pixels in [-1, 1]
    result = F.grid_sample(maps, grid[:, :, None], mode="bilinear", padding_mode="border", align_corners=False)
    return result[..., 0].transpose(1, 2)
