"""Layer-wise decay of the rate: the table of timm, tables by hand, the optimizer's groups, and refusals."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.optim import param_groups_layer_decay
from torch import nn

from pretextbench.encoder import Encoder, build
from pretextbench.encoders import depth
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams, Params
from pretextbench.project.inventory import take_stock
from tests.train.test_continued import changed, start, training

__all__ = ["start"]  # a fixture
MEAN, STD = (0.5,) * 3, (0.25,) * 3


def table(name: str, decay: float = 0.5, share: float = 1.0, **params: object) -> dict[str, float]:
    """Shares by the name of the parameter in its library."""
    with torch.device("meta"):
        encoder = build(EncoderParams(name=name, **params), 64, MEAN, STD)
    shares = depth.shares(encoder, share, decay)
    assert len(shares) == len(list(encoder.parameters()))
    return {name.removeprefix("network."): shares[id(p)] for name, p in encoder.named_parameters()}


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_convnext", "timm/resnet18", "vit-tiny"])
def test_the_rates_are_those_of_timm(name: str) -> None:
    ours = table(name, 0.7)
    with torch.device("meta"):
        model = (
            timm.create_model(name.removeprefix("timm/"), num_classes=0)
            if "/" in name
            else timm.models.VisionTransformer(embed_dim=192, num_classes=0)
        )
    names = {id(p): name for name, p in model.named_parameters()}
    groups = param_groups_layer_decay(model, layer_decay=0.7)
    theirs = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    assert ours == pytest.approx(theirs)
    assert len(set(ours.values())) > 4
    assert max(ours.values()) == 1


def test_the_rates_of_networks_without_such_a_table_are_those_by_hand() -> None:
    resnet = table("resnet18", 0.5, share=0.1, width=4)
    layers = ["conv1", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0", "layer4.1"]
    for back, layer in enumerate(reversed(layers)):
        own = {share for name, share in resnet.items() if name.startswith(layer)}
        assert list(own) == [pytest.approx(0.1 * 0.5**back)], layer
    assert resnet["bn1.weight"] == resnet["bn1.bias"] == resnet["conv1.weight"]
    torchvision = table("torchvision/resnet18", 0.5)
    for name, share in {"conv1": 16, "bn1": 16, "layer1": 8, "layer2": 4, "layer3": 2, "layer4": 1}.items():
        assert {v for k, v in torchvision.items() if k.partition(".")[0] == name} == {1 / share}
    transformer = table("torchvision/vit_b_16", 0.5)
    assert transformer["encoder.ln.weight"] == transformer["encoder.layers.encoder_layer_11.mlp.0.weight"] == 1
    assert transformer["encoder.layers.encoder_layer_0.mlp.0.weight"] == 0.5**11
    for name in ("class_token", "conv_proj.weight", "encoder.pos_embedding"):
        assert transformer[name] == 0.5**12


def test_the_optimizer_has_these_rates_and_heads_have_the_whole_one(start: EncoderParams) -> None:
    made = training(start, layer_decay=0.5, encoder_rate=0.2, freeze=0.0)
    assert changed(made, 1) == [(True, True)]
    names = {id(p): name for name, p in made.method.named_parameters()}
    rates = {names[id(p)]: group["lr"] for group in made.optimizers[0].param_groups for p in group["params"]}
    assert rates.keys() == set(names.values())
    whole = {rates.pop(name) for name in list(rates) if not name.startswith("encoder.")}
    assert len(whole) == 1
    expected = {"conv1": 1 / 16, "bn1": 1 / 16, "layer1": 1 / 8, "layer2": 1 / 4, "layer3": 1 / 2, "layer4": 1}
    for name, rate in rates.items():
        assert rate == pytest.approx(0.2 * expected[name.split(".")[1]] * max(whole)), name


class Own(Encoder):
    def __init__(self) -> None:
        super().__init__(MEAN, STD, 64)
        self.layer = nn.Conv2d(3, 4, 3)
        self.channels, self.dim = {"only": 4}, 4


def test_where_it_cannot_work_it_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    asked = {"pretrain": {"layer_decay": 0.75}, "compare": {"methods": ("rotation",), "controls": ("random",)}}
    with pytest.raises(UserError, match=r"layer_decay is for continued training, .* no start weights") as caught:
        take_stock(Params(**asked), {})
    assert "\n" not in str(caught.value)
    file = tmp_path / "it.safetensors"
    save_file(weights_of_width_4(), file)
    stock = take_stock(Params(**asked, encoder={"width": 4, "weights": str(file)}), {})
    assert {"rotation", "random"} <= set(stock)
    with pytest.raises(UserError, match=r"layer_decay: the encoder is a Own, a backbone of its method's own"):
        depth.check(Own(), EncoderParams(weights="it.pth"), 0.75)
    depth.check(Own(), EncoderParams(), None)


def weights_of_width_4() -> dict[str, torch.Tensor]:
    encoder = build(EncoderParams(width=4), 32, MEAN, STD)
    return {name: value.contiguous() for name, value in encoder.state_dict().items()}
