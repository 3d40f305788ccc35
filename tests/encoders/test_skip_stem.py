"""Start weights without the stem: the first layer and its norm stay as initialised, all others are the file's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from pretextbench.encoder import build
from pretextbench.encoders import weights
from pretextbench.encoders.matching import stem
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams
from tests.encoders.test_weight_files import of_channels
from tests.encoders.test_weights import GREY, network, started, written

SMALL = {"name": "resnet18", "width": 64, "skip_stem": True}
NORM = ["weight", "bias", "running_mean", "running_var"]


def colour_bands() -> nn.Module:
    made = timm.create_model("test_vit", in_chans=5)
    nn.init.normal_(made.cls_token)
    return made


@pytest.mark.parametrize(
    ("theirs", "params", "expected"),
    [
        (lambda: network("torchvision/resnet18"), SMALL, ["conv1.weight", *(f"bn1.{name}" for name in NORM)]),
        (
            lambda: of_channels(13),
            {"name": "torchvision/resnet18", "skip_stem": True},
            ["conv1.weight", *(f"bn1.{name}" for name in NORM)],
        ),
        (
            colour_bands,
            {"name": "timm/test_vit", "skip_stem": True},
            ["patch_embed.proj.weight", "patch_embed.proj.bias"],
        ),
    ],
)
def test_all_but_the_stem_is_of_the_file(
    tmp_path: Path, theirs: Callable[[], nn.Module], params: dict[str, object], expected: list[str]
) -> None:
    """The stem is what it was before, by the seed; the report names it as skipped, and nothing as missing."""
    torch.manual_seed(7)
    tensors = theirs().state_dict()
    encoder, loaded = started(written(tmp_path / "it.pth", tensors), 32, **params)
    torch.manual_seed(0)
    fresh = build(EncoderParams.model_validate({**params, "skip_stem": False}), 32, *GREY)
    ours, initial = (getattr(made, "network", made).state_dict() for made in (encoder, fresh))
    assert list(loaded.match.skipped) == expected
    for name in set(ours) - {"mean", "std"}:
        source = initial if name in expected or name == "bn1.num_batches_tracked" else tensors
        assert torch.equal(ours[name], source[name]), name
    assert not loaded.match.missing
    assert f"{len(expected)} skipped ({expected[0]}, {expected[1]}" in str(loaded)
    assert not set(loaded.match.left_over) & set(expected)


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("timm/test_convnext", {"stem.0", "stem.1"}),
        ("timm/test_efficientnet", {"conv_stem", "bn1"}),
        ("timm/resnet50d", {"conv1.0", "conv1.1"}),
        ("timm/test_vit", {"patch_embed.proj"}),
        ("torchvision/mobilenet_v2", {"features.0.0", "features.0.1"}),
        ("torchvision/vit_b_16", {"conv_proj"}),
        ("torchvision/squeezenet1_1", {"features.0"}),
        ("torchvision/densenet121", {"features.conv0", "features.norm0"}),
    ],
)
def test_the_stem_is_the_first_layer_and_its_norm(name: str, modules: set[str]) -> None:
    library, _, bare = name.partition("/")
    with torch.device("meta"):
        made = timm.create_model(bare) if library == "timm" else torchvision.models.get_model(bare, weights=None)
    assert {tensor.rpartition(".")[0] for tensor in stem(made)} == modules


def test_a_file_of_another_network_is_refused_without_its_stem_too(tmp_path: Path) -> None:
    file = written(tmp_path / "it.pth", network("torchvision/resnet34").state_dict())
    asked = EncoderParams(name="torchvision/resnet18", weights=str(file), skip_stem=True)
    with pytest.raises(UserError, match=r"not of torchvision/resnet18: it has layer1\.2"):
        weights.check(build(asked, 32, *GREY), asked)


def test_cards_of_before_keep_their_bytes() -> None:
    assert "skip_stem" not in EncoderParams(weights="it.pth").model_dump()
    assert EncoderParams(weights="it.pth", skip_stem=True).model_dump()["skip_stem"] is True
