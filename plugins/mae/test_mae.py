"""The masked autoencoder against a scalar loop, closed forms and lightly; who sees which pixels; planted failures."""

import math

import pytest
import torch
from lightly.models import utils as lightly
from pretext_mae import MAE, Params, hidden_error, statistics
from torch import Tensor

from pretextbench import registry
from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.params import Params as Parameters
from pretextbench.parts import Mask, patchify, random_mask, take, unpatchify
from pretextbench.project.inventory import take_stock
from pretextbench.testing.bench import build as training
from pretextbench.train import optim

SIDE, PATCH = 16, 4
FACTS = Data(SIDE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), images=100)


def method(**params: object) -> MAE:
    torch.manual_seed(0)
    encoder = build(EncoderParams(name="vit-tiny", depth=1, patch=PATCH), SIDE, FACTS.mean, FACTS.std)
    return MAE(Params(**params), encoder, FACTS)


def batch(n: int = 4) -> Batch:
    return Batch((torch.rand(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)),), torch.arange(n))


def patches(n: int = 3, count: int = 5, pixels: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(n, count, pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fixed(whole: MAE, mask: Mask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "mask", lambda x: mask)


def test_the_loss_equals_a_loop() -> None:
    """Over images, hidden patches and pixels, one scalar at a time."""
    prediction, target, hidden = patches(), patches(seed=1), torch.tensor([[0, 3], [4, 1], [2, 3]])
    total = [
        (float(prediction[i, p, k]) - float(target[i, p, k])) ** 2
        for i in range(3)
        for p in hidden[i].tolist()
        for k in range(12)
    ]
    expected = math.fsum(total) / (3 * 2 * 12)
    assert float(hidden_error(prediction, target, hidden)) == pytest.approx(expected, abs=1e-12)


def test_the_target_equals_a_loop_and_lightly() -> None:
    """Each patch by its own mean and unbiased variance, over its pixels and channels together."""
    whole, x = method().double(), batch().views[0].double()
    result = whole.target(x)
    for p in (0, 5, 15):
        row, column = divmod(p, SIDE // PATCH)
        values = [
            (float(x[1, c, PATCH * row + i, PATCH * column + j]) - float(whole.encoder.mean[0, c]))
            / float(whole.encoder.std[0, c])
            for i in range(PATCH)
            for j in range(PATCH)
            for c in range(3)
        ]
        mean = math.fsum(values) / 48
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / 47 + 1e-6)
        assert result[1, p].tolist() == pytest.approx([(value - mean) / deviation for value in values], abs=1e-5)
    pixels = patchify(whole.encoder.normalise(x.float()), PATCH).double()
    mean, deviation = statistics(pixels)
    torch.testing.assert_close((pixels - mean) / deviation, lightly.normalize_mean_var(pixels), rtol=0, atol=1e-12)
    torch.testing.assert_close(method(normalise=False).target(x), pixels.float())


def test_the_mean_of_each_patch_costs_47_of_48() -> None:
    """P = 48 pixels at a patch of 4: (P - 1) / P; of the mean colour alone, nothing."""
    whole, x = method(), batch().views[0]
    target, mask = whole.target(x), whole.mask(x)
    assert float(hidden_error(torch.zeros_like(target), target, mask.hidden)) == pytest.approx(47 / 48, abs=1e-4)
    flat = torch.tensor(FACTS.mean).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE)
    assert float(whole.target(flat).abs().max()) < 1e-2


def test_the_loss_is_that_of_the_hidden_patches() -> None:
    """Gradients of predictions of visible patches are 0; their true pixels do not count."""
    prediction, target = patches(1, 9).requires_grad_(), patches(1, 9, seed=1)
    mask = random_mask(1, 9, 4, torch.device("cpu"))
    hidden_error(prediction, target, mask.hidden).backward()
    reached = prediction.grad.abs().sum(2)[0] > 0
    assert reached.nonzero().flatten().tolist() == sorted(mask.hidden[0].tolist())
    target[0, mask.visible[0]] += 1
    changed = hidden_error(prediction, target, mask.hidden)
    torch.testing.assert_close(changed, hidden_error(prediction, patches(1, 9, seed=1), mask.hidden))


@torch.no_grad()
def test_the_encoder_never_sees_hidden_pixels() -> None:
    """Other pixels in the hidden patches change no bit of what the encoder makes, nor of any prediction."""
    whole, x = method().eval(), batch().views[0]
    mask, inputs = whole.mask(x), []
    whole.encoder.network.blocks.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    other = patchify(torch.rand_like(x), PATCH)
    changed = unpatchify(mask.restore(take(patchify(x, PATCH), mask.visible), take(other, mask.hidden)), PATCH)
    assert not torch.equal(changed, x)
    assert torch.equal(whole.predict(x, mask), whole.predict(changed, mask))
    assert torch.equal(*inputs)
    assert inputs[0].shape == (4, 1 + 4, 192), "the class token and a quarter of 16 patches"


def test_the_loss_is_made_of_these_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, x = method(), batch().views[0]
    mask = whole.mask(x)
    fixed(whole, mask, monkeypatch)
    expected = hidden_error(whole.predict(x, mask), whole.target(x), mask.hidden)
    torch.testing.assert_close(whole.loss(batch()).total, expected)


def test_two_processes_equal_one_and_so_do_two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image has as many hidden patches, so the mean of the halves is the whole, of value and gradient."""
    whole = method().double()
    x = batch(8).views[0].double()
    mask = whole.mask(x)
    result = []
    for rows in ([slice(0, 8)], [slice(0, 4), slice(4, 8)]):
        whole.zero_grad()
        losses = []
        for part in rows:
            fixed(whole, Mask(mask.visible[part], mask.hidden[part]), monkeypatch)
            losses.append(whole.loss(Batch((x[part],), torch.arange(8)[part])).total / len(rows))
            losses[-1].backward()
        gradients = [p.grad.flatten() for p in whole.parameters()]
        result.append((sum(losses), torch.cat(gradients)))
    torch.testing.assert_close(result[0], result[1], rtol=1e-10, atol=1e-12)


def test_half_precision_does_not_reach_the_error() -> None:
    prediction, target = (patches(4, 9, seed=seed).to(torch.bfloat16) for seed in (0, 1))
    hidden = torch.arange(5).expand(4, -1)
    with torch.autocast("cpu", torch.bfloat16):
        low = hidden_error(prediction, target, hidden)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, hidden_error(prediction.float(), target.float(), hidden))


def test_every_image_and_every_call_has_a_mask_of_its_own() -> None:
    whole, x = method(), batch(32).views[0]
    first, second = whole.mask(x), whole.mask(x)
    assert not torch.equal(first.visible, second.visible)
    assert len({tuple(row) for row in first.visible.tolist()}) > 16


def test_tokens_and_positions_are_not_decayed() -> None:
    whole = method()
    names = {name for name, p in whole.named_parameters() if id(p) in optim.exempt(whole) and p.ndim > 1}
    assert names == {"encoder.network.pos_embed", "encoder.network.cls_token"}
    mask_token = whole.decoder.mask_token
    assert id(mask_token) in optim.exempt(whole)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"share": 0.95}, r"'mae' hides a share of 0.95 of the 16 patches of an image, which leaves none visible"),
        ({"share": 0.0}, r"which leaves none hidden\. Set `share` between 0.0625 and 0.938"),
    ],
)
def test_a_share_that_leaves_nothing_is_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        method(**params)


def test_a_residual_network_is_refused_before_anything_is_trained() -> None:
    """By the inventory, in one sentence, and by the training."""
    compare = {"methods": ("mae",), "controls": ("random",)}
    message = r"'mae' needs an encoder of kind TokenEncoder, found ResNet\. Set encoder.name to .* such as vit-tiny"
    with pytest.raises(UserError, match=message) as caught:
        take_stock(Parameters(compare=compare), {})
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message.replace("mae", "MAE")):  # the kit calls a method by its class
        training(registry.load("mae"), encoder=EncoderParams(width=4))
    encoder = EncoderParams(name="vit-tiny", depth=1)
    assert set(take_stock(Parameters(compare=compare, encoder=encoder), {})) == {"mae", "random"}
    with pytest.raises(UserError, match="which leaves none visible"):
        take_stock(Parameters(compare=compare, encoder=encoder, methods={"mae": {"share": 0.99}}), {})


@torch.no_grad()
@pytest.mark.parametrize("normalise", [True, False])
def test_a_planted_collapse_is_named(normalise: bool) -> None:
    """A last layer of zeros says the mean of everything; a large one is worse than the mean, and not constant."""
    dead, wild = method(normalise=normalise).eval(), method(normalise=normalise).eval()
    dead.decoder.last.weight.zero_()
    wild.decoder.last.weight.mul_(10)
    mean = "mean of each patch" if normalise else "mean colour"
    constant, useless = dead.symptoms(dead.health(batch()))
    assert constant.startswith("constant output: predictions of patches differ by 0.000")
    assert f"no better than the {mean}" in useless
    (line,) = wild.symptoms(wild.health(batch()))
    assert f"no better than the {mean}" in line
    assert dead.symptoms({"hidden_mse": 0.6, "mean_mse": 0.98, "prediction_std": 0.6}) == []


def test_it_predicts_what_the_visible_patches_tell() -> None:
    """Ramps of light in any direction: one visible patch tells the others, and the mean of each patch does not."""
    whole, x = method(), ramps(32)
    optimizer = optim.build(whole.parameters(), whole.params.optimizer, undecayed=optim.exempt(whole))
    for _ in range(40):
        optimizer.zero_grad()
        loss = whole.loss(Batch((x,), torch.arange(32))).total
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        health = whole.eval().health(Batch((ramps(32, seed=1),), torch.arange(32)))
    assert health["hidden_mse"] < 0.3 * health["mean_mse"]
    assert whole.symptoms(health) == []


def ramps(n: int, seed: int = 0) -> Tensor:
    """Images (n, 3, SIDE, SIDE) that grow brighter in a direction of their own."""
    angle = 2 * math.pi * torch.rand(n, 1, 1, generator=torch.Generator().manual_seed(seed))
    place = torch.linspace(-0.3, 0.3, SIDE)
    ramp = 0.5 + angle.cos() * place + angle.sin() * place[:, None]
    return ramp[:, None].expand(-1, 3, -1, -1).clone()


@torch.no_grad()
def test_show_draws_what_is_seen_and_what_is_made_of_it() -> None:
    """Visible patches are the image's in all columns; hidden ones have the mean colour, then the prediction."""
    whole, x = method().eval(), batch().views[0]
    torch.manual_seed(3)
    (picture,) = whole.show(batch())
    torch.manual_seed(3)
    mask = whole.mask(x)
    assert picture.images.shape == (4, 3, 3, SIDE, SIDE)
    truth, seen, made = (patchify(column, PATCH) for column in picture.images.unbind(1))
    for column in (seen, made):
        torch.testing.assert_close(take(column, mask.visible), take(truth, mask.visible))
    colour = torch.tensor(FACTS.mean).repeat(PATCH**2)
    torch.testing.assert_close(take(seen, mask.hidden), colour.expand(4, 12, -1))
    assert not torch.allclose(take(made, mask.hidden), colour.expand(4, 12, -1), atol=0.1)
