"""The denoising autoencoder against independent computations: counts and loops in float64."""

import math
from typing import Any

import pytest
import torch
from pretext_denoising import Denoising, Params, bernoulli, choose, gaussian, masking, mse, salt_and_pepper, sides
from pydantic import ValidationError
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.2)


def method(size: int = 32, encoder: EncoderParams | None = None, **params: Any) -> Denoising:
    backbone = build(encoder or EncoderParams(width=4), size, MEAN, STD)
    return Denoising(Params(**params), backbone, Data(size, MEAN, STD, images=100))


def batch(x: Tensor) -> Batch:
    return Batch((x,), torch.arange(len(x)))


class TestCorruptions:
    @pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 1.0])
    @pytest.mark.parametrize(("unit", "d"), [("pixel", 81), ("component", 243)])
    def test_masking_spoils_an_exact_number_and_leaves_the_rest_to_the_bit(self, share, unit, d):
        x, fill = torch.rand(16, 3, 9, 9), torch.tensor(MEAN).view(3, 1, 1)
        noisy, spoiled = masking(x, share, unit, fill)
        chosen = spoiled[:, 0] if unit == "pixel" else spoiled
        assert chosen.flatten(1).sum(1).tolist() == [round(share * d)] * 16
        assert torch.equal(noisy[~spoiled], x[~spoiled])
        assert torch.equal(noisy[spoiled], fill.expand_as(x)[spoiled])

    def test_a_pixel_is_spoiled_whole_and_components_apart(self):
        x = torch.rand(4, 3, 16, 16)
        assert choose(x, 0.5, "pixel").shape == (4, 1, 16, 16)
        apart = choose(x, 0.5, "component")
        assert not torch.equal(apart[:, 0], apart[:, 1])

    def test_every_image_and_every_draw_has_its_own(self):
        x = torch.rand(2, 3, 16, 16)
        first, second = choose(x, 0.5, "pixel"), choose(x, 0.5, "pixel")
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first, second)
        torch.manual_seed(0)
        again = choose(torch.rand(2, 3, 16, 16), 0.5, "pixel")
        assert torch.equal(first, again)

    def test_places_are_chosen_evenly(self):
        share = choose(torch.rand(4000, 3, 4, 4), 0.25, "pixel").float().mean(0)
        assert (share - 0.25).abs().max() < 4.5 * math.sqrt(0.25 * 0.75 / 4000)

    def test_salt_and_pepper_are_0_and_1_equally_often(self):
        x = torch.full((64, 3, 16, 16), 0.5)
        noisy, spoiled = salt_and_pepper(x, 0.25, "component")
        assert spoiled.flatten(1).sum(1).tolist() == [192] * 64
        assert torch.equal(noisy != 0.5, spoiled)
        assert noisy[spoiled].unique().tolist() == [0.0, 1.0]
        assert abs(float(noisy[spoiled].mean()) - 0.5) < 4.5 * 0.5 / math.sqrt(64 * 192)

    def test_gaussian_noise_has_its_mean_and_deviation_and_is_not_clipped(self):
        x = torch.rand(64, 3, 32, 32)
        noisy, spoiled = gaussian(x, 0.25)
        noise = noisy - x
        assert abs(float(noise.mean())) < 4.5 * 0.25 / math.sqrt(noise.numel())
        assert abs(float(noise.std()) - 0.25) < 4.5 * 0.25 / math.sqrt(2 * noise.numel())
        assert noisy.min() < 0 < 1 < noisy.max()
        assert spoiled.all()
        assert torch.equal(gaussian(x, 0.0)[0], x)

    def test_the_mean_fill_is_zero_after_normalisation_and_the_other_is_black(self):
        x = torch.rand(4, 3, 32, 32)
        mean, black = method(), method(fill="zero")
        noisy, spoiled = mean.corrupt(x)
        assert mean.encoder.normalise(noisy)[spoiled].abs().max() < 1e-6
        noisy, spoiled = black.corrupt(x)
        assert noisy[spoiled].abs().max() == 0


class TestLosses:
    def test_bernoulli_is_equations_1_and_2(self):
        x, logits = torch.rand(3, 3, 2, 2, dtype=torch.float64), torch.randn(3, 3, 2, 2, dtype=torch.float64)
        total = 0.0
        for image, output in zip(x, logits, strict=True):
            for a, b in zip(image.flatten().tolist(), output.flatten().tolist(), strict=True):
                text = 1 / (1 + math.exp(-b))
                total -= a * math.log(text) + (1 - a) * math.log(1 - text)
        assert float(bernoulli(logits, x)) == pytest.approx(total / 3, abs=1e-12)

    def test_bernoulli_at_the_truth_is_the_entropy_of_the_image(self):
        x = torch.rand(3, 3, 4, 4, dtype=torch.float64)
        entropy = (torch.special.entr(x) + torch.special.entr(1 - x)).flatten(1).sum(1).mean()
        assert float(bernoulli(x.logit(), x)) == pytest.approx(float(entropy), abs=1e-12)

    def test_bernoulli_gradient_is_said_minus_true(self):
        x = torch.rand(4, 3, 2, 2, dtype=torch.float64)
        logits = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(bernoulli(logits, x), logits)
        torch.testing.assert_close(gradient, (logits.sigmoid() - x).detach() / 4, atol=1e-12, rtol=0)

    @pytest.mark.parametrize("loss", ["mse", "bernoulli"])
    def test_emphasis_weighs_spoiled_and_clean_components(self, loss):
        x, output = torch.rand(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4, dtype=torch.float64)
        spoiled = torch.rand(2, 3, 4, 4) < 0.4
        text = (bernoulli if loss == "bernoulli" else mse)(output, x, torch.where(spoiled, 3.0, 0.5))
        total = 0.0
        for a, b, s in zip(*(t.flatten().tolist() for t in (x, output, spoiled)), strict=True):
            one = math.log1p(math.exp(b)) - a * b if loss == "bernoulli" else (a - b) ** 2
            total += (3.0 if s else 0.5) * one
        assert float(text) == pytest.approx(total / (2 if loss == "bernoulli" else 96), abs=1e-12)

    def test_the_target_is_the_clean_image(self, monkeypatch):
        model, x = method(loss="mse"), torch.rand(8, 3, 32, 32)
        monkeypatch.setattr(model, "decode", lambda noisy: x)
        assert float(model.loss(batch(x)).total) == 0
        seen = []
        monkeypatch.setattr(model, "decode", lambda noisy: seen.append(noisy) or noisy)
        total = float(model.loss(batch(x)).total)
        assert total == pytest.approx(float((seen[0] - x).square().mean())) != 0
        assert not torch.equal(seen[0], x)

    @pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.0, 1.0)])
    def test_emphasis_reaches_the_right_components(self, monkeypatch, alpha, beta):
        model, x = method(alpha=alpha, beta=beta), torch.rand(4, 3, 32, 32)
        output = x.clone().requires_grad_()
        spoiled: list[Tensor] = []
        corrupt = model.corrupt
        monkeypatch.setattr(model, "corrupt", lambda x: spoiled.append((result := corrupt(x))[1]) or result)
        monkeypatch.setattr(model, "decode", lambda noisy: output + 1)
        (gradient,) = torch.autograd.grad(model.loss(batch(x)).total, output)
        assert torch.equal(gradient != 0, spoiled[0] if alpha else ~spoiled[0])

    def test_it_is_computed_in_float32_under_autocast(self):
        model, x = method(loss="bernoulli"), torch.rand(4, 3, 32, 32)
        with torch.autocast("cpu", torch.bfloat16):
            assert model.loss(batch(x)).total.dtype == torch.float32

    def test_a_weight_that_leaves_nothing_is_refused(self):
        for params in ({"alpha": 0, "beta": 0}, {"alpha": 0, "corruption": "gaussian"}, {"share": 0, "beta": 0}):
            with pytest.raises(ValidationError, match="leave nothing to minimise"):
                Params(**params)


class TestMethod:
    @pytest.mark.parametrize("size", [8, 9, 32, 96])
    @pytest.mark.parametrize("stem", ["small", "large"])
    def test_heads_fit_every_size_and_stem(self, size, stem):
        model = method(size, EncoderParams(width=4, stem=stem))
        x = torch.rand(2, 3, size, size)
        assert model.eval().decode(x).shape == x.shape

    def test_sides_double_up_to_the_image(self):
        assert sides(4, 32) == [8, 16, 32]
        assert sides(3, 96) == [6, 12, 24, 48, 96]
        assert sides(2, 9) == [3, 5, 9]
        assert sides(32, 32) == [32]

    def test_a_narrow_bottleneck_is_all_that_passes(self):
        assert method(code=2).bottleneck(torch.rand(1, 32, 4, 4)).shape == (1, 2, 4, 4)

    def test_the_recipe_crops_and_flips_and_leaves_the_corruption_to_the_method(self):
        (view,) = Denoising.recipe(Params(), 32).views
        assert [type(op) for op in view.ops] == [RandomResizedCrop, HorizontalFlip]

    @pytest.mark.parametrize("corruption", ["masking", "gaussian", "salt_and_pepper"])
    @pytest.mark.parametrize("loss", ["mse", "bernoulli"])
    @pytest.mark.parametrize(
        "x", [torch.zeros(2, 3, 32, 32), torch.full((2, 3, 32, 32), 0.7), torch.rand(1, 3, 32, 32)]
    )
    def test_black_constant_and_single_images_give_finite_numbers(self, corruption, loss, x):
        model = method(corruption=corruption, loss=loss)
        total = model.loss(batch(x)).total
        total.backward()
        assert total.isfinite()
        assert all(p.grad.isfinite().all() for p in model.parameters())
        with torch.no_grad():
            health = model.eval().health(batch(x))
        assert all(math.isfinite(value) for value in health.values())
        model.symptoms(health)

    def test_the_picture_shows_noisy_denoised_clean(self):
        x = torch.rand(3, 3, 32, 32)
        (picture,) = method(corruption="gaussian").eval().show(batch(x))
        assert picture.columns == ("noisy", "denoised", "clean")
        assert picture.images.shape == (3, 3, 3, 32, 32)
        assert 0 <= picture.images.min() <= picture.images.max() <= 1
        assert torch.equal(picture.images[:, 2], x)


class TestHealth:
    def test_it_names_the_identity_map(self, monkeypatch):
        model, x = method(loss="mse", share=0.1), torch.rand(64, 3, 32, 32)
        monkeypatch.setattr(model, "decode", lambda noisy: noisy)
        health = model.health(batch(x))
        assert health["denoising_mse"] == pytest.approx(health["identity_mse"])
        assert [s.split(":")[0] for s in model.symptoms(health)] == ["identity map"]

    def test_it_names_the_mean_image(self, monkeypatch):
        model, x = method(corruption="gaussian", sigma=1.0), torch.rand(64, 3, 32, 32)
        monkeypatch.setattr(model, "decode", lambda noisy: x.mean(0).expand_as(x))
        health = model.health(batch(x))
        assert [s.split(":")[0] for s in model.symptoms(health)] == ["mean image"]

    def test_the_mean_image_of_one_is_the_mean_colour(self):
        x = torch.rand(1, 3, 32, 32)
        expected = (x - torch.tensor(MEAN).view(3, 1, 1)).square().mean()
        with torch.no_grad():
            assert method().eval().health(batch(x))["mean_image_mse"] == pytest.approx(float(expected))

    def test_a_good_denoiser_has_no_symptoms(self, monkeypatch):
        model, x = method(), torch.rand(64, 3, 32, 32)
        monkeypatch.setattr(model, "decode", lambda noisy: x * 0.9 + 0.05)
        assert model.symptoms(model.health(batch(x))) == []
