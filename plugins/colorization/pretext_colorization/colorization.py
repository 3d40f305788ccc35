"""The method: lightness in, colour bins out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pretext_colorization import lab, symptoms
from pretext_colorization.bins import Code, coloured, soft_cross_entropy, weights
from pretextbench.encoder import Encoder, build
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data, Loss, Picture, PretextMethod, Requires
from pretextbench.params import EncoderParams, MethodParams, OptimizerParams
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop, Recipe, augmented


class Head(nn.Module):
    """The last two stages of the encoder, brought to one width and one size and added; 3x3 convolutions; 1x1."""

    def __init__(self, channels: Mapping[str, int], width: int, depth: int, out: int) -> None:
        super().__init__()
        self.sources = list(channels)[-2:]
        self.lateral = nn.ModuleList(nn.Conv2d(channels[name], width, 1, bias=False) for name in self.sources)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Sequential(*(layer for _ in range(depth) for layer in self._block(width)))
        self.out = nn.Conv2d(width, out, 1)

    @staticmethod
    def _block(width: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)

    def forward(self, maps: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Maps (B, C, ., .) by stage to (B, out, *size)."""
        pairs = [(lateral(maps[name]), name) for lateral, name in zip(self.lateral, self.sources, strict=True)]
        y = sum((F.interpolate(x, size, mode="nearest") for x, _ in pairs[1:]), F.interpolate(pairs[0][0], size))
        return self.out(self.body(F.relu(self.norm(y), inplace=True)))  # type: ignore[no-any-return]


SPREAD = 20.0  # ab units per unit of the regression head's output: about the spread of colours in photographs
RARE = 1e-5  # what the constant predictor gives to a colour that never occurred in training


class Params(MethodParams):
    """Parameters of colorization. The paper: Adam 3e-5, weight decay 1e-3, batch 40, 450,000 steps of ImageNet."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-2, warmup=0.1)
    variant: Literal["classification", "regression"] = Field(
        "classification", description="distribution over colour bins (paper), or squared error of ab (its baseline)"
    )
    grid: int = Field(10, ge=5, le=20, description="step between the bins, ab units (paper: 10, which gives 313 bins)")
    k_nearest: int = Field(5, ge=1, le=20, description="bins that share a colour (paper: 5; 1 = equation 6, one-hot)")
    sigma: float = Field(5.0, gt=0, description="of the shares exp(-d^2 / 2 sigma^2), ab units (paper: 5)")
    uniform: float = Field(
        0.5, gt=0, le=1, description="lambda: share of the uniform in the rebalancing (paper: 0.5; 1 = no rebalancing)"
    )
    temperature: float = Field(0.38, gt=0, le=1, description="T of the annealed mean, for pictures (paper: 0.38)")
    stride: int | None = Field(
        None, ge=1, le=64, description="pixels between two targets (paper: 4); null = an 8th of the side, 4 at least"
    )
    head_width: int = Field(64, ge=1, description="channels of the decoder (paper: 256)")
    head_depth: int = Field(1, ge=0, le=8, description="3x3 convolutions of the decoder (paper: 3)")
    crop_min: float = Field(0.4, gt=0, le=1, description="smallest share of the area in a crop (paper: 0.47, fixed)")

    def step(self, image_size: int) -> int:
        """Pixels between two targets in images of this side."""
        return self.stride or max(4, image_size // 8)


@dataclass(frozen=True)
class Target:
    """What is to be predicted, at the N = Bhw target pixels in the order (B, h, w)."""

    ab: Tensor  # (N, 2), ab units
    shown: Tensor  # (N,) 1 where the image has colour, 0 where it is grey
    size: tuple[int, int]  # h, w

    @staticmethod
    def of(ab: Tensor) -> "Target":
        """From a map (B, 2, h, w)."""
        h, w = ab.shape[-2:]
        return Target(ab.movedim(1, -1).reshape(-1, 2), coloured(ab).float().repeat_interleave(h * w), (h, w))

    def mean(self, values: Tensor) -> Tensor:
        """Mean of values (N,) over the pixels of the images that have colour; 0 where none has."""
        return (values * self.shown).sum() / self.shown.sum().clamp_min(1)


class Lightness(Encoder):
    """An encoder on L / 100 in its three channels: downstream it sees of an image what it saw in training."""

    def normalise(self, x: Tensor) -> Tensor:
        """sRGB (B, 3, H, W) to lightness, less the data set's mean, by its deviation."""
        grey = (lab.lightness(x) / 100).expand(-1, 3, -1, -1)
        return super().normalise(grey).contiguous(memory_format=torch.channels_last)


def on_lightness(encoder: Encoder) -> Encoder:
    """The same encoder, of a class of its own kind that sees lightness alone."""
    kind = type(encoder)
    encoder.__class__ = type(f"Lightness{kind.__name__}", (Lightness, kind), {})
    return encoder


class Colorization(PretextMethod[Params]):
    """The encoder, and a convolutional decoder on its last two stages."""

    api_version = 1
    reference = "Zhang 2016, Colorful image colorization, arXiv:1603.08511"
    search = {"uniform": (0.3, 0.5, 1.0), "crop_min": (0.4, 0.7)}
    requires = Requires(colour=True)
    prior: Tensor  # (Q,) p~
    rarity: Tensor  # (Q,) w

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.code = Code(params.grid, params.k_nearest, params.sigma)
        prior = self._measured(data)
        self.register_buffer("prior", prior, persistent=False)
        self.register_buffer("rarity", weights(prior, params.uniform), persistent=False)
        self.classifies = params.variant == "classification"
        out = len(prior) if self.classifies else 2
        self.head = Head(encoder.channels, params.head_width, params.head_depth, out)
        if self.classifies:  # start as a good constant guess: 250 steps are too few to learn 313 frequencies
            self.head.out.bias = nn.Parameter(self.constant())

    def _measured(self, data: Data) -> Tensor:
        prior, bins = data.derived.get("prior"), len(self.code.centres)
        if prior is None or len(prior) != bins:
            measured = "no colour prior" if prior is None else f"a colour prior over {len(prior)} bins"
            raise UserError(
                f"colorization found {measured}, but needs one over {bins} (grid {self.params.grid}): how often each "
                "colour occurs in the training images. The augment stage measures it: run `dvc repro`."
            )
        return prior.float()

    @classmethod
    def build_encoder(cls, params: Params, encoder: EncoderParams, data: Data) -> Encoder:
        """The shared backbone, and what it looks at."""
        return on_lightness(build(encoder, data.image_size, data.mean, data.std))

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """One view: crop and flip, and nothing that changes colour."""
        return augmented(RandomResizedCrop(scale=(params.crop_min, 1.0)), HorizontalFlip())

    @classmethod
    def derive(cls, params: Params, images: Iterator[Tensor], image_size: int) -> dict[str, Tensor]:
        """The colour prior (Q,): the mean soft code of the target pixels; uniform where no image has colour."""
        code = Code(params.grid, params.k_nearest, params.sigma)
        total = torch.zeros(len(code.centres), dtype=torch.float64)
        for batch in images:
            ab = lab.ab(batch.float(), params.step(image_size))
            target = Target.of(ab[coloured(ab)])
            index, share = code.to(ab.device).encode(target.ab)
            total.index_add_(0, index.flatten().cpu(), share.flatten().double().cpu())
        return {"prior": (total / total.sum() if total.sum() else torch.full_like(total, 1 / len(total))).float()}

    def constant(self) -> Tensor:
        """log of p~ w (Q,), a guess that does not look at the image: for k = 1 the one that minimises the loss.

        For larger k it nearly does: a pixel's weight is that of its nearest bin, and its code lies on k of them.
        """
        return (self.prior * self.rarity).clamp_min(RARE).log()

    def target(self, x: Tensor) -> Target:
        """What is to be predicted of images (B, 3, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            return Target.of(lab.ab(x.float(), self.params.step(self.data.image_size)))

    def predict(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Images, of which the encoder sees L, to the head's output (N, Q) or (N, 2), as a target of size (h, w)."""
        out: Tensor = self.head(self.encoder.stages(x), size)  # (B, Q, h, w)
        return out.movedim(1, -1).flatten(0, -2)

    def errors(self, out: Tensor, target: Target) -> tuple[Tensor, Tensor]:
        """Error and weight, both (N,), of every target pixel: nats and v, or half the squared error in SPREAD and 1."""
        with torch.autocast(out.device.type, enabled=False):
            if not self.classifies:
                error = (out.float() - target.ab / SPREAD).square().sum(1) / 2
                return error, target.shown
            index, share = self.code.encode(target.ab)
            return soft_cross_entropy(out, index, share), self.rarity[index[:, 0]] * target.shown

    def loss(self, batch: Batch) -> Loss:
        """Equation 7 of the lesson (2 of the paper) over all pixels; beside it the plain error of images in colour."""
        x = batch.views[0]
        target = self.target(x)
        error, weight = self.errors(self.predict(x, target.size), target)
        name = "cross_entropy" if self.classifies else "half_squared_error"
        return Loss((error * weight).mean(), {name: target.mean(error.detach())})

    def colours(self, out: Tensor) -> Tensor:
        """The head's output (N, ...) as colours (N, 2), ab units."""
        out = out.float()
        return self.code.decode(out, self.params.temperature) if self.classifies else out * SPREAD

    def show(self, batch: Batch) -> list[Picture]:
        """What the network sees, what it makes of it, and the truth."""
        x = batch.views[0]
        lightness, target = lab.lightness(x.float()), self.target(x)
        ab = self.colours(self.predict(x, target.size)).unflatten(0, (len(x), *target.size)).movedim(-1, 1)
        ab = F.interpolate(ab, x.shape[-2:], mode="bilinear", align_corners=False)
        grey = lab.lab_to_rgb(torch.cat((lightness, torch.zeros_like(ab)), 1))
        images = torch.stack((grey, lab.lab_to_rgb(torch.cat((lightness, ab), 1)), x.float()), 1)
        return [Picture("colorization", ("grey", "coloured", "true"), images)]

    def health(self, batch: Batch) -> dict[str, float]:
        """Error beside that of the constant guess, and how colourful and how rough the colours are."""
        target = self.target(batch.views[0])
        out = self.predict(batch.views[0], target.size)
        constant = self.constant() if self.classifies else self.prior @ self.code.centres / SPREAD
        errors: dict[str, float] = {}
        for name, guess in (("", out), ("constant_", constant.to(out).expand_as(out).contiguous())):
            error, weight = self.errors(guess, target)
            errors |= {f"{name}error": float(target.mean(error)), f"{name}loss": float(target.mean(error * weight))}
        predicted = self.colours(out)
        nearest, _ = self.code.encode(predicted)
        return {
            **errors,
            **symptoms.colourfulness(predicted, target.ab, target.shown, target.size),
            "bins_used": float(nearest[:, 0].unique().numel()),
            "coloured_images": float(target.shown.mean()),
        }

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """The prior or grey predicted whatever the image, speckle, and images that have no colour to learn from."""
        return symptoms.symptoms(health)
