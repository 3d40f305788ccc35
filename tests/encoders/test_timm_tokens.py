"""Plain vision transformers of timm give tokens that can be encoded without the others; other networks do not."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms.v2.functional import normalize, resize

from pretextbench import registry
from pretextbench.encoder import TokenEncoder, build
from pretextbench.encoders import timm_encoder
from pretextbench.encoders.timm_encoder import TimmEncoder, TimmTransformer
from pretextbench.encoders.weights import start
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams
from pretextbench.params import Params as Parameters
from pretextbench.parts import patchify
from pretextbench.project.inventory import take_stock
from pretextbench.testing.bench import advance
from pretextbench.testing.bench import build as training
from tests.encoders.test_adapters import MEAN, STD, images
from tests.encoders.test_class_token import moved

SIDE, PATCH, GRID = 32, 8, 4
MAE = registry.load("mae")
KINDS = {
    "one class token": {},
    "registers, positions of the patches alone": {"reg_tokens": 2, "no_embed_class": True},
    "no class token, mean of the tokens": {"class_token": False, "global_pool": "avg"},
    "a norm before the blocks": {"pre_norm": True},
    "distilled": {},
    "images of any size": {"dynamic_img_size": True},
}


def network(kind: str, **further: object) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 0}
    family = timm.models.VisionTransformerDistilled if kind == "distilled" else timm.models.VisionTransformer
    made = family(**{**sizes, **KINDS[kind], **further})
    made.pretrained_cfg = {"mean": MEAN, "std": STD, "input_size": (3, SIDE, SIDE), "fixed_input_size": True}
    moved(made)
    return made


def encoder(made: nn.Module, monkeypatch: pytest.MonkeyPatch, side: int = SIDE) -> TimmEncoder:
    class Library:
        create_model = staticmethod(lambda *_, **__: made)

    monkeypatch.setattr(timm_encoder, "require_network", lambda name: Library)
    built = build(EncoderParams(name="timm/vit_tiny_patch16_224"), side, MEAN, STD).eval()
    assert isinstance(built, TimmEncoder)
    return built


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_all_tokens_encoded_are_what_timm_gives(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of images of another size too: they are resized as for the maps."""
    made = network(kind)
    for side in (SIDE, 12):
        ours, x = encoder(made.eval(), monkeypatch, side), images(side)
        assert isinstance(ours, TokenEncoder)
        tokens = ours.embed(x)
        assert (ours.grid, ours.patch, tuple(tokens.shape)) == (GRID, PATCH, (2, GRID**2, 16))
        whole = made.forward_features(normalize(resize(x, [SIDE, SIDE], antialias=True), MEAN, STD))
        encoded = ours.encode(tokens)
        torch.testing.assert_close(encoded, whole, rtol=0, atol=1e-5)
        last = list(ours.stages(x).values())[-1]
        torch.testing.assert_close(encoded[:, ours.prefix :].mT.unflatten(2, (GRID, GRID)), last, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_some_tokens_are_encoded_without_the_others(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timm's own way to leave tokens out, after their positions are added, is the oracle."""
    ours, x, kept = encoder(network(kind).eval(), monkeypatch), images(), torch.tensor([3, 12, 7])
    model = ours.network
    placed = model._pos_embed(model.patch_embed(normalize(x, MEAN, STD)))
    some = torch.cat([placed[:, : ours.prefix], placed[:, ours.prefix + kept]], 1)
    expected = model.norm(model.blocks(model.norm_pre(some)))
    encoded = ours.encode(ours.embed(x)[:, kept])
    torch.testing.assert_close(encoded, expected, rtol=0, atol=1e-5)
    other = x.clone()
    other[:, :, :PATCH, :PATCH] = 0.5  # patch 0, which is not kept
    assert torch.equal(encoded, ours.encode(ours.embed(other)[:, kept]))
    assert not torch.allclose(encoded[:, ours.prefix :], ours.encode(ours.embed(x))[:, ours.prefix + kept], atol=1e-3)


def test_what_a_mae_predicts_are_the_pixels_that_the_network_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 12 px images that become 32 px; every part of the network gets a gradient, the class token too."""
    ours, x = encoder(network("one class token"), monkeypatch, 12).train(), images(12)
    method = MAE(MAE.Params(), ours, Data(12, MEAN, STD, images=100))
    pixels = patchify(normalize(resize(x, [SIDE, SIDE], antialias=True), MEAN, STD), PATCH)
    expected = (pixels - pixels.mean(-1, keepdim=True)) / (pixels.var(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(method.target(x), expected, rtol=0, atol=1e-4)
    assert (method.patches, method.visible) == (GRID**2, GRID)
    batch = Batch((x,), torch.arange(2))
    method.loss(batch).total.backward()
    for name, parameter in ours.network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    (picture,) = method.eval().show(batch)
    assert picture.images.shape == (2, 3, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("timm/test_vit", True),
        ("timm/test_vit_relpos", False),  # positions in the blocks
        ("timm/resnet18", False),
    ],
)
def test_a_network_that_cannot_drop_tokens_is_refused(name: str, plain: bool) -> None:
    """By the inventory, before anything is trained, in one sentence."""
    params = Parameters(encoder={"name": name}, compare={"methods": ("mae",), "controls": ()})
    if plain:
        assert "mae" in take_stock(params, {})
        return
    message = (
        "'mae' needs an encoder of kind TokenEncoder, found TimmEncoder. Set encoder.name to one of that kind, such"
    )
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        take_stock(params, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("further", [{"fixed_input_size": False}, {"pos_embed": "none"}, {"img_size": (32, 16)}])
def test_plain_is_said_of_no_network_that_is_not(further: dict[str, object]) -> None:
    fixed = dict(further).pop("fixed_input_size", True)
    made = network("one class token", **{k: v for k, v in further.items() if k != "fixed_input_size"})
    made.pretrained_cfg["fixed_input_size"] = fixed
    assert not timm_encoder._drops_tokens(made)
    assert timm_encoder._drops_tokens(network("one class token"))


def test_mae_continues_from_a_file_of_timm(tmp_path) -> None:
    """The real loop takes steps from the weights of `timm/test_vit`; its encoder has moved, and is timm's still."""
    torch.manual_seed(5)
    theirs = timm.create_model("test_vit", num_classes=0)
    save_file(theirs.state_dict(), tmp_path / "it.safetensors")
    params = EncoderParams(name="timm/test_vit", weights=str(tmp_path / "it.safetensors"))
    run = training(MAE, size=16, encoder=params)
    assert isinstance(run.method.encoder, TimmTransformer)
    start(run.method.encoder, params)
    torch.testing.assert_close(run.method.encoder.network.state_dict(), dict(theirs.state_dict()), rtol=0, atol=0)
    assert all(loss == loss for loss in advance(run, 2))
    assert not torch.equal(run.method.encoder.network.blocks[0].attn.qkv.weight, theirs.blocks[0].attn.qkv.weight)
