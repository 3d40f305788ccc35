"""Recipes become Kornia pipelines: batched, on the device of the images, one draw per image, replayable.

Drawing is apart from applying: `draw` takes numbers from torch's global generator, `apply` is a pure function of images
and numbers. The numbers are drawn on the CPU, so that a seed means the same views on every device; each operation sends
its own to where the images are, behind the work that is queued there, and asks for none back: a GPU never waits.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import kornia
import kornia.augmentation as K
import torch
from torch import Tensor

from pretextbench import recipe as r
from pretextbench.augment.kernels import BatchedPadCrop, BatchedResizedCrop, FastColorJitter, PatientBlur
from pretextbench.errors import UserError

Draw = list[dict[str, Tensor]]  # the numbers of every operation of one view, on the CPU
Transform = Any  # a Kornia augmentation; Kornia's own types are not checked


def blur_kernel(size: int) -> int:
    """About a tenth of the side, odd, at least 3 (Chen 2020, appendix A)."""
    return max(3, size // 10 // 2 * 2 + 1)


def pad_crop(op: r.PadCrop, size: int) -> Transform:
    """Kornia's crop out of the reflected image.

    Raises:
        UserError: the padding is not smaller than the image: there would be nothing to reflect.
    """
    if op.padding >= size:
        raise UserError(f"pad_crop: a padding of {op.padding} px needs images of more than that, found {size} px.")
    return BatchedPadCrop((size, size), padding=op.padding, padding_mode="reflect")


BUILDERS: dict[type, Callable[[Any, int], Transform]] = {
    r.RandomResizedCrop: lambda o, n: BatchedResizedCrop((n, n), scale=o.scale, ratio=o.ratio, align_corners=False),
    r.PadCrop: lambda o, n: pad_crop(o, n),
    r.HorizontalFlip: lambda o, _: K.RandomHorizontalFlip(p=o.p),
    r.ColorJitter: lambda o, _: FastColorJitter(o.brightness, o.contrast, o.saturation, o.hue, p=o.p),
    r.Grayscale: lambda o, _: K.RandomGrayscale(p=o.p),
    r.GaussianBlur: lambda o, n: PatientBlur((blur_kernel(n),) * 2, o.sigma, p=o.p),
    r.Solarize: lambda o, _: K.RandomSolarize(thresholds=(o.threshold, o.threshold), additions=(0.0, 0.0), p=o.p),
}


class ViewPipeline:
    """One kind of view: its operations, in order."""

    def __init__(self, view: r.View, image_size: int) -> None:
        self.size = view.size or image_size
        self.draws = view.draws
        ops = view.ops
        if self.size != image_size and not any(isinstance(op, r.RandomResizedCrop) for op in ops):
            raise UserError(
                f"A view of {self.size} px is asked of images of {image_size} px, but its recipe has no "
                "random_resized_crop, the operation that changes the size. Add one, or leave `size` out."
            )
        self.ops: list[Transform] = []
        size = image_size  # until the crop that changes it
        for op in ops:
            size = self.size if isinstance(op, r.RandomResizedCrop) else size
            self.ops.append(BUILDERS[type(op)](op, size))

    def draw(self, batch: tuple[int, ...]) -> Draw:
        """The numbers for a batch of images of shape (B, 3, H, W), from torch's global generator."""
        numbers = []
        for op in self.ops:
            numbers.append(op.forward_parameters(torch.Size(batch)))
            if isinstance(op, K.RandomResizedCrop):
                batch = (*batch[:2], self.size, self.size)
        return numbers

    def apply(self, images: Tensor, draw: Draw) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] and their numbers to views (B, 3, size, size) in [0, 1]; draws nothing."""
        for op, numbers in zip(self.ops, draw, strict=True):
            images = changed(op, images, numbers)
        return images.clamp(0, 1) if self.ops else images


SHARED = ("order", "forward_input_shape")  # numbers of the batch; all others have one for each image


def changed(op: Transform, images: Tensor, numbers: dict[str, Tensor]) -> Tensor:
    """Images with an operation applied to those that its draw chose: what Kornia's call does, less its matrices.

    On the CPU the others are spared the work; a GPU would have to wait to learn how many they are.
    """
    if op.p == 1:  # the only ones that may change the size
        return cast(Tensor, op.apply_transform(images, numbers, op.flags))
    chosen = numbers["batch_prob"] > 0.5
    if images.device.type == "cpu":
        rows = chosen.nonzero().flatten()
        subset = {name: value if name in SHARED else value[rows] for name, value in numbers.items()}
        return images.index_copy(0, rows, op.apply_transform(images[rows], subset, op.flags)) if len(rows) else images
    chosen = chosen.view(-1, 1, 1, 1).to(images.device, non_blocking=True)
    return torch.where(chosen, op.apply_transform(images, numbers, op.flags), images)


class Augmenter:
    """A whole recipe: images in, the tuple of its views out."""

    def __init__(self, recipe: r.Recipe, image_size: int) -> None:
        self.recipe = recipe
        self.views = [ViewPipeline(view, image_size) for view in recipe.views]

    def draw(self, images: Tensor) -> list[Draw]:
        """The numbers of every view of these images; seed torch's global generator before."""
        return [view.draw(tuple(images.shape)) for view in self.views for _ in range(view.draws)]

    def apply(self, images: Tensor, draws: list[Draw]) -> tuple[Tensor, ...]:
        """Views (B, 3, size, size) in [0, 1], float32, channels last: what the encoder reads fastest."""
        pipelines = [view for view in self.views for _ in range(view.draws)]
        views = [view.apply(images, draw) for view, draw in zip(pipelines, draws, strict=True)]
        return tuple(view.contiguous(memory_format=torch.channels_last) for view in views)

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Draw and apply."""
        return self.apply(images, self.draw(images))


def as_float(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) as stored to float32 (B, 3, H, W) in [0, 1], as the recipes read it."""
    return pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)


@dataclass(frozen=True)
class Policy:
    """A frozen recipe: the augment stage shows it, and the training uses the same one."""

    method: str
    image_size: int
    recipe: r.Recipe

    def to_json(self) -> str:
        """Every operation, probability and range, and the versions that give them their meaning."""
        content = {
            "method": self.method,
            "image_size": self.image_size,
            "recipe": self.recipe.model_dump(mode="json"),
            "versions": {"kornia": kornia.__version__, "torch": torch.__version__},
        }
        return json.dumps(content, indent=2) + "\n"

    @staticmethod
    def read(path: Path) -> "Policy":
        """Open a policy that the augment stage froze.

        Raises:
            UserError: it is missing, or it was frozen under another Kornia than the one installed.
        """
        if not path.is_file():
            raise UserError(f"There is no policy at {path}: run the augment stage first (`dvc repro`).")
        try:
            content = json.loads(path.read_text())
            frozen, recipe = content["versions"]["kornia"], r.Recipe.model_validate(content["recipe"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a policy ({error}): run the augment stage again.") from error
        if frozen != kornia.__version__:
            raise UserError(
                f"{path} was frozen under kornia {frozen}, but {kornia.__version__} is installed: the same recipe may "
                "draw other pixels. Run the augment stage again (`dvc repro --force augment`)."
            )
        return Policy(content["method"], content["image_size"], recipe)


def throughput(augmenter: Augmenter, batches: Iterator[Tensor]) -> float:
    """Images per second through the recipe, after one batch of warm-up; uint8 (B, H, W, 3) batches on the device."""
    augmenter(as_float(next(batches)))
    start, images = time.perf_counter(), 0
    for pixels in batches:
        augmenter(as_float(pixels))
        images += len(pixels)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return images / (time.perf_counter() - start)
