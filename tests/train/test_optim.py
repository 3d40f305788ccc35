"""The update rules against float64 transcriptions of their formulas, and the schedule against its shape."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from pretextbench.encoder import build as build_encoder
from pretextbench.params import EncoderParams, OptimizerParams
from pretextbench.train.optim import ETA, LARS, build, constant_rate, exempt, rate, schedule, set_rate

DECAY, MOMENTUM = 1e-2, 0.9
RATES = [0.1 * (k + 1) / 5 for k in range(5)] + [0.05 * (1 + math.cos(math.pi * k / 15)) for k in range(15)]


def reference(w: np.ndarray, grads: list[np.ndarray], rates: list[float], inside: bool = True) -> np.ndarray:
    """LARS as in SimCLR's TensorFlow code (lars_optimizer.py, classic momentum); one tensor, float64.

    With `inside=False` the learning rate stays outside the buffer, as in the codes of Barlow Twins and VICReg.
    """
    w, v = w.copy(), np.zeros_like(w)
    for g, lr in zip(grads, rates, strict=True):
        trust = 1.0
        if w.ndim > 1:
            g = g + DECAY * w
            w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
            if w_norm > 0 and g_norm > 0:
                trust = 1e-3 * w_norm / g_norm
        if inside:
            v = MOMENTUM * v + lr * trust * g
            w = w - v
        else:
            v = MOMENTUM * v + trust * g
            w = w - lr * v
    return w


def ours(w: np.ndarray, grads: list[np.ndarray], rates: list[float]) -> np.ndarray:
    parameter = nn.Parameter(torch.from_numpy(w.copy()))
    optimizer = LARS([parameter], lr=1.0, momentum=MOMENTUM, weight_decay=DECAY)
    for g, lr in zip(grads, rates, strict=True):
        set_rate(optimizer, lr)
        parameter.grad = torch.from_numpy(g.copy())
        optimizer.step()
    return parameter.detach().numpy()


def problem(*shape: int) -> tuple[np.ndarray, list[np.ndarray]]:
    draw = np.random.default_rng(0)
    return draw.normal(size=shape), [draw.normal(size=shape) for _ in RATES]


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 3, 3), (7,)])
def test_lars_equals_the_reference_over_twenty_changing_rates(shape: tuple[int, ...]) -> None:
    w, grads = problem(*shape)
    np.testing.assert_allclose(ours(w, grads, RATES), reference(w, grads, RATES), rtol=0, atol=1e-14)


def test_lars_differs_from_the_variant_with_the_rate_outside_when_the_rate_changes() -> None:
    w, grads = problem(4, 3)
    constant = [0.1] * len(grads)
    np.testing.assert_allclose(ours(w, grads, constant), reference(w, grads, constant, inside=False), atol=1e-14)
    assert np.abs(ours(w, grads, RATES) - reference(w, grads, RATES, inside=False)).max() > 1e-5


def test_lars_moves_vectors_by_plain_momentum() -> None:
    """No decay and no trust ratio for biases and norms: w = -(lr g)(1), then -(m lr g + lr g), by hand."""
    w = np.array([2.0, -1.0])
    g = np.array([1.0, 3.0])
    np.testing.assert_allclose(ours(w, [g, g], [0.1, 0.1]), w - 0.1 * g - (0.9 * 0.1 * g + 0.1 * g), atol=1e-15)


def test_lars_takes_one_step_of_known_length() -> None:
    """The first step of a matrix is lr eta |w| long, whatever the gradient's scale."""
    w, grads = problem(5, 5)
    for scale in (1e-6, 1.0, 1e6):
        moved = ours(w, [grads[0] * scale], [0.7])
        expected = 0.7 * ETA * np.linalg.norm(w)
        assert np.linalg.norm(moved - w) == pytest.approx(expected, rel=1e-6)


def test_lars_survives_zeros() -> None:
    zeros, ones = np.zeros((2, 2)), np.ones((2, 2))
    np.testing.assert_array_equal(ours(zeros, [zeros], [0.1]), zeros)
    np.testing.assert_allclose(ours(zeros, [ones], [0.1]), -0.1 * ones)  # no norm to trust: a plain step


def test_lars_stands_where_gradient_and_decay_cancel() -> None:
    w = nn.Parameter(torch.full((2, 2), 4.0))
    w.grad = torch.full((2, 2), -2.0)
    LARS([w], 0.1, MOMENTUM, weight_decay=0.5).step()
    assert torch.equal(w.detach(), torch.full((2, 2), 4.0))


def test_lars_leaves_parameters_without_gradient() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    LARS([parameter], 0.1, 0.9, 0.1).step()
    assert torch.equal(parameter.detach(), torch.ones(2, 2))


def test_lars_state_survives_a_checkpoint() -> None:
    w, grads = problem(3, 3)
    parameter = nn.Parameter(torch.from_numpy(w.copy()))
    first = LARS([parameter], 0.1, MOMENTUM, DECAY)
    for g in grads[:10]:
        parameter.grad = torch.from_numpy(g.copy())
        first.step()
    second = LARS([parameter], 0.1, MOMENTUM, DECAY)
    second.load_state_dict(first.state_dict())
    for g in grads[10:]:
        parameter.grad = torch.from_numpy(g.copy())
        second.step()
    np.testing.assert_allclose(parameter.detach().numpy(), ours(w, grads, [0.1] * 20), rtol=0, atol=1e-15)


# --- groups -------------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adamw", AdamW), ("lars", LARS)])
def test_vectors_are_not_decayed(name: str, kind: type) -> None:
    module = network()
    params = OptimizerParams(name=name, lr=0.3, weight_decay=0.05, momentum=0.8, betas=(0.7, 0.8))
    optimizer = build(module.parameters(), params)
    assert type(optimizer) is kind
    weights, vectors = optimizer.param_groups
    assert (weights["weight_decay"], vectors["weight_decay"]) == (0.05, 0.0)
    assert {p.ndim for p in weights["params"]} == {2, 4}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}
    if name == "adamw":
        assert weights["betas"] == vectors["betas"] == (0.7, 0.8)
    else:
        assert weights["momentum"] == vectors["momentum"] == 0.8


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_positions_and_tokens_are_not_decayed(name: str) -> None:
    """What a module exempts, at any depth; with LARS it has no trust ratio either: a step is the rate long."""
    module = nn.Sequential(
        build_encoder(EncoderParams(name="vit-tiny", depth=1), 16, (0.5,) * 3, (0.2,) * 3), network()
    )
    optimizer = build(module.parameters(), OptimizerParams(name=name, lr=0.3), undecayed=exempt(module))
    decayed, plain = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    names = {name: id(p) for name, p in module.named_parameters()}
    kept = {name for name, key in names.items() if key in plain}
    assert {"0.network.pos_embed", "0.network.cls_token", "0.network.norm.weight", "1.3.bias"} <= kept
    assert {name for name in names if "weight" in name and "norm" not in name and name != "1.1.weight"} == {
        name for name, key in names.items() if key in decayed
    }
    positions = module[0].network.pos_embed
    before, positions.grad = positions.detach().clone(), torch.ones_like(positions)
    optimizer.step()
    torch.testing.assert_close(before - positions.detach(), torch.full_like(positions, 0.3))


def test_sgd_is_nesterovs_when_asked() -> None:
    assert build(network().parameters(), OptimizerParams(name="sgd", nesterov=True)).param_groups[0]["nesterov"]
    assert not build(network().parameters(), OptimizerParams(name="sgd")).param_groups[0]["nesterov"]


def test_a_player_of_weights_alone_has_one_group() -> None:
    assert len(build([nn.Parameter(torch.zeros(2, 2))], OptimizerParams()).param_groups) == 1


def test_set_rate_reaches_every_group() -> None:
    optimizer = build(network().parameters(), OptimizerParams())
    set_rate(optimizer, 0.123)
    assert [group["lr"] for group in optimizer.param_groups] == [0.123, 0.123]


class Predictor(nn.Linear):
    """Names its weight as one of a constant rate, and a name that it does not have."""

    def constant_rate(self) -> set[str]:
        return {"weight", "absent"}


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_a_constant_rate_stays_at_the_peak_and_may_be_shared(name: str) -> None:
    """The weight of the predictor keeps the rate, its share of the slow ones too; its bias follows the schedule."""
    module = nn.Sequential(network(), Predictor(2, 2))
    params, weight = OptimizerParams(name=name, lr=0.3, warmup=0), module[1].weight
    for shares, expected in (({}, 0.3), ({id(weight): 0.1}, 0.03)):
        optimizer = build(module.parameters(), params, shares=shares, constant=constant_rate(module))
        for step in (0, 5, 9):
            schedule(optimizer, step, 10, params)
            rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
            assert rates.pop(id(weight)) == pytest.approx(expected)
            assert len(rates) == len(list(module.parameters())) - 1
            assert set(rates.values()) == {rate(step, 10, params)}


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_weight_decay_follows_a_cosine_to_its_end(name: str) -> None:
    """By the closed form; biases and norms stay without; it is constant where no end is given."""
    params = OptimizerParams(name=name, weight_decay=0.04, weight_decay_end=0.4)
    optimizer, constant = build(network().parameters(), params), OptimizerParams(name=name, weight_decay=0.04)
    for step, expected in ((0, 0.04), (25, 0.4 - 0.18 * (1 + math.sqrt(0.5))), (50, 0.22), (99, 0.4)):
        schedule(optimizer, step, 100, params)
        weights, vectors = (group["weight_decay"] for group in optimizer.param_groups)
        assert weights == pytest.approx(expected, abs=1e-4)
        assert vectors == 0.0
        schedule(other := build(network().parameters(), constant), step, 100, constant)
        assert [group["weight_decay"] for group in other.param_groups] == [0.04, 0.0]


# --- schedule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_rate_rises_to_its_peak_and_falls(steps: int, warmup: float) -> None:
    params = OptimizerParams(lr=0.4, warmup=warmup)
    rates = np.array([rate(step, steps, params) for step in range(steps)])
    top = int(rates.argmax())
    assert rates.max() == pytest.approx(0.4)
    assert rates.min() > 0
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top + 1 :]) < 0).all()


def test_rate_at_known_steps() -> None:
    """100 steps, 10 of warm-up: a tenth, the peak twice (end of one piece, start of the other), half, nearly zero."""
    params = OptimizerParams(lr=1.0, warmup=0.1)
    assert rate(0, 100, params) == pytest.approx(0.1)
    assert rate(9, 100, params) == rate(10, 100, params) == 1.0
    assert rate(55, 100, params) == pytest.approx(0.5)
    assert rate(99, 100, params) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert rate(99, 100, params) < 4e-4


def test_rates_sum_to_what_the_shape_promises() -> None:
    """Sum of the warm-up (w + 1) / 2 and of the cosine (n - w + 1) / 2, exactly: (n + 2) / 2 peaks."""
    params = OptimizerParams(lr=2.0, warmup=0.25)
    assert sum(rate(step, 400, params) for step in range(400)) == pytest.approx(2.0 * 402 / 2)


def test_without_warm_up_the_first_step_is_the_peak() -> None:
    assert rate(0, 50, OptimizerParams(lr=0.7, warmup=0)) == 0.7
