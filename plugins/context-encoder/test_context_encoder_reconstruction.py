"""Equation 3 in a loop, its gradient told apart by place, and a network that sees nothing of the hole."""

import pytest
import torch
from pretext_context_encoder import DISCRIMINATOR, MAIN, masks, reconstruction
from torch import Tensor

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.2)
CPU = torch.device("cpu")
KINDS = ["central", "blocks", "region"]


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
        text = reconstruction(fake, x, kind == 1, kind == 2, 10.0)
        assert float(text) == pytest.approx(total / count, abs=1e-12)

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
    def test_the_method_minimises_it_on_the_scale_of_the_paper(self, method, batch, kind, monkeypatch):
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
    def test_the_network_sees_nothing_of_the_hole(self, method, kind):
        model, x = method(missing=kind), torch.rand(4, 3, 32, 32)
        hole, _ = model.split(model.draw(4))
        other = torch.where(hole, torch.rand_like(x), x)
        assert torch.equal(model.masked(x, hole), model.masked(other, hole))
        assert not torch.equal(other, x)

    def test_the_method_masks_before_it_encodes(self, method, batch, monkeypatch):
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
