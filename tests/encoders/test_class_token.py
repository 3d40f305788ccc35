"""Layers of encoders with a class token: the library's own token, the mean, probed and chosen as any layer."""

from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize

from pretextbench.embedding.extract import Embedder
from pretextbench.encoder import Encoder, build
from pretextbench.encoders import timm_encoder, torchvision_encoder
from pretextbench.evaluate.evaluation import GALLERY
from pretextbench.evaluate.features import LayerFeatures, extract
from pretextbench.evaluate.protocol import Subject, evaluate
from pretextbench.params import EncoderParams, Evaluate
from tests.encoders.test_adapters import MEAN, STD, images, made
from tests.evaluate.fakes import FakeData, FakeViews, TinyEncoder

CPU = torch.device("cpu")


def moved(network: nn.Module) -> None:
    """Class token, registers and positions that are not those of an initialisation, which are about zero."""
    for name, parameter in network.named_parameters():
        if any(word in name for word in ("token", "pos_embed", "norm")):
            nn.init.normal_(parameter, 0.5, 0.5)


def network_of(library: str) -> nn.Module:
    """A small vision transformer; that of timm has two registers behind its class token."""
    torch.manual_seed(0)
    if library == "torchvision":
        sizes = {"image_size": 32, "num_layers": 5, "hidden_dim": 16, "mlp_dim": 32}
        return torchvision.models.VisionTransformer(patch_size=8, num_heads=2, **sizes)
    sizes = {"img_size": 32, "depth": 5, "embed_dim": 16, "reg_tokens": 2}
    network = timm.models.VisionTransformer(patch_size=8, num_heads=2, num_classes=0, **sizes)
    network.pretrained_cfg = {"mean": MEAN, "std": STD, "input_size": (3, 32, 32), "fixed_input_size": True}
    return network


@pytest.fixture(params=["vit-tiny", "timm", "torchvision"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Encoder, nn.Module]:
    """An encoder, and the library's network, whose output without a classifier is its class token."""
    if request.param == "vit-tiny":
        torch.manual_seed(0)
        encoder = build(EncoderParams(name="vit-tiny", depth=3), 32, MEAN, STD)
        network = encoder.network
    else:
        network, module = network_of(request.param), (timm_encoder, torchvision_encoder)[request.param == "torchvision"]
        library = SimpleNamespace(get_model=lambda *_, **__: network, create_model=lambda *_, **__: network)
        monkeypatch.setattr(module, "require_network", lambda name: library)
        name = {"timm": "timm/vit_tiny_patch16_224", "torchvision": "torchvision/vit_b_16"}[request.param]
        encoder = build(EncoderParams(name=name), 32, MEAN, STD)
    moved(network)
    return encoder.eval(), network


@torch.no_grad()
def test_the_token_is_what_the_library_gives_its_classifier(pair: tuple[Encoder, nn.Module]) -> None:
    """It comes before the last stage, which stays the mean of the patches; the maps are those of `stages`."""
    (encoder, network), x = pair, images()
    features, maps, expected = encoder.features(x), encoder.stages(x), network(normalize(x, MEAN, STD))
    *earlier, last = maps
    assert list(features) == encoder.layers == [*earlier, "cls", "cls_mean", last]
    assert all(torch.equal(features[stage], maps[stage]) for stage in maps)
    torch.testing.assert_close(features["cls"], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(features["cls_mean"], torch.cat([expected, encoder(x)], 1), rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder(x), maps[last].mean((2, 3)), rtol=0, atol=1e-5)
    assert not torch.allclose(features["cls"], encoder(x), atol=1e-2)


@torch.no_grad()
def test_every_layer_is_extracted_and_embedded(pair: tuple[Encoder, nn.Module]) -> None:
    encoder, pixels = pair[0], np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    extracted, x = extract(encoder, pixels, CPU), torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    assert list(extracted) == encoder.layers
    for layer, features in extracted.items():
        embed, one = Embedder(encoder, CPU, layer), LayerFeatures(encoder, layer)
        assert features.shape == (3, embed.dim) == (3, one.dim)
        torch.testing.assert_close(embed(pixels), features, rtol=0, atol=1e-5)
        torch.testing.assert_close(one(x), features, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet10", "timm/resnet18", "timm/test_vit3", "torchvision/resnet18"])
def test_without_a_class_token_the_layers_are_the_stages(name: str) -> None:
    """`test_vit3` has a register, which is no class token."""
    encoder = made(name, 160 if "vit" in name else 32)
    assert not encoder.class_token
    assert list(encoder.features(images())) == encoder.layers == list(encoder.channels)


class ColourToken(TinyEncoder):
    """The class token alone has seen the image."""

    class_token = True

    def outputs(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return {name: 0 * feature_map for name, feature_map in self.stages(x).items()}, x.mean((2, 3)).repeat(1, 6)[
            :, :16
        ]


def test_validation_chooses_the_token_and_every_protocol_follows() -> None:
    settings = Evaluate(budgets=("5",), redraws=2, finetune=(), linear_l2=(1e-2,), linear_steps=50, map_images=0)
    data = FakeData()
    result = evaluate(Subject(ColourToken(), settings, CPU, FakeViews(data)), data)
    for probe in ("linear", "knn"):
        layers = result.metrics[probe]["layers"]
        assert list(layers) == ["one", "two", "cls", "cls_mean", "three"]
        assert (result.metrics[probe]["best"], result.metrics[probe]["last"]) == ("cls", "three")
        assert layers["cls"]["test"]["top1"] > 0.6 > 0.4 > layers["three"]["test"]["top1"], "chance is 0.33"
    assert result.metrics["robustness"]["layer"] == "cls"
    assert result.metrics["budgets"]["5"]["top1"] > 0.5
    assert result.metrics["labelfree"]["stage"] == "three"
    assert GALLERY in result.files
