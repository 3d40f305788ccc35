"""The context encoder against independent computations: masks counted, equations looped, gradients told apart."""

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pretext_context_encoder import (
    DISCRIMINATOR,
    MAIN,
    ContextEncoder,
    adversarial,
    masks,
    psnr,
    reconstruction,
)
from pretext_context_encoder.networks import ChannelwiseLinear, Discriminator, Generator, sides
from pretext_context_encoder.params import Params
from pydantic import ValidationError
from torch import Tensor

from pretextbench.budget import Job
from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.optim import build as optimizer
from pretextbench.params import EncoderParams, Pretrain
from pretextbench.pretrain import pretrain
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop
from pretextbench.registry import Plugin

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.2)
CPU = torch.device("cpu")
KINDS = ["central", "blocks", "region"]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def method(size: int = 32, encoder: EncoderParams | None = None, **params: Any) -> ContextEncoder:
    backbone = build(encoder or EncoderParams(width=4), size, MEAN, STD)
    chosen = Params(**{"discriminator_width": 4, "bank": 16, **params})
    derived = ContextEncoder.derive(chosen, iter(()), size)
    return ContextEncoder(chosen, backbone, Data(size, MEAN, STD, images=100, derived=derived))


def batch(x: Tensor, player: str = MAIN) -> Batch:
    return Batch((x,), torch.arange(len(x)), player=player)


class TestMasks:
    def test_the_central_square_is_a_quarter(self):
        region = masks.central(3, 32, CPU)
        assert region.shape == (3, 1, 32, 32)
        assert region.sum((1, 2, 3)).tolist() == [256] * 3
        assert region[:, :, 8:24, 8:24].all()

    def test_blocks_are_a_union_of_squares_inside_the_image(self):
        region = masks.blocks(64, 32, 0.25, 5, CPU)[:, 0]
        windows = region.unfold(1, 8, 1).unfold(2, 8, 1).all(-1).all(-1)  # (B, 25, 25): a whole square begins here
        covered = torch.zeros_like(region)
        for b, i, j in windows.nonzero().tolist():
            covered[b, i : i + 8, j : j + 8] = True
        assert torch.equal(covered, region)
        one = masks.blocks(64, 32, 0.25, 1, CPU)
        assert one.sum((1, 2, 3)).tolist() == [64] * 64

    @pytest.mark.parametrize("size", [32, 64])
    def test_five_blocks_cover_about_a_quarter(self, size):
        area = masks.blocks(2000, size, 0.25, 5, CPU).float().mean((1, 2, 3))
        assert float(area.mean()) == pytest.approx(0.266, abs=0.005)
        assert float(area.std()) == pytest.approx(0.028, abs=0.004)

    def test_blocks_reach_every_corner_and_shrink_to_a_pixel(self):
        assert masks.blocks(500, 8, 0.25, 5, CPU).any(0).all()
        assert masks.blocks(4, 2, 0.25, 1, CPU).sum((1, 2, 3)).tolist() == [1] * 4

    @pytest.mark.parametrize("size", [16, 32, 96])
    def test_regions_cover_20_to_30_percent(self, size):
        bank = masks.bank(64, size, 8)
        area = masks.regions(bank, 200).float().mean((1, 2, 3))
        assert bank.dtype == torch.bool
        assert area.min() >= 0.2
        assert area.max() <= 0.3
        assert float(bank.float().mean()) == pytest.approx(0.25, abs=0.01)

    def test_a_bank_exists_for_the_smallest_image(self):
        assert masks.bank(16, 8, 8).shape == (16, 8, 8)
        assert masks.bank(16, 8, 64).shape == (16, 8, 8)

    def test_noise_is_smooth_across_the_edges(self):
        field = masks.smooth_noise(32, 32, 8)
        inside = (field[:, 1:] - field[:, :-1]).abs().mean()
        seam = (field[:, 0] - field[:, -1]).abs().mean()
        assert seam < 1.2 * inside

    def test_a_region_is_a_mask_of_the_bank_moved(self):
        bank = masks.bank(1, 8, 4)
        moved = {
            tuple(torch.rot90(m, turns, (0, 1)).roll((dy, dx), (0, 1)).flatten().tolist())
            for m in (bank[0], bank[0].flip(0))
            for turns in range(4)
            for dy in range(8)
            for dx in range(8)
        }
        drawn = {tuple(m.flatten().tolist()) for m in masks.regions(bank, 2000)}
        assert drawn <= moved
        assert len(drawn) > 0.9 * len(moved)  # 512 kinds of draw, 2000 draws: all but exp(-3.9) = 2 % turn up

    def test_each_image_draws_from_the_whole_bank(self):
        bank = torch.tensor([False, True])[:, None, None].expand(2, 4, 4)
        assert set(masks.regions(bank, 64).float().mean((1, 2, 3)).tolist()) == {0.0, 1.0}

    @pytest.mark.parametrize("kind", ["blocks", "region"])
    def test_each_image_has_its_own_and_the_seed_decides(self, kind):
        model = method(missing=kind)
        first = model.draw(8)
        assert len({tuple(m.flatten().tolist()) for m in first}) == 8
        torch.manual_seed(5)
        again = model.draw(8)
        assert not torch.equal(first, again)
        torch.manual_seed(5)
        assert torch.equal(model.draw(8), again)

    def test_the_band_lies_inside_the_region_along_what_is_visible(self):
        hole, band = masks.overlap(masks.central(1, 32, CPU), 2)
        assert hole.sum() == 144
        assert hole[:, :, 10:22, 10:22].all()
        assert torch.equal(hole | band, masks.central(1, 32, CPU))
        corner = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
        corner[..., :4, :4] = True
        hole, _ = masks.overlap(corner, 1)
        assert hole.sum() == 9, "the edge of the image is no border"
        assert hole[..., :3, :3].all()

    def test_a_region_too_thin_for_a_band_keeps_none(self):
        region = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
        region[0, 0, 3:5, 3:5] = True
        region[1, 0, 1:7, 1:7] = True
        hole, band = masks.overlap(region, 1)
        assert torch.equal(hole[0], region[0])
        assert not band[0].any()
        assert hole[1].sum() == 16

    def test_the_band_is_the_papers_for_the_centre_and_none_for_the_others(self):
        model = method(missing="central")
        assert model.split(model.draw(1))[0].sum() == 144  # 2 of 32 px, 7 of 128
        for kind in ("blocks", "region"):
            model = method(missing=kind)
            assert not model.split(model.draw(4))[1].any()
        assert method(missing="blocks", overlap=0.03).split(model.draw(4))[1].any()


class TestEquation3:
    def test_it_is_the_loop_over_missing_values(self):
        x, fake = torch.rand(2, 3, 5, 5, dtype=torch.float64), torch.rand(2, 3, 5, 5, dtype=torch.float64)
        kind = torch.randint(3, (2, 1, 5, 5))  # 0 visible, 1 hole, 2 band
        total, count = 0.0, 0
        for b in range(2):
            for c in range(3):
                for i in range(5):
                    for j in range(5):
                        k = int(kind[b, 0, i, j])
                        total += (0, 1, 10)[k] * float(x[b, c, i, j] - fake[b, c, i, j]) ** 2
                        count += k > 0
        said = reconstruction(fake, x, kind == 1, kind == 2, 10.0)
        assert float(said) == pytest.approx(total / count, abs=1e-12)

    def test_nothing_missing_is_0(self):
        x, none = torch.rand(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
        assert reconstruction(1 - x, x, none, none, 10.0) == 0

    def test_what_is_kept_has_no_gradient_and_the_band_ten_times_the_holes(self):
        x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
        fake = (x + 0.1).requires_grad_()
        region = masks.central(1, 16, CPU)
        hole, band = masks.overlap(region, 2)
        (gradient,) = torch.autograd.grad(reconstruction(fake, x, hole, band, 10.0), fake)
        assert gradient.masked_select(~region).abs().max() == 0
        inside, overlap = gradient.masked_select(hole), gradient.masked_select(band)
        torch.testing.assert_close(overlap, (10 * inside[0]).expand_as(overlap), atol=1e-12, rtol=0)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_method_minimises_it_on_the_scale_of_the_paper(self, kind, monkeypatch):
        model, x = method(missing=kind, adversarial=0), torch.rand(4, 3, 32, 32)
        fake = (torch.rand(4, 3, 32, 32) * 2 - 1).requires_grad_()
        monkeypatch.setattr(model, "generate", lambda masked: fake)
        torch.manual_seed(1)
        region = model.draw(4)
        torch.manual_seed(1)
        total = model.loss(batch(x)).total
        hole, band = model.split(region)
        assert float(total.detach()) == pytest.approx(float(reconstruction(fake.detach(), 2 * x - 1, hole, band, 10.0)))
        (gradient,) = torch.autograd.grad(total, fake)
        assert torch.equal((gradient != 0).any(1, keepdim=True), region)


class TestNoLeak:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_network_sees_nothing_of_the_hole(self, kind):
        model, x = method(missing=kind), torch.rand(4, 3, 32, 32)
        hole, _ = model.split(model.draw(4))
        other = torch.where(hole, torch.rand_like(x), x)
        assert torch.equal(model.masked(x, hole), model.masked(other, hole))
        assert not torch.equal(other, x)

    def test_the_method_masks_before_it_encodes(self, monkeypatch):
        model, x = method(missing="central"), torch.rand(4, 3, 32, 32)
        seen: list[Tensor] = []
        stages = model.encoder.stages
        monkeypatch.setattr(model.encoder, "stages", lambda images: seen.append(images) or stages(images))
        for player in (MAIN, DISCRIMINATOR):
            model.loss(batch(x, player))
        with torch.no_grad():
            model.eval().show(batch(x))
            model.health(batch(x))
        colour = torch.tensor(MEAN)
        assert len(seen) == 4
        for images in seen:
            assert torch.equal(images[..., 10:22, 10:22], colour.view(1, 3, 1, 1).expand(4, 3, 12, 12))
            assert torch.equal(images[..., :10, :], x[..., :10, :])
            assert model.encoder.normalise(images)[..., 10:22, 10:22].abs().max() < 1e-6


class TestEquations4And5:
    def test_a_discriminator_that_cannot_tell(self):
        zero = torch.zeros(7, dtype=torch.float64)
        assert float(adversarial(zero, zero)) == pytest.approx(-2 * math.log(2), abs=1e-12)

    def test_equation_4_is_its_loop(self):
        real, fake = torch.randn(5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
        d = lambda z: 1 / (1 + math.exp(-z))  # noqa: E731
        expected = sum(math.log(d(a)) for a in real.tolist()) / 5 + sum(math.log(1 - d(b)) for b in fake.tolist()) / 5
        assert float(adversarial(real, fake)) == pytest.approx(expected, abs=1e-12)

    def test_it_stays_finite_where_the_discriminator_is_sure(self):
        sure = torch.full((2,), 1e4)
        assert float(adversarial(-sure, sure)) == -2e4
        assert float(adversarial(sure, -sure)) == 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_undecided_the_players_lose_2_ln_2_and_ln_2(self, kind):
        model, x = method(missing=kind), torch.rand(4, 3, 32, 32)
        for p in model.discriminator.layers[-1].parameters():
            p.data.zero_()
        with torch.no_grad():
            told = model.loss(batch(x, DISCRIMINATOR))
            loss = model.loss(batch(x))
        assert float(told.total) == pytest.approx(2 * math.log(2))
        assert float(loss.parts["fooling"]) == pytest.approx(math.log(2))
        expected = 0.999 * float(loss.parts["reconstruction"]) + 0.001 * math.log(2)
        assert float(loss.total) == pytest.approx(expected)

    def test_fooling_does_not_saturate(self):
        """Where D is sure that x^ is generated, -log D(x^) is 20 and steep; log(1 - D(x^)) would be flat, at 0."""
        model, x = method(missing="blocks"), torch.rand(4, 3, 32, 32)
        model.discriminator.layers[-1].bias.data.fill_(-20.0)
        with torch.no_grad():
            assert float(model.loss(batch(x)).parts["fooling"]) == pytest.approx(20, abs=1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_turn_moves_its_own_player_alone(self, kind):
        model, x = method(missing=kind), torch.rand(4, 3, 32, 32)
        main, other = model.players()
        assert (main.name, other.name) == (MAIN, DISCRIMINATOR)
        assert {id(p) for q in (main, other) for p in q.parameters} == {id(p) for p in model.parameters()}
        model.loss(batch(x)).total.backward()
        assert all(p.grad is not None for p in main.parameters)
        assert all(p.grad is None for p in other.parameters)
        model.zero_grad(set_to_none=True)
        model.loss(batch(x, DISCRIMINATOR)).total.backward()
        assert all(p.grad is None for p in main.parameters)
        assert all(p.grad is not None for p in other.parameters)

    def test_the_adversarial_loss_reaches_the_encoder(self):
        model, x = method(missing="central"), torch.rand(4, 3, 32, 32)
        model.loss(batch(x)).parts["fooling"].backward()
        assert model.encoder.conv1.weight.grad.abs().max() > 0

    def test_a_step_of_each_player_goes_its_way(self):
        """The discriminator's step raises equation 4; the main player's lowers -log D(x^)."""
        model, x = method(missing="central", adversarial=0.9), torch.rand(16, 3, 32, 32)

        def after_step(player: str, value: Any) -> tuple[float, float]:
            found = next(p for p in model.players() if p.name == player)
            mover = optimizer(found.parameters, found.optimizer)
            before = model.loss(batch(x, player))
            before.total.backward()
            mover.step()
            model.zero_grad(set_to_none=True)
            return value(before), value(model.loss(batch(x, player)))

        before, after = after_step(DISCRIMINATOR, lambda loss: -float(loss.total.detach()))
        assert after > before
        before, after = after_step(MAIN, lambda loss: float(loss.parts["fooling"].detach()))
        assert after < before

    def test_weight_0_is_one_player_without_a_discriminator(self):
        model, x = method(adversarial=0), torch.rand(4, 3, 32, 32)
        (main,) = model.players()
        assert not [name for name, _ in model.named_parameters() if "discriminator" in name]
        assert len(main.parameters) == len(list(model.parameters()))
        loss = model.loss(batch(x))
        assert torch.equal(loss.total, loss.parts["reconstruction"])
        assert model.waiting == []
        with torch.no_grad():
            assert "discriminator_accuracy" not in model.eval().health(batch(x))

    def test_the_rates_are_ten_to_one_and_adam_without_decay(self):
        main, other = method().players()
        assert main.optimizer.lr == pytest.approx(10 * other.optimizer.lr)
        for player in (main, other):
            assert (player.optimizer.betas, player.optimizer.weight_decay) == ((0.5, 0.999), 0)

    def test_both_turns_of_a_step_see_the_same_holes(self, monkeypatch):
        model, x = method(missing="region"), torch.rand(4, 3, 32, 32)
        seen: list[Tensor] = []
        masked = model.masked
        monkeypatch.setattr(model, "masked", lambda x, hole: seen.append(hole) or masked(x, hole))
        parts = x.chunk(2)  # accumulated in two parts: first the main player's turns, then the discriminator's
        for _ in range(2):
            for player in (MAIN, DISCRIMINATOR):
                for part in parts:
                    model.loss(batch(part, player))
            model.after_step(0.0)
        assert torch.equal(seen[0], seen[2])
        assert torch.equal(seen[1], seen[3])
        assert not torch.equal(seen[0], seen[1])
        assert not torch.equal(seen[0], seen[4])
        assert model.waiting == []

    def test_a_step_leaves_no_holes_to_the_next(self):
        model, x = method(), torch.rand(2, 3, 32, 32)
        model.loss(batch(x))
        assert len(model.waiting) == 1
        model.after_step(0.0)
        assert model.waiting == []

    def test_the_discriminator_sees_the_centre_or_the_completed_image(self):
        x, fake = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
        model = method(missing="central")
        generated, real = model.judged(fake, x, model.draw(2))
        assert torch.equal(generated, fake[..., 8:24, 8:24])
        assert torch.equal(real, x[..., 8:24, 8:24])
        model = method(missing="blocks")
        region = model.draw(2).expand_as(x)
        generated, real = model.judged(fake, x, region)
        assert torch.equal(generated[region], fake[region])
        assert torch.equal(generated[~region], x[~region])
        assert torch.equal(real, x)

    def test_the_discriminator_computes_in_float32_under_autocast(self):
        model, x = method(), torch.rand(4, 3, 32, 32)
        with torch.autocast("cpu", torch.bfloat16):
            assert model.discriminator(x.bfloat16()).dtype == torch.float32
            assert model.loss(batch(x)).total.dtype == torch.float32


class TestNetworks:
    def test_channelwise_is_a_block_diagonal_matrix(self):
        layer, x = ChannelwiseLinear(5, 3).double(), torch.randn(2, 5, 3, 3, dtype=torch.float64)
        dense = torch.block_diag(*layer.weight)  # (5 * 9, 5 * 9)
        torch.testing.assert_close(layer(x), (x.flatten(1) @ dense).view_as(x), atol=1e-12, rtol=0)
        assert sum(p.numel() for p in layer.parameters()) == 5 * 3**4

    def test_it_carries_across_the_whole_map_within_a_channel(self):
        layer, x = ChannelwiseLinear(2, 4), torch.zeros(1, 2, 4, 4)
        x[0, 0, 0, 0] = 1
        found = layer(x)
        assert (found[0, 0] != 0).all()
        assert (found[0, 1] == 0).all()

    def test_a_large_map_is_averaged_down_first(self):
        generator = Generator(8, 12, 96)
        assert generator.channelwise.weight.shape == (8, 64, 64)
        assert generator(torch.rand(2, 8, 12, 12)).shape == (2, 3, 96, 96)

    def test_sides_double_up_to_the_image(self):
        assert sides(4, 32) == [8, 16, 32]
        assert sides(1, 9) == [2, 3, 5, 9]

    @pytest.mark.parametrize("size", [4, 5, 8, 16, 33, 96])
    def test_the_discriminator_gives_one_logit_per_image_of_any_size(self, size):
        assert Discriminator(4, size)(torch.rand(2, 3, size, size)).shape == (2,)

    @pytest.mark.parametrize("size", [8, 9, 32, 96])
    @pytest.mark.parametrize("stem", ["small", "large"])
    @pytest.mark.parametrize("kind", KINDS)
    def test_heads_fit_every_size_and_stem(self, size, stem, kind):
        model = method(size, EncoderParams(width=4, stem=stem), missing=kind)
        x = torch.rand(2, 3, size, size)
        for player in (MAIN, DISCRIMINATOR):
            total = model.loss(batch(x, player)).total
            total.backward()
            assert total.isfinite()


class TestMethod:
    def test_regions_without_a_bank_are_refused(self):
        backbone = build(EncoderParams(width=4), 32, MEAN, STD)
        with pytest.raises(UserError, match=r"needs 'masks', .* found nothing derived. Run that stage"):
            ContextEncoder(Params(), backbone, Data(32, MEAN, STD, images=9))

    def test_only_regions_need_one(self):
        for kind in ("central", "blocks"):
            assert ContextEncoder.derive(Params(missing=kind), iter(()), 32) == {}
        bank = ContextEncoder.derive(Params(bank=5), iter(()), 32)["masks"]
        assert bank.shape == (5, 32, 32)

    def test_the_bank_comes_from_the_seed(self):
        banks = []
        for seed in (3, 3, 4):
            torch.manual_seed(seed)
            banks.append(ContextEncoder.derive(Params(bank=5), iter(()), 32)["masks"])
        assert torch.equal(banks[0], banks[1])
        assert not torch.equal(banks[0], banks[2])

    def test_a_checkpoint_holds_no_bank(self):
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
    def test_black_constant_and_single_images_give_finite_numbers(self, kind, x):
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
    def test_the_picture_shows_masked_filled_true(self, kind):
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

    image_size, mean, std, fingerprint, classes = 8, MEAN, STD, "tiny", ()

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
    assert {"loss", "loss_discriminator", "reconstruction", "fooling", "told_apart"} <= set(header)
    (model,) = built
    assert not [name for name, value in model.named_parameters() if torch.equal(value, model.before[name])]
    assert model.waiting == []


class TestHealth:
    def test_errors_of_the_hole_are_measured_in_the_hole(self, monkeypatch):
        model, x = method(missing="central", overlap=0), torch.rand(8, 3, 32, 32) * 0.8
        fake = x.clone()
        fake[..., 8:24, 8:24] += 0.1
        monkeypatch.setattr(model, "generate", lambda masked: 2 * fake - 1)
        with torch.no_grad():
            health = model.eval().health(batch(x))
        assert health["hole_l1"] == pytest.approx(0.1, rel=1e-4)
        assert health["hole_l2"] == pytest.approx(0.01, rel=1e-4)
        assert health["hole_psnr"] == pytest.approx(20, abs=1e-3)
        baseline = x[..., 8:24, 8:24] - torch.tensor(MEAN).view(1, 3, 1, 1)
        assert health["mean_fill_l1"] == pytest.approx(float(baseline.abs().mean()), rel=1e-4)
        assert health["mean_fill_l2"] == pytest.approx(float(baseline.square().mean()), rel=1e-4)
        assert health["visible_l2"] < 1e-10

    def test_psnr_of_a_perfect_prediction_is_a_number(self):
        assert psnr(0.0) == psnr(1e-300) == 100
        assert psnr(1.0) == 0

    def test_it_names_the_mean_colour_and_the_copy(self, monkeypatch):
        model, x = method(), torch.rand(8, 3, 32, 32)
        colour = torch.tensor(MEAN).view(1, 3, 1, 1)
        monkeypatch.setattr(model, "generate", lambda masked: 2 * colour.expand_as(masked) - 1)
        with torch.no_grad():
            found = model.eval().symptoms(model.health(batch(x)))
            assert [s.split(":")[0] for s in found] == ["mean colour"]
            monkeypatch.setattr(model, "generate", lambda masked: 2 * masked - 1)
            found = model.symptoms(model.health(batch(x)))
        assert [s.split(":")[0] for s in found] == ["mean colour", "copying"]

    def test_it_names_a_discriminator_that_wins_and_nothing_where_all_is_well(self):
        model = method()
        well = {"hole_l2": 0.02, "mean_fill_l2": 0.06, "visible_l2": 0.05, "discriminator_accuracy": 0.8}
        assert model.symptoms(well) == []
        (said,) = model.symptoms({**well, "discriminator_accuracy": 1.0})
        assert said.startswith("the discriminator wins")
