"""The control `pixels`: area means minus their mean over the training images, as an encoder without parameters."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pretextbench import registry
from pretextbench.encoder import Encoder
from pretextbench.evaluate.features import LayerFeatures, extract
from pretextbench.method import Data
from pretextbench.methods.controls import Pixels
from pretextbench.params import EncoderParams, MethodParams, Pretrain
from pretextbench.train import encoder_folder
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain
from tests.leaks import written

CPU = torch.device("cpu")


def images(count: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def built(train: np.ndarray) -> Encoder:
    """As the stages build it: derived in batches, then given to the encoder."""
    side, params = train.shape[1], MethodParams()
    batches = iter(torch.from_numpy(train).permute(0, 3, 1, 2).float().div(255).split(5))
    data = Data(side, (0.5,) * 3, (0.25,) * 3, len(train), Pixels.derive(params, batches, side))
    return Pixels(params, Pixels.build_encoder(params, EncoderParams(), data), data).encoder


def by_hand(pixels: np.ndarray) -> np.ndarray:
    """(n, 192): a loop over areas; where they do not divide the side, they overlap as those of adaptive pooling do."""
    n, side = pixels.shape[:2]
    out = np.empty((n, 3, 8, 8))
    for i in range(8):
        for j in range(8):
            rows, columns = (slice(k * side // 8, -(-(k + 1) * side // 8)) for k in (i, j))
            out[:, :, i, j] = pixels[:, rows, columns].astype(np.float64).mean((1, 2)) / 255
    return out.reshape(n, -1)


@pytest.mark.parametrize("side", [32, 19, 5])
def test_features_are_area_means_minus_those_of_the_training_images(side: int) -> None:
    train, fresh = images(12, side), images(7, side, seed=1)
    encoder = built(train)
    features = extract(encoder, fresh, CPU)
    assert list(features) == ["pixels"] == encoder.layers
    np.testing.assert_allclose(features["pixels"].numpy(), by_hand(fresh) - by_hand(train).mean(0), atol=1e-6)
    x = torch.from_numpy(fresh).permute(0, 3, 1, 2).float() / 255
    layer = LayerFeatures(encoder, "pixels")
    assert layer.dim == encoder.dim == 192
    torch.testing.assert_close(layer(x), features["pixels"])
    torch.testing.assert_close(encoder(x), features["pixels"])


def test_nothing_is_trained_and_nothing_is_counted() -> None:
    data = Data(16, (0.5,) * 3, (0.25,) * 3, images=4)
    control = Pixels(MethodParams(), Pixels.build_encoder(MethodParams(), EncoderParams(), data), data)
    assert control.players() == ()
    assert list(control.parameters()) == []
    assert (control.uses_labels, control.uses_weights) == (False, False)


def test_the_card_is_clean_and_the_mean_is_kept(tmp_path: Path) -> None:
    train, pretraining = images(12, 16), Pretrain(precision="fp32", accelerator="cpu", batch_size=4)
    data = written(tmp_path / "images", {"train": train, "val": images(9, 16, seed=2)})
    derived = {"thumbnail": torch.from_numpy(by_hand(train).mean(0)).float().view(3, 8, 8)}
    facts = (registry.find("pixels"), "0", Pixels, MethodParams(), EncoderParams(width=4), pretraining)
    pretrain(Job(*facts, Pixels.recipe(MethodParams(), 16), derived, 0), data, tmp_path / "out", tmp_path / "scratch")
    encoder, card = encoder_folder.load(tmp_path / "out")
    assert (card.method, card.control, card.views) == ("pixels", True, 0)
    assert (card.parameters, card.multiply_adds, card.training_multiply_adds) == (0, 0, 0)
    assert (card.images_seen, card.steps, card.seconds) == (0, 0, 0.0)
    fresh = images(3, 16, seed=3)
    expected = by_hand(fresh) - by_hand(train).mean(0)
    np.testing.assert_allclose(extract(encoder, fresh, CPU)["pixels"].numpy(), expected, atol=1e-5)
