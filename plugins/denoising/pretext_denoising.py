"""Denoising autoencoder: spoil the image, ask for the clean one (Vincent 2008, ICML; Vincent 2010, JMLR 11).

Four parts: the encoder f, a bottleneck, a decoder g and a loss. With x_i the clean image, x~_i the spoiled one and
x^_i = g(f(x~_i)), equation 1 of the lesson is the mean over the batch, and equation 2 its Bernoulli loss:

    loss = (1 / N) sum_i l(x_i, x^_i)                                          the target is always the clean image
    l    = -sum_k [x_k log x^_k + (1 - x_k) log(1 - x^_k)]                     nats per image, k over d = 3 H W
    l    = (1 / d) sum_k (x_k - x^_k)^2                                        the mean squared error instead

The Bernoulli loss is for intensities in [0, 1]; its least value is the entropy of x, not 0. Every component counts, the
spoiled and the clean; the emphasised loss (2010, section 4.2) weighs the two kinds by alpha and beta.

Crop and flip come first, then the corruption, on raw pixels in [0, 1]. What is left is not rescaled by 1 / (1 - nu):
that is dropout. A new corruption is drawn every time an image is seen.
"""

from collections.abc import Mapping
from typing import Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.method import Batch, Data, Loss, Picture, PretextMethod
from pretextbench.params import Fraction, MethodParams, OptimizerParams, Positive
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop, Recipe, augmented

Unit = Literal["pixel", "component"]


class Params(MethodParams):
    """Parameters of the denoising autoencoder; defaults are for small images, the paper's are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=3e-3, weight_decay=1e-4, warmup=0.1)
    corruption: Literal["masking", "gaussian", "salt_and_pepper"] = Field(
        "masking", description="masking: a share is overwritten (2008); additive Gaussian, salt and pepper (2010)"
    )
    share: Fraction = Field(0.75, description="nu of masking, salt and pepper: exactly round(nu d) (paper: 0.1 to 0.4)")
    sigma: float = Field(0.25, ge=0, description="of the Gaussian noise, on the [0, 1] scale; the sum is not clipped")
    unit: Unit = Field("pixel", description="what is spoiled at once: a pixel's three values, or each alone (paper)")
    fill: Literal["mean", "zero"] = Field(
        "mean", description="what masking writes: the mean colour, 0 after normalisation, or black (paper: 0)"
    )
    loss: Literal["mse", "bernoulli"] = Field("bernoulli", description="squared error, or equation 2 (paper: both)")
    alpha: float = Field(1.0, ge=0, description="weight of the error on spoiled components (2008: 1)")
    beta: float = Field(1.0, ge=0, description="weight of the error on clean components (2008: 1)")
    code: Positive | None = Field(None, description="channels of the bottleneck; null = those of the last map")
    crop_min: float = Field(0.2, gt=0, le=1, description="smallest share of the area in a crop (paper: no crops)")

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        spoiled, clean = self.share > 0, self.share < 1
        if self.corruption == "gaussian":
            spoiled, clean = True, False
        if not (self.alpha and spoiled) and not (self.beta and clean):
            raise ValueError(f"alpha {self.alpha} and beta {self.beta} leave nothing to minimise: raise one above 0")
        return self


def choose(x: Tensor, share: float, unit: Unit) -> Tensor:
    """Exactly round(share d) of each image's d pixels or components, at random: bool (B, 1 or 3, H, W)."""
    b, c, h, w = x.shape
    c = 1 if unit == "pixel" else c
    d = c * h * w
    first = torch.rand(b, d, device=x.device).topk(round(share * d), dim=1, sorted=False).indices
    chosen = torch.zeros(b, d, dtype=torch.bool, device=x.device)
    return chosen.scatter_(1, first, True).view(b, c, h, w)


def masking(x: Tensor, share: float, unit: Unit, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Overwrite a share with `fill` (3, 1, 1). Returns images (B, 3, H, W) and what was spoiled, bool, same shape."""
    chosen = choose(x, share, unit)
    return torch.where(chosen, fill, x), chosen.expand_as(x)


def salt_and_pepper(x: Tensor, share: float, unit: Unit) -> tuple[Tensor, Tensor]:
    """Overwrite a share with 0 or 1, by the toss of a coin. Returns as `masking`."""
    chosen = choose(x, share, unit)
    coin = (torch.rand(chosen.shape, device=x.device) < 0.5).to(x.dtype)
    return torch.where(chosen, coin, x), chosen.expand_as(x)


def gaussian(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Add N(0, sigma^2) to every component. Returns as `masking`; everything is spoiled."""
    return x + sigma * torch.randn_like(x), torch.ones_like(x, dtype=torch.bool)


def bernoulli(logits: Tensor, x: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Equations 1 and 2 for x^ = sigmoid(logits): summed over components, averaged over images (B, ...); nats."""
    errors = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return (weight * errors).flatten(1).sum(1).mean()


def mse(output: Tensor, x: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Equation 1 with squared error: averaged over components and images."""
    return (weight * (output - x).square()).mean()


def sides(side: int, image_size: int) -> list[int]:
    """The sides on the way from a map to the image, each half of the next: 4, 32 -> 8, 16, 32."""
    sides = [image_size]
    while (half := -(-sides[-1] // 2)) > side:
        sides.append(half)
    return sides[::-1]


class Decoder(nn.Module):
    """Code (B, C, n, n) to image (B, 3, H, H): per doubling a 3x3 convolution, norm, ReLU; a last 3x3 convolution.

    The convolution comes before the doubling: a quarter of the work, and the encoder stays the larger part.
    """

    def __init__(self, channels: int, side: int, image_size: int) -> None:
        super().__init__()
        self.sides = sides(side, image_size)
        self.blocks = nn.ModuleList()
        for _ in self.sides:
            narrow = max(16, channels // 2)
            convolution = nn.Conv2d(channels, narrow, 3, padding=1, bias=False)
            self.blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)))
            channels = narrow
        self.last = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        """Pixels in [0, 1] for the squared error, logits for the Bernoulli loss."""
        for side, block in zip(self.sides, self.blocks, strict=True):
            code = F.interpolate(block(code), size=(side, side), mode="nearest")
        image: Tensor = self.last(code)
        return image


class Denoising(PretextMethod[Params]):
    """The encoder, a 1x1 convolution as bottleneck, and a decoder. There are no shortcuts around the bottleneck."""

    api_version = 1
    reference = "Vincent 2008, Extracting and composing robust features with denoising autoencoders, ICML"
    search = {"share": (0.5, 0.75), "loss": ("bernoulli", "mse")}

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        *_, (channels, side) = encoder.shapes.values()  # of the last map
        code = params.code or channels
        self.bottleneck: nn.Module = nn.Conv2d(channels, code, 1)
        decoder, colour = Decoder(code, side, data.image_size), torch.tensor(data.mean)
        # Start from the mean colour, in pixels or as its logit.
        decoder.last.bias = nn.Parameter(colour.clone() if params.loss == "mse" else colour.logit(1e-3))
        self.decoder: nn.Module = decoder
        self.register_buffer("colour", colour.view(3, 1, 1), persistent=False)

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """One view: crop and flip. The corruption is the task, not an augmentation."""
        return augmented(RandomResizedCrop(scale=(params.crop_min, 1.0)), HorizontalFlip())

    def corrupt(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Clean images (B, 3, H, W) in [0, 1] to spoiled ones, and which components were spoiled (bool, same shape)."""
        p = self.params
        if p.corruption == "gaussian":
            return gaussian(x, p.sigma)
        if p.corruption == "salt_and_pepper":
            return salt_and_pepper(x, p.share, p.unit)
        colour = self.get_buffer("colour")
        return masking(x, p.share, p.unit, colour if p.fill == "mean" else torch.zeros_like(colour))

    def decode(self, noisy: Tensor) -> Tensor:
        """g(f(x~)): (B, 3, H, W) float32, pixels for the squared error and logits for the Bernoulli loss."""
        *_, code = self.encoder.stages(noisy).values()  # the last map, (B, C, n, n)
        output: Tensor = self.decoder(self.bottleneck(code)).float()
        return output

    def denoise(self, noisy: Tensor) -> Tensor:
        """x^ in [0, 1]: (B, 3, H, W)."""
        output = self.decode(noisy)
        return output.sigmoid() if self.params.loss == "bernoulli" else output.clamp(0, 1)

    def loss(self, batch: Batch) -> Loss:
        """Equation 1: the error of the reconstruction against the clean image."""
        x = batch.views[0]
        noisy, spoiled = self.corrupt(x)
        output = self.decode(noisy)
        weight = torch.where(spoiled, self.params.alpha, self.params.beta)
        with torch.autocast(x.device.type, enabled=False):
            total = (bernoulli if self.params.loss == "bernoulli" else mse)(output, x, weight)
        return Loss(total)

    def show(self, batch: Batch) -> list[Picture]:
        """What the network gets, what it makes of it, and what it should have made."""
        x = batch.views[0]
        noisy, _ = self.corrupt(x)
        images = torch.stack([noisy.clamp(0, 1), self.denoise(noisy), x], 1)
        return [Picture("denoising", ("noisy", "denoised", "clean"), images)]

    def health(self, batch: Batch) -> dict[str, float]:
        """Squared error on held-out images, beside the two ways of having learned nothing.

        The identity leaves the corruption in. The mean image is, for each image, that of all others of the batch and
        one more of the data set's mean colour: a batch of one is measured against that colour.
        """
        x = batch.views[0]
        noisy, _ = self.corrupt(x)
        mean_image = (x.sum(0) - x + self.get_buffer("colour")) / len(x)
        return {
            "denoising_mse": float(mse(self.denoise(noisy), x)),
            "identity_mse": float(mse(noisy, x)),
            "mean_image_mse": float(mse(mean_image, x)),
        }

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """The identity map and the mean image, where the network is no better than they are."""
        error, symptoms = health["denoising_mse"], []
        if error >= health["identity_mse"]:
            symptoms.append(
                f"identity map: the squared error {error:.4f} is no better than that of the noisy input itself "
                f"({health['identity_mse']:.4f}); corrupt more (share, sigma), narrow `code`, or train longer"
            )
        if error >= 0.9 * health["mean_image_mse"]:
            symptoms.append(
                f"mean image: the squared error {error:.4f} is no better than that of the mean image "
                f"({health['mean_image_mse']:.4f}); corrupt less or train longer"
            )
        return symptoms
