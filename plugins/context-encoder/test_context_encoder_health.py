"""Signs of life: errors measured in the hole, and what each symptom is called."""

import math

import pytest
import torch
from pretext_context_encoder import psnr

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.2)


class TestHealth:
    def test_errors_of_the_hole_are_measured_in_the_hole(self, method, batch, monkeypatch):
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

    def test_it_names_the_mean_colour_and_the_copy(self, method, batch, monkeypatch):
        model, x = method(), torch.rand(8, 3, 32, 32)
        colour = torch.tensor(MEAN).view(1, 3, 1, 1)
        monkeypatch.setattr(model, "generate", lambda masked: 2 * colour.expand_as(masked) - 1)
        with torch.no_grad():
            result = model.eval().symptoms(model.health(batch(x)))
            assert [s.split(":")[0] for s in result] == ["mean colour"]
            monkeypatch.setattr(model, "generate", lambda masked: 2 * masked - 1)
            result = model.symptoms(model.health(batch(x)))
        assert [s.split(":")[0] for s in result] == ["mean colour", "copying"]

    @pytest.mark.parametrize(
        ("block", "visible", "said"),
        [(0.25, True, "mean colour, copying"), (0.75, False, "nothing is visible, mean colour")],
    )
    def test_nothing_visible_is_said(self, method, batch, monkeypatch, block, visible, said):
        """At 8 px 64 blocks of 6 px begin at each of the 9 places at which one can: nothing is left of any image."""
        model, x = method(8, missing="blocks", block=block, blocks=64, adversarial=0), torch.rand(4, 3, 8, 8)
        monkeypatch.setattr(model, "generate", lambda masked: 2 * masked - 1)
        torch.manual_seed(1)
        assert bool((~model.draw(4)).any()) == visible
        torch.manual_seed(1)
        with torch.no_grad():
            health = model.eval().health(batch(x))
        assert all(math.isfinite(value) for value in health.values())
        assert ("visible_l2" in health) == visible
        assert ", ".join(symptom.split(":")[0] for symptom in model.symptoms(health)) == said

    def test_it_names_a_discriminator_that_wins_and_nothing_where_all_is_well(self, method):
        model = method()
        well = {"hole_l2": 0.02, "mean_fill_l2": 0.06, "visible_l2": 0.05, "discriminator_accuracy": 0.8}
        assert model.symptoms(well) == []
        (text,) = model.symptoms({**well, "discriminator_accuracy": 1.0})
        assert text.startswith("the discriminator wins")
