"""Equations 4 and 5 against loops and closed forms, and each player moving its own weights alone."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pretext_context_encoder import DISCRIMINATOR, MAIN, adversarial
from torch import Tensor

from pretextbench.train.optim import build as optimizer

KINDS = ["central", "blocks", "region"]


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
    def test_undecided_the_players_lose_2_ln_2_and_ln_2(self, method, batch, kind):
        model, x = method(missing=kind), torch.rand(4, 3, 32, 32)
        for p in model.discriminator.layers[-1].parameters():
            p.data.zero_()
        with torch.no_grad():
            result = model.loss(batch(x, DISCRIMINATOR))
            loss = model.loss(batch(x))
        assert float(result.total) == pytest.approx(2 * math.log(2))
        assert float(loss.parts["fooling"]) == pytest.approx(math.log(2))
        expected = 0.999 * float(loss.parts["reconstruction"]) + 0.001 * math.log(2)
        assert float(loss.total) == pytest.approx(expected)

    def test_fooling_does_not_saturate(self, method, batch):
        """Where D is sure that x^ is generated, -log D(x^) is 20 and steep; log(1 - D(x^)) would be flat, at 0."""
        model, x = method(missing="blocks"), torch.rand(4, 3, 32, 32)
        model.discriminator.layers[-1].bias.data.fill_(-20.0)
        with torch.no_grad():
            assert float(model.loss(batch(x)).parts["fooling"]) == pytest.approx(20, abs=1)

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_turn_moves_its_own_player_alone(self, method, batch, kind):
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

    def test_the_adversarial_loss_reaches_the_encoder(self, method, batch):
        model, x = method(missing="central"), torch.rand(4, 3, 32, 32)
        model.loss(batch(x)).parts["fooling"].backward()
        assert model.encoder.conv1.weight.grad.abs().max() > 0

    def test_a_step_of_each_player_goes_its_way(self, method, batch):
        """The discriminator's step raises equation 4; the main player's lowers -log D(x^)."""
        model, x = method(missing="central", adversarial=0.9), torch.rand(16, 3, 32, 32)

        def after_step(player: str, value: Any) -> tuple[float, float]:
            result = next(p for p in model.players() if p.name == player)
            mover = optimizer(result.parameters, result.optimizer)
            before = model.loss(batch(x, player))
            before.total.backward()
            mover.step()
            model.zero_grad(set_to_none=True)
            return value(before), value(model.loss(batch(x, player)))

        before, after = after_step(DISCRIMINATOR, lambda loss: -float(loss.total.detach()))
        assert after > before
        before, after = after_step(MAIN, lambda loss: float(loss.parts["fooling"].detach()))
        assert after < before

    def test_weight_0_is_one_player_without_a_discriminator(self, method, batch):
        model, x = method(adversarial=0), torch.rand(4, 3, 32, 32)
        (main,) = model.players()
        assert not [name for name, _ in model.named_parameters() if "discriminator" in name]
        assert len(main.parameters) == len(list(model.parameters()))
        loss = model.loss(batch(x))
        assert torch.equal(loss.total, loss.parts["reconstruction"])
        with torch.no_grad():
            assert "discriminator_accuracy" not in model.eval().health(batch(x))

    def test_the_rates_are_ten_to_one_and_adam_without_decay(self, method):
        main, other = method().players()
        assert main.optimizer.lr == pytest.approx(10 * other.optimizer.lr)
        for player in (main, other):
            assert (player.optimizer.betas, player.optimizer.weight_decay) == ((0.5, 0.999), 0)

    def test_both_turns_of_a_step_see_the_same_holes(self, method, batch, monkeypatch):
        model, x = method(missing="region"), torch.rand(4, 3, 32, 32)
        seen: list[Tensor] = []
        masked = model.masked
        monkeypatch.setattr(model, "masked", lambda x, hole: seen.append(hole) or masked(x, hole))
        for _ in range(2):  # steps, each accumulated in two parts: the main player's turns, then the discriminator's
            parts = [batch(part) for part in x.chunk(2)]
            for player in (MAIN, DISCRIMINATOR):
                for part in parts:
                    model.loss(replace(part, player=player))
        assert torch.equal(seen[0], seen[2])
        assert torch.equal(seen[1], seen[3])
        assert not torch.equal(seen[0], seen[1])
        assert not torch.equal(seen[0], seen[4])

    def test_the_discriminator_sees_the_centre_or_the_completed_image(self, method):
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

    def test_the_discriminator_computes_in_float32_under_autocast(self, method, batch):
        model, x = method(), torch.rand(4, 3, 32, 32)
        with torch.autocast("cpu", torch.bfloat16):
            assert model.discriminator(x.bfloat16()).dtype == torch.float32
            assert model.loss(batch(x)).total.dtype == torch.float32
