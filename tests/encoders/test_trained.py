"""A network of another library through the loop, into a folder, and out of it again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pretextbench import registry
from pretextbench.params import EncoderParams, Pretrain
from pretextbench.train import encoder_folder, pretrain
from pretextbench.train.budget import Job
from tests.leaks import written

LOOP = Pretrain(images=16, batch_size=8, precision="fp32", accelerator="cpu", log_every=1)


def job(encoder: EncoderParams, name: str = "rotation") -> Job:
    method = registry.load(name)
    params = method.Params()
    return Job(registry.find(name), "0", method, params, encoder, LOOP, method.recipe(params, 32), {}, 0)


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_efficientnet", "torchvision/squeezenet1_1"])
def test_two_steps_move_the_weights_and_the_folder_gives_them_back(tmp_path: Path, name: str) -> None:
    draw = np.random.default_rng(0)
    data = written(tmp_path / "images", {s: draw.integers(0, 256, (8, 32, 32, 3), np.uint8) for s in ("train", "val")})
    params = EncoderParams(name=name)
    card = pretrain.pretrain(job(params), data, tmp_path / "out", tmp_path / "scratch", show=False)
    encoder, read = encoder_folder.load(tmp_path / "out")
    assert read == card
    assert card.steps == 2
    assert card.encoder == params
    torch.manual_seed(0)
    fresh = job(params).method.build_encoder(None, params, read).network.state_dict()  # type: ignore[arg-type]
    moved = encoder.network.state_dict()
    assert list(moved) == list(fresh)
    assert not all(torch.equal(moved[key], fresh[key]) for key in moved)
    features = encoder(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, encoder.dim)
    assert features.isfinite().all()
