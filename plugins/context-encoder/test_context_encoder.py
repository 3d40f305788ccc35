"""The context encoder as a method: what it derives, refuses, shows, and that both players train in the common loop."""

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pretext_context_encoder import DISCRIMINATOR, MAIN, ContextEncoder, Params
from pydantic import ValidationError

from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.method import Data
from pretextbench.params import EncoderParams, Pretrain
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop
from pretextbench.registry import Plugin
from pretextbench.train.budget import Job
from pretextbench.train.pretrain import pretrain

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.2)
KINDS = ["central", "blocks", "region"]


class TestMethod:
    def test_regions_without_a_bank_are_refused(self):
        backbone = build(EncoderParams(width=4), 32, MEAN, STD)
        with pytest.raises(UserError, match=r"needs 'masks', .* found nothing derived. Run that stage"):
            ContextEncoder(Params(missing="region"), backbone, Data(32, MEAN, STD, images=9))

    def test_only_regions_need_one(self):
        for kind in ("central", "blocks"):
            assert ContextEncoder.derive(Params(missing=kind), iter(()), 32) == {}
        bank = ContextEncoder.derive(Params(missing="region", bank=5), iter(()), 32)["masks"]
        assert bank.shape == (5, 32, 32)

    def test_the_bank_comes_from_the_seed(self):
        banks = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            banks.append(ContextEncoder.derive(Params(missing="region", bank=5), iter(()), 32)["masks"])
        assert torch.equal(banks[0], banks[1])
        assert not torch.equal(banks[0], banks[2])

    def test_a_checkpoint_holds_no_bank(self, method):
        assert not [name for name in method().state_dict() if "bank" in name]

    def test_blocks_larger_than_the_image_are_refused(self):
        with pytest.raises(ValidationError, match="block"):
            Params(block=1.5)

    def test_the_recipe_crops_and_flips(self):
        (view,) = ContextEncoder.recipe(Params(), 32).views
        assert [type(op) for op in view.ops] == [RandomResizedCrop, HorizontalFlip]

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(
        "x", [torch.zeros(2, 3, 32, 32), torch.full((2, 3, 32, 32), 0.4), torch.rand(1, 3, 32, 32)]
    )
    def test_black_constant_and_single_images_give_finite_numbers(self, method, batch, kind, x):
        model = method(missing=kind)
        for player in (MAIN, DISCRIMINATOR):
            model.zero_grad()
            total = model.loss(batch(x, player)).total
            total.backward()
            assert total.isfinite()
            assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        with torch.no_grad():
            health = model.eval().health(batch(x))
        assert all(math.isfinite(value) for value in health.values())
        model.symptoms(health)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_picture_shows_masked_filled_true(self, method, batch, kind):
        model, x = method(missing=kind), torch.rand(3, 3, 32, 32)
        torch.manual_seed(1)
        region = model.draw(3).expand_as(x)
        torch.manual_seed(1)
        with torch.no_grad():
            (picture,) = model.eval().show(batch(x))
        assert picture.columns == ("masked", "filled", "true")
        assert picture.images.shape == (3, 3, 3, 32, 32)
        assert 0 <= picture.images.min() <= picture.images.max() <= 1
        assert torch.equal((picture.images[:, 1] != x), region)
        assert ((picture.images[:, 0] != x) <= region).all()


class TinyImages:
    """A prepared data set of 64 random images of 8 px."""

    image_size, mean, std, fingerprint, classes, grey_range = 8, MEAN, STD, "tiny", (), None

    def images(self, split: str) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)


class Remembering(ContextEncoder):
    """Keeps its instances and their first weights."""

    built: ClassVar[list["Remembering"]] = []

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.before = {name: value.detach().clone() for name, value in self.named_parameters()}
        self.built.append(self)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_both_players_train_in_the_common_loop(accumulate, tmp_path: Path, monkeypatch):
    chosen, data = Params(discriminator_width=4, bank=16, cells=3), TinyImages()
    derived = ContextEncoder.derive(chosen, iter(()), 8)
    plugin = Plugin("context-encoder", "pretext_context_encoder:ContextEncoder", "pretext-context-encoder", "0")
    loop = Pretrain(images=96, batch_size=16, accumulate=accumulate, precision="fp32")
    recipe = ContextEncoder.recipe(chosen, 8)
    built: list[Remembering] = []
    monkeypatch.setattr(Remembering, "built", built)
    job = Job(plugin, "", Remembering, chosen, EncoderParams(width=4), loop, recipe, derived, seed=0)
    pretrain(job, data, tmp_path / "run", tmp_path / "scratch", show=False)
    header = (tmp_path / "run" / "history.csv").read_text().splitlines()[0].split(",")
    assert {"loss", "loss_discriminator", "reconstruction", "fooling", "discriminator_accuracy"} <= set(header)
    (model,) = built
    assert not [name for name, value in model.named_parameters() if torch.equal(value, model.before[name])]
