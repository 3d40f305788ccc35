"""Colorization: the equations in loops, what the network sees, images out of the ordinary, signs of life."""

import numpy as np
import pytest
import torch
from pretext_colorization import Colorization, Params, lab
from pretext_colorization.bins import Code, ab_bins
from skimage import color
from torch import Tensor

from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop

torch.set_num_threads(1)  # the networks here are too small to share
Q = 313


def noise(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def images(n: int = 4, side: int = 32) -> Tensor:
    """Random patches of 8 x 8 pixels: colours that a network of stride 8 can see the borders of."""
    return noise(n, 3, -(-side // 8), -(-side // 8)).repeat_interleave(8, 2).repeat_interleave(8, 3)[..., :side, :side]


def method(
    params: Params | None = None, side: int = 32, stem: str = "auto", prior: Tensor | None = None
) -> Colorization:
    torch.manual_seed(0)
    params = params or Params()
    derived = Colorization.derive(params, iter([images(16, side)]), side) if prior is None else {"prior": prior}
    facts = Data(side, (0.5,) * 3, (0.25,) * 3, 100, derived)
    return Colorization(params, Colorization.build_encoder(params, EncoderParams(width=16, stem=stem), facts), facts)


def batch(x: Tensor) -> Batch:
    return Batch((x,), torch.arange(len(x)))


def output(model: Colorization, x: Tensor) -> Tensor:
    return model.predict(x, model.target(x).size)


@torch.no_grad()
def health(model: Colorization, x: Tensor) -> dict[str, float]:
    return model.eval().health(batch(x))


@pytest.mark.parametrize("k", [1, 5])
def test_loss_is_equation_7_in_a_loop(k: int) -> None:
    """Over images, rows, columns and bins, with targets from scikit-image and a brute-force code."""
    model, x = method(Params(k_nearest=k, stride=8)).eval(), images(2)
    x[1] = x[1].mean()  # a grey one counts in the mean, with weight 0
    with torch.no_grad():
        loss, out = model.loss(batch(x)), output(model, x)
    logp = out.double().log_softmax(1).view(2, 4, 4, Q)
    centres, total, plain = ab_bins(), 0.0, []
    for h in range(4):
        for w in range(4):
            ab = color.rgb2lab(x[0, :, 8 * h, 8 * w].double().numpy())[1:]
            squared = ((centres - ab) ** 2).sum(1)
            nearest = squared.argsort()[:k]
            z = np.exp(-squared[nearest] / (2 * 5**2))
            ce = -sum(z[i] / z.sum() * logp[0, h, w, q].item() for i, q in enumerate(nearest))
            total, plain = total + model.rarity[nearest[0]].item() * ce, [*plain, ce]
    assert loss.total.item() == pytest.approx(total / (2 * 4 * 4), rel=1e-5)
    assert loss.parts["cross_entropy"].item() == pytest.approx(sum(plain) / 16, rel=1e-5)


def test_regression_is_half_the_squared_error() -> None:
    model, x = method(Params(variant="regression")).eval(), images(2)
    with torch.no_grad():
        loss, out = model.loss(batch(x)), output(model, x)
    true = color.rgb2lab(x.movedim(1, -1).double().numpy())[:, ::4, ::4, 1:].reshape(-1, 2)
    expected = ((model.colours(out).double().numpy() - true) ** 2).sum(1).mean() / 2 / 20**2
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_targets_and_outputs_are_in_one_order() -> None:
    """A head that paints the true map of colours has no error, at every pixel, and shows the true picture."""
    model, x = method(Params(variant="regression", stride=1)).eval(), images(3)
    del model.head
    model.head = lambda maps, size: lab.rgb_to_lab(x)[:, 1:] / 20
    assert model.loss(batch(x)).total.item() < 1e-10
    shown = model.show(batch(x))[0].images
    assert (shown[:, 1] - shown[:, 2]).abs().max() < 1e-4
    assert (shown[:, 0] - shown[:, 0, :1]).abs().max() < 1e-3  # without colour


def test_prior_is_the_mean_code_of_the_images_that_have_colour() -> None:
    x = images(6)
    x[2] = 0.3  # grey: left out
    prior = Colorization.derive(Params(), iter([x[:4], x[4:]]), 32)["prior"]
    ab = lab.ab(x[[0, 1, 3, 4, 5]].double(), 4).movedim(1, -1).reshape(-1, 2)
    index, share = Code().encode(ab)
    expected = torch.stack(
        [torch.zeros(Q, dtype=torch.float64).scatter_(0, i, s) for i, s in zip(index, share, strict=True)]
    )
    assert torch.allclose(prior.double(), expected.mean(0), atol=1e-6)


def test_the_network_sees_lightness_alone() -> None:
    """Its input is L / 100 in three channels, bitwise equal. Same lightness, no colours: same output, to rounding."""
    model, seen = method().eval(), []  # the data set's mean is 1/2 and its deviation 1/4
    model.encoder.conv1.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0] / 4 + 0.5))
    x = images(2)
    lightness = lab.lightness(x)
    same, darker = (lab.lab_to_rgb(torch.cat((L, torch.zeros(2, 2, 32, 32)), 1)) for L in (lightness, 0.9 * lightness))
    with torch.no_grad():
        out, out_same, out_darker = (output(model, images) for images in (x, same, darker))
    assert torch.equal(seen[0][:, 0], seen[0][:, 1])
    assert torch.equal(seen[0][:, 0], seen[0][:, 2])
    expected = color.rgb2lab(x.movedim(1, -1).double().numpy())[..., 0] / 100
    assert np.abs(seen[0][:, 0].numpy() - expected).max() < 2e-6
    assert (out - out_same).abs().max() < 1e-5 < 1e-3 < (out - out_darker).abs().max()


@pytest.mark.parametrize("k", [1, 5])
def test_the_network_starts_near_the_constant_guess(k: int) -> None:
    """At every pixel, but for what the last layer's weights add: Kullback-Leibler divergence in nats."""
    model = method(Params(k_nearest=k)).eval()
    with torch.no_grad():
        text, guess = output(model, images(4)).log_softmax(1), model.constant().log_softmax(0)
    assert (guess.exp() * (guess - text)).sum(1).max() < 0.005


def weighted_loss(model: Colorization, x: Tensor, guess: Tensor) -> float:
    """Equation 7 of one distribution (Q,) at every pixel."""
    target = model.target(x)
    error, weight = model.errors(guess.log().expand(len(target.ab), -1).contiguous(), target)
    return float((error * weight).mean())


@pytest.mark.parametrize(("k", "excess"), [(1, 5e-4), (5, 5e-3)])
def test_the_best_constant_guess(k: int, excess: float) -> None:
    """The best is the mean code, each pixel's weighted as the pixel: on the images of the prior, p~ w where k = 1.

    For k = 5 it is not: a pixel's weight is that of its nearest bin, and its code lies on five. Excess of the loss over
    the best one's; for k = 1 it is what the share of the bins that never occurred costs.
    """
    model, x = method(Params(k_nearest=k)), images(16)
    index, share = model.code.encode(model.target(x).ab)
    best = torch.zeros(Q).index_add_(0, index.flatten(), (share * model.rarity[index[:, :1]]).flatten())
    best /= best.sum()
    lost = weighted_loss(model, x, model.constant().softmax(0)) / weighted_loss(model, x, best.clamp_min(1e-12)) - 1
    assert -1e-6 < lost < excess
    assert torch.allclose(model.prior * model.rarity, best, atol=1e-6) == (k == 1)


def test_recipe_does_not_touch_colour() -> None:
    ops = [type(op) for op in Colorization.recipe(Params(), 32).views[0].ops]
    assert ops == [RandomResizedCrop, HorizontalFlip]


# --- images out of the ordinary ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["classification", "regression"])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_only_grey_images_give_zero_loss_and_zero_gradients(variant: str, value: float) -> None:
    model = method(Params(variant=variant))
    loss = model.loss(batch(torch.full((3, 3, 32, 32), value)))
    loss.total.backward()
    assert loss.total.detach().item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    assert all(part.item() == 0 for part in loss.parts.values())
    assert np.isfinite(list(health(model, torch.full((3, 3, 32, 32), value)).values())).all()


def test_prior_of_grey_images_is_uniform() -> None:
    prior = Colorization.derive(Params(), iter([torch.full((2, 3, 32, 32), 0.5)]), 32)["prior"]
    assert torch.allclose(prior, torch.full((Q,), 1 / Q))


@pytest.mark.parametrize(
    ("side", "stem"), [(8, "small"), (8, "large"), (30, "small"), (32, "large"), (96, "small"), (96, "large")]
)
def test_any_size_and_stem(side: int, stem: str) -> None:
    """Constant coloured images, at sizes down to 8 px, have a finite loss and a picture of their own size."""
    model = method(Params(), side, stem)
    x = torch.tensor([0.8, 0.2, 0.1]).view(1, 3, 1, 1).expand(2, 3, side, side).contiguous()
    model.loss(batch(x)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.eval().show(batch(x))[0].images.shape == (2, 3, 3, side, side)
    assert np.isfinite(list(health(model, x[:1]).values())).all()


def test_a_missing_or_foreign_prior_is_refused() -> None:
    facts = Data(32, (0.5,) * 3, (0.25,) * 3, 100)
    with pytest.raises(UserError, match=r"found no colour prior, but needs one over 313 .grid 10..*dvc repro"):
        Colorization(Params(), Colorization.build_encoder(Params(), EncoderParams(width=8), facts), facts)
    with pytest.raises(UserError, match=r"a colour prior over 313 bins, but needs one over 101 \(grid 20\)"):
        method(Params(grid=20), prior=torch.full((Q,), 1 / Q))


# --- signs of life ----------------------------------------------------------------------------------------------------


def test_health_of_the_constant_predictor_names_the_prior() -> None:
    """With the last layer's weights at zero the network is the constant predictor, and is told so."""
    model = method().eval()
    model.head.out.weight.data.zero_()
    result = health(model, images(8))
    assert result["error"] == pytest.approx(result["constant_error"], rel=1e-5)
    assert result["loss"] == pytest.approx(result["constant_loss"], rel=1e-5)
    assert result["bins_used"] == 1
    assert any("predicts the prior" in word for word in model.symptoms(result))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, None),
        ({"chroma_share": 0.1}, "grey"),
        ({"roughness_share": 2.0}, "speckle"),
        ({"chroma_share": 2.0}, "saturated"),
        ({"coloured_images": 0.0}, "no colour"),
        ({"coloured_images": 0.3}, "30%"),
    ],
)
def test_symptoms(change: dict[str, float], word: str | None) -> None:
    well = {"loss": 2.0, "constant_loss": 3.0, "chroma_share": 0.9, "roughness_share": 0.8, "coloured_images": 1.0}
    result = method().symptoms({**well, **change})
    assert (not result) if word is None else (len(result) == 1 and word in result[0])


def test_colourfulness_of_the_truth_is_one() -> None:
    model, x = method(Params(k_nearest=1)).eval(), images(4)
    target = model.target(x)
    model.colours = lambda out: target.ab  # type: ignore[method-assign]
    result = health(model, x)
    assert (result["chroma_share"], result["roughness_share"]) == pytest.approx((1, 1))
