"""Networks of timm and torchvision as encoders: their own features to 1e-6, their own sizes, drawn from the seed."""

import ast
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms.v2.functional import normalize, resize

from pretextbench.encoder import Encoder, build
from pretextbench.encoders import torchvision_encoder
from pretextbench.encoders.adapter import spread
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams, Params
from pretextbench.project.inventory import take_stock
from tests.checkout import PROJECT

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def made(name: str, side: int = 32) -> Encoder:
    """In evaluation mode, with norms that are not those of an initialisation."""
    torch.manual_seed(0)
    encoder = build(EncoderParams(name=name), side, MEAN, STD)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return encoder.eval()


def images(side: int = 32) -> Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def equal(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("name", "stages", "own"),
    [
        ("resnet18", ["layer1", "layer2", "layer3", "layer4"], None),
        ("test_convnext", ["stages_0", "stages_1", "stages_2", "stages_3"], None),
        ("test_efficientnet.r160_in1k", ["blocks_1", "blocks_2", "blocks_3", "features"], None),
        ("test_mambaout", ["stages_0", "stages_1", "stages_2", "stages_3"], None),  # channels last inside
        ("test_vit", ["blocks_0", "blocks_2", "blocks_3", "blocks_5"], 160),
        ("test_vit3", ["blocks_1", "blocks_3", "blocks_5", "blocks_8"], 160),  # no class token
    ],
)
@torch.no_grad()
def test_features_are_those_of_timm(name: str, stages: list[str], own: int | None) -> None:
    encoder = made(f"timm/{name}")
    twin = timm.create_model(name, num_classes=0).eval()
    twin.load_state_dict(encoder.network.state_dict(), strict=True)
    x = resize(images(), [own, own], antialias=True) if own else images()
    x = normalize(x, MEAN, STD)
    _, maps = twin.forward_intermediates(x, norm=True)
    ours = encoder.stages(images())
    assert list(ours) == list(encoder.channels) == stages
    modules = [info["module"].replace(".", "_") for info in twin.feature_info]
    for stage in stages:
        if stage in modules:
            equal(ours[stage], maps[modules.index(stage)])
    whole, last = twin.forward_features(x), ours[stages[-1]]
    if whole.ndim == 3:  # tokens
        patches = whole[:, twin.num_prefix_tokens :]
        equal(last.flatten(2).transpose(1, 2), patches)
        equal(encoder(images()), patches.mean(1))
    else:
        equal(last, whole.permute(0, 3, 1, 2) if whole.shape[-1] == encoder.dim else whole)
        equal(encoder(images()), last.mean((2, 3)))
    if own:
        exact = torch.rand(1, 3, own, own)
        equal(
            encoder.stages(exact)[stages[0]],
            twin.forward_intermediates(normalize(exact, MEAN, STD), norm=True)[1][modules.index(stages[0])],
        )
    assert encoder.shapes == {stage: (m.shape[1], m.shape[-1]) for stage, m in ours.items()}
    assert encoder.channels == {stage: m.shape[1] for stage, m in ours.items()}


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("resnet18", {f"layer{i}": f"layer{i}" for i in (1, 2, 3, 4)}),
        ("squeezenet1_1", {f"features_{i}": f"features.{i}" for i in (1, 4, 7, 12)}),
        ("mnasnet0_5", {f"layers_{i}": f"layers.{i}" for i in (8, 9, 11, 16)}),
        (
            "densenet121",
            {f"features_denseblock{i}": f"features.denseblock{i}" for i in (1, 2, 3)} | {"features_norm5": "relu"},
        ),
    ],
)
@torch.no_grad()
def test_features_are_those_of_torchvision(name: str, nodes: dict[str, str]) -> None:
    encoder = made(f"torchvision/{name}", 64)
    twin = torchvision.models.get_model(name, weights=None).eval()
    missing = twin.load_state_dict(encoder.network.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(key.startswith(("fc.", "classifier.")) for key in missing.missing_keys)
    x = normalize(images(64), MEAN, STD)
    theirs = create_feature_extractor(twin, list(nodes.values()))(x)
    ours = encoder.stages(images(64))
    assert list(ours) == list(nodes)
    for stage, node in nodes.items():
        equal(ours[stage], theirs[node])
    equal(encoder(images(64)), theirs[list(nodes.values())[-1]].mean((2, 3)))


@torch.no_grad()
def test_a_transformer_of_torchvision_gives_maps_of_its_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"image_size": 24, "patch_size": 8, "num_layers": 5, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    vit = torchvision.models.VisionTransformer(**small)
    nn.init.normal_(vit.encoder.pos_embedding)
    nn.init.normal_(vit.class_token)
    monkeypatch.setattr(
        torchvision_encoder, "require_network", lambda name: SimpleNamespace(get_model=lambda *_, **__: vit)
    )
    encoder = made("torchvision/vit_b_16", 32)
    x = normalize(resize(images(32), [24, 24], antialias=True), MEAN, STD)
    nodes = ["encoder.layers.encoder_layer_2", "encoder.ln"]
    theirs = create_feature_extractor(vit.eval(), nodes)(x)
    ours = encoder.stages(images(32))
    assert list(ours) == ["encoder_layer_0", "encoder_layer_2", "encoder_layer_3", "ln"]
    for stage, node in zip(("encoder_layer_2", "ln"), nodes, strict=True):
        equal(ours[stage], theirs[node][:, 1:].transpose(1, 2).reshape(2, 16, 3, 3))


def of_timm() -> nn.Module:
    return timm.create_model("test_vit", num_classes=0)


def of_torchvision() -> nn.Module:
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network


@pytest.mark.parametrize(("name", "library"), [("timm/test_vit", of_timm), ("torchvision/resnet18", of_torchvision)])
def test_weights_are_drawn_from_the_seed_as_the_library_draws_them(name: str, library: Callable[[], nn.Module]) -> None:
    torch.manual_seed(3)
    theirs, after = library().state_dict(), torch.rand(1)
    torch.manual_seed(3)
    ours, also = build(EncoderParams(name=name), 32, MEAN, STD).network.state_dict(), torch.rand(1)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert torch.equal(after, also), "choosing the stages draws random numbers"
    torch.manual_seed(4)
    other = build(EncoderParams(name=name), 32, MEAN, STD).network.state_dict()
    assert not all(torch.equal(ours[key], other[key]) for key in ours)


def test_stages_are_the_last_of_each_resolution_or_lie_evenly() -> None:
    pyramid = {"stem": (8, 16), "a": (8, 8), "b": (8, 8), "c": (16, 4), "d": (32, 2), "e": (64, 1), "f": (64, 1)}
    assert spread(pyramid) == ["b", "c", "d", "f"]
    assert spread({"a": (8, 4)}) == ["a"]
    assert spread({str(i): (8, 4) for i in range(12)}) == ["2", "5", "8", "11"]
    assert spread({str(i): (8, 4) for i in range(3)}) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet81", r"timm [\d.]+ has no network 'resnet81'\. Did you mean 'resnet18'\?"),
        ("timm/resnet18.a2_in2k", r"no weights 'a2_in2k' of resnet18\. Did you mean 'a2_in1k'\? Allowed: .*a1_in1k"),
        ("torchvision/resnet81", r"torchvision has no encoder 'resnet81'\. Did you mean 'resnet18'\?"),
        ("torchvision/inception_v3", r"torchvision has no encoder 'inception_v3'\. timm has it"),
        ("torchvision/alexnet", r"torchvision/alexnet gives no feature maps of images of 8 px \(.+\)\. Raise prepare"),
    ],
)
def test_what_the_library_has_not_is_refused_by_the_inventory(name: str, message: str) -> None:
    """Before anything is trained, and once for all methods."""
    params = Params(
        prepare={"image_size": 8}, encoder={"name": name}, compare={"methods": ("rotation",), "controls": ()}
    )
    with pytest.raises(UserError, match=message):
        take_stock(params, {})


def test_without_timm_one_sentence_tells_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        UserError, match=r"timm/resnet18 is a network of timm, .*not installed.*uv sync --extra encoders"
    ):
        build(EncoderParams(name="timm/resnet18"), 32, MEAN, STD)


def heavy(tree: ast.Module) -> list[str]:
    """What a module imports of other libraries' networks when it is imported itself."""
    names = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [name for name in names if re.search(r"^timm|^torchvision|\.(timm|torchvision)_encoder$", name)]


def test_a_network_of_this_project_imports_no_other_library() -> None:
    """They take seconds. Public data sets are of torchvision."""
    library = PROJECT / "src/pretextbench"
    importing = {p.name for p in library.rglob("*.py") if heavy(ast.parse(p.read_text(encoding="utf-8")))}
    assert importing == {"public_sets.py"}
    assert heavy(ast.parse("from pretextbench.encoders.timm_encoder import TimmEncoder"))
