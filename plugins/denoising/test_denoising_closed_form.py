"""A linear denoising autoencoder, trained by the common loop, against the matrix that minimises its loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pretext_denoising import Denoising, Params
from safetensors.torch import load_file
from torch import Tensor, nn

from pretextbench.encoder import Encoder
from pretextbench.method import Data
from pretextbench.params import EncoderParams, OptimizerParams, Pretrain
from pretextbench.recipe import Recipe
from pretextbench.registry import Plugin
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.2)
PIXELS = 2  # a side so small that the whole weight matrix is 12 x 12


class LinearEncoder(Encoder):
    """One matrix on raw pixels."""

    dim, channels = 12, {"code": 12}

    def __init__(self, data: Data) -> None:
        super().__init__(data.mean, data.std)
        self.weight = nn.Parameter(torch.zeros(12, 12))

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        return {"code": (x.flatten(1) @ self.weight.T)[..., None, None]}


class LinearDenoising(Denoising):
    """x^ = W x~: no bottleneck, and a decoder that only gives the image its shape back."""

    def __init__(self, params: Params, encoder: Encoder, data: Data) -> None:
        super().__init__(params, encoder, data)
        self.bottleneck, self.decoder = nn.Identity(), nn.Unflatten(1, (3, PIXELS, PIXELS))

    @classmethod
    def recipe(cls, params: Params, image_size: int) -> Recipe:
        return Recipe()

    @classmethod
    def build_encoder(cls, params: Params, encoder: EncoderParams, data: Data) -> Encoder:
        return LinearEncoder(data)

    def decode(self, noisy: Tensor) -> Tensor:
        return super().decode(noisy).flatten(1).view_as(noisy)


class TinyImages:
    """A prepared data set of correlated images of four pixels."""

    image_size, mean, std, fingerprint, classes, grey_range = PIXELS, MEAN, STD, "tiny", (), None

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        mixing = rng.normal(size=(12, 12)) * 0.08
        x = 0.5 + rng.normal(size=(4096, 12)) @ mixing
        self.array = (x.clip(0, 1) * 255).round().astype(np.uint8).reshape(-1, PIXELS, PIXELS, 3)

    def images(self, split: str) -> np.ndarray:
        return self.array

    def second_moment(self) -> np.ndarray:
        x = self.array.transpose(0, 3, 1, 2).reshape(len(self.array), 12) / 255
        return x.T @ x / len(x)


def closed_form(s: np.ndarray, params: Params) -> np.ndarray:
    """The best W for x^ = W x~ in expectation over images and corruptions, S = E[x x^T]."""
    if params.corruption == "gaussian":
        return s @ np.linalg.inv(s + params.sigma**2 * np.eye(12))
    kept = 12 - round(params.share * 12)
    one, both = kept / 12, kept * (kept - 1) / (12 * 11)  # probabilities that one, or two given ones, are kept
    q = both * s
    np.fill_diagonal(q, one * np.diag(s))
    return one * s @ np.linalg.inv(q)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed", [{"share": 0.25, "unit": "component", "fill": "zero"}, {"corruption": "gaussian", "sigma": 0.2}]
)
def test_the_linear_autoencoder_trained_by_the_common_loop_reaches_the_closed_form(changed, tmp_path: Path):
    data = TinyImages()
    adam = OptimizerParams(lr=1e-2, weight_decay=0, warmup=0.05)
    params = Params(loss="mse", **changed, batch_size=1024, optimizer=adam)
    plugin = Plugin("linear", "test:LinearDenoising", "pretext-denoising", "0")
    loop = Pretrain(images=1024 * 1100, precision="fp32", log_every=500)
    job = Job(plugin, "", LinearDenoising, params, EncoderParams(), loop, LinearDenoising.recipe(params, 2), {}, seed=0)
    pretrain(job, data, tmp_path / "run", tmp_path / "scratch", show=False)
    result = load_file(tmp_path / "run" / "encoder.safetensors")["weight"].numpy()
    expected = closed_form(data.second_moment(), params)
    assert np.abs(expected - np.eye(12)).max() > 0.2, "the oracle must not be near a trivial answer"
    assert np.abs(result - expected).max() < 1e-2
