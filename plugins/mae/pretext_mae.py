"""Masked autoencoder: most patches of an image are hidden, and their pixels are predicted (He 2022, arXiv:2111.06377).

An image is cut into N patches. The encoder f gets the visible ones alone, 1/4 of them, and a light decoder g puts one
learnt token in the place of each hidden patch (section 3). The target y_p of patch p is its P = 3 patch^2 pixels x_p
by their own mean and deviation ("Reconstruction target", section 3; unbiased variance). With M the hidden patches:

    y^ = g(f(visible patches)),    y_p = (x_p - mean(x_p)) / sqrt(var(x_p) + 1e-6)
    loss = mean over images and p in M of  (1 / P) sum_k (y^_pk - y_pk)^2          visible patches do not count

The mean of each patch, which is y^ = 0, costs (P - 1) / P, less where patches are flat. Nothing can collapse to a loss
of 0: a constant prediction is no better than that. Other augmentation than crop and flip is not needed (section 4.1).
"""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from pretextbench.encoder import Encoder, TokenEncoder
from pretextbench.method import Batch, Data, Loss, Picture, PretextMethod, Requires
from pretextbench.params import Fraction, MethodParams, OptimizerParams
from pretextbench.parts import (
    Mask,
    TokenDecoder,
    in_float32,
    patchify,
    random_mask,
    take,
    unpatchify,
    visible_patches,
)
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop, Recipe, augmented

EPS = 1e-6  # in the variance of a patch
CONSTANT, USELESS = 0.05, 0.99  # deviation of the predictions and their error, of those of the truth and of the mean


class Params(MethodParams):
    """Parameters of the masked autoencoder; the defaults are for small images, those of the paper are in brackets."""

    optimizer: OptimizerParams = OptimizerParams(
        name="adamw", lr=1.5e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.1
    )
    share: Fraction = Field(0.75, description="of the patches that are hidden (paper: 0.75)")
    normalise: bool = Field(True, description="each patch of the target by its own mean and deviation (paper: true)")
    decoder_width: int = Field(128, ge=32, multiple_of=32, description="of the decoder's tokens (paper: 512)")
    decoder_depth: int = Field(2, ge=1, le=48, description="blocks of the decoder (paper: 8)")
    crop_min: float = Field(0.2, gt=0, le=1, description="smallest share of the area in a crop (paper: 0.2)")


@in_float32
def statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation (B, N, 1) of each patch's pixels (B, N, P); the variance is unbiased."""
    return patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + EPS).sqrt()


@in_float32
def hidden_error(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error, a scalar, of the patches (B, N, P) whose numbers are `hidden` (B, M), and of no others."""
    return (take(prediction, hidden) - take(target, hidden)).square().mean()


class MAE(PretextMethod[Params]):
    """The encoder on the visible patches, and a decoder that predicts the pixels of all."""

    api_version = 1
    reference = "He 2022, Masked autoencoders are scalable vision learners, arXiv:2111.06377"
    search = {"share": (0.5, 0.75), "crop_min": (0.2, 0.5)}
    requires = Requires(encoder=TokenEncoder)
    encoder: TokenEncoder

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.patches = self.encoder.grid**2
        self.visible = visible_patches("mae", self.patches, params.share)
        pixels = 3 * self.encoder.patch**2
        self.decoder = TokenDecoder(self.encoder, params.decoder_width, params.decoder_depth, pixels)

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        """One view: crop and flip. The mask is the task, not an augmentation."""
        return augmented(RandomResizedCrop(scale=(params.crop_min, 1.0)), HorizontalFlip())

    def mask(self, x: Tensor) -> Mask:
        """Visible and hidden patches of images (B, 3, H, W), drawn for each."""
        return random_mask(len(x), self.patches, self.visible, x.device)

    def target(self, x: Tensor) -> Tensor:
        """What is to be predicted of images (B, 3, H, W) in [0, 1], at the size of the encoder: (B, N, P)."""
        pixels = patchify(self.encoder.normalise(self.encoder.sized(x.float())), self.encoder.patch)
        mean, deviation = statistics(pixels)
        return (pixels - mean) / deviation if self.params.normalise else pixels

    def predict(self, x: Tensor, mask: Mask) -> Tensor:
        """y^ of all patches, (B, N, P), from the visible ones of images (B, 3, H, W)."""
        visible = take(self.encoder.embed(x), mask.visible)
        prediction: Tensor = self.decoder(self.encoder.encode(visible), mask)
        return prediction

    def loss(self, batch: Batch) -> Loss:
        """The squared error of the hidden patches."""
        x = batch.views[0]
        mask = self.mask(x)
        return Loss(hidden_error(self.predict(x, mask), self.target(x), mask.hidden))

    def show(self, batch: Batch) -> list[Picture]:
        """The image, what the encoder sees of it, and the prediction, in the true mean and deviation of each patch."""
        x = self.encoder.sized(batch.views[0].float())
        mask = self.mask(x)
        pixels = patchify(self.encoder.normalise(x), self.encoder.patch)
        mean, deviation = statistics(pixels)
        prediction = self.predict(x, mask).float()
        prediction = prediction * deviation + mean if self.params.normalise else prediction
        visible, hidden = take(pixels, mask.visible), take(prediction, mask.hidden)
        seen, made = mask.restore(visible, torch.zeros_like(hidden)), mask.restore(visible, hidden)
        images = torch.stack([x, self._image(seen), self._image(made)], 1)
        return [Picture("masked autoencoder", ("image", "visible", "prediction"), images)]

    def _image(self, pixels: Tensor) -> Tensor:
        """Normalised patches (B, N, P) as images in [0, 1]."""
        mean, std = self.encoder.get_buffer("mean"), self.encoder.get_buffer("std")
        return (unpatchify(pixels, self.encoder.patch) * std + mean).clamp(0, 1)

    def health(self, batch: Batch) -> dict[str, float]:
        """Error of the hidden patches beside that of the mean, and how far predictions differ from each other."""
        x = batch.views[0]
        mask = self.mask(x)
        prediction, target = self.predict(x, mask).float(), self.target(x)
        spread = [float(take(y, mask.hidden).flatten(0, 1).std(0, correction=0).mean()) for y in (prediction, target)]
        return {
            "hidden_mse": float(hidden_error(prediction, target, mask.hidden)),
            "mean_mse": float(hidden_error(torch.zeros_like(target), target, mask.hidden)),
            "prediction_std": spread[0] / max(spread[1], EPS),
        }

    def symptoms(self, health: Mapping[str, float]) -> list[str]:
        """The same prediction for every patch, and predictions that are no better than the mean."""
        symptoms, mean = [], "mean of each patch" if self.params.normalise else "mean colour of the data set"
        if health["prediction_std"] < CONSTANT:
            symptoms.append(
                f"constant output: predictions of patches differ by {health['prediction_std']:.3f} of what the patches "
                "do; train longer, or lower `share`"
            )
        if health["hidden_mse"] >= USELESS * health["mean_mse"]:
            symptoms.append(
                f"no better than the {mean}: the squared error of hidden patches is {health['hidden_mse']:.4f}, that "
                f"of the mean {health['mean_mse']:.4f}; train longer, raise optimizer.lr, or lower `share`"
            )
        return symptoms
