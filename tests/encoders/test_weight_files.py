"""Files of weights that cannot be used: one sentence each, no code is run, and the encoder is left as it was."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from pretextbench.encoder import build
from pretextbench.encoders import weights
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams, Params
from pretextbench.project import demands
from pretextbench.project.inventory import take_stock
from tests.encoders.test_weights import GREY, network, written

OURS = {"name": "resnet10", "width": 4}


def refused(file: Path | str, message: str, side: int = 32, **params: object) -> None:
    """By the inventory, before anything is trained, and by the training; nothing of the encoder has changed."""
    asked = EncoderParams.model_validate({"weights": str(file), **params})
    torch.manual_seed(0)
    encoder = build(asked, side, *GREY)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(UserError, match=message) as raised:
        weights.start(encoder, asked)
    assert "\n" not in str(raised.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    params_of_all = Params(
        encoder=asked, prepare={"image_size": side}, compare={"methods": ("rotation",), "controls": ("random",)}
    )
    with pytest.raises(UserError, match=message) as raised:
        take_stock(params_of_all, {})
    assert "\n" not in str(raised.value), "once for all methods"


class Planted:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("archive", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, archive: bool) -> None:
    file, trace = tmp_path / "it.pth", tmp_path / "trace"
    torch.save({"conv1.weight": torch.zeros(3), "x": Planted(trace)}, file, _use_new_zipfile_serialization=archive)
    refused(
        file,
        r"it\.pth holds more than tensors \(.*(mkdir|code).*\): reading that would run code .* is not read",
        **OURS,
    )
    assert not trace.exists()


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("not weights")
    with pytest.raises(UserError, match=r"README\.md is a file of another kind\. Give the path of a file \(\.safetens"):
        EncoderParams(weights=str(tmp_path / "README.md")).start_sha256()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str, part: float) -> None:
    file = written(tmp_path / f"it{suffix}", build(EncoderParams(**OURS), 32, *GREY).state_dict())
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * part)])
    refused(file, rf"it\{suffix} cannot be read .*It may be cut off: copy it again", **OURS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            None,
            r"it\.pth cannot be read \(No such file or directory\)\. Give the path of a file \(\.safetensors, .*folder",
        ),
        ({}, r"holds no tensors by name"),
        ({"epoch": 3, "state_dict": {}}, r"holds no tensors by name"),
        (torch.zeros(3), r"holds no tensors by name"),
        (
            {"a.b": torch.zeros(3)},
            r"no tensor of .*it\.pth has a name of resnet10\. The file has a\.b, the network conv1",
        ),
    ],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, content: object, message: str) -> None:
    if content is not None:
        torch.save(content, tmp_path / "it.pth")
    refused(tmp_path / "it.pth", message, **OURS)


def test_an_encoder_folder_without_weights_is_refused(tmp_path: Path) -> None:
    refused(f"{tmp_path}/folder", r"folder/encoder\.safetensors cannot be read \(No such file", **OURS)


def of_channels(count: int) -> nn.Module:
    theirs = network("torchvision/resnet18")
    theirs.conv1 = nn.Conv2d(count, 64, 7, 2, 3, bias=False)
    return theirs


def torchvision_resnet(name: str) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None)


def timm_model(name: str, **settings: int) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, **settings)


@pytest.mark.parametrize(
    ("theirs", "params", "message"),
    [
        (
            torchvision_resnet("resnet18"),
            {"name": "resnet18", "width": 64},
            r"the stem of the file is for large images: conv1\.weight is 64x3x7x7 in .* and 64x3x3x3 in resnet18\. Set "
            r"encoder\.stem to large, and prepare\.image_size to 96 or more, or set encoder\.skip_stem to true, which",
        ),
        (
            torchvision_resnet("resnet18"),
            {"name": "resnet18", "width": 16, "stem": "large"},
            r"of another width: conv1\.weight is 64x3x7x7 .*Set encoder\.width to 64\.",
        ),
        (
            torchvision_resnet("resnet18"),
            {"name": "torchvision/resnet34"},
            r"not of torchvision/resnet34: it has no layer1\.2",
        ),
        (
            torchvision_resnet("resnet34"),
            {"name": "torchvision/resnet18"},
            r"not of torchvision/resnet18: it has layer1\.2",
        ),
        (
            timm_model("test_vit"),
            {"name": "timm/test_vit2"},
            r"not of timm/test_vit2: it has no blocks\.0\.ls1\.gamma \(40 such",
        ),
        (timm_model("test_vit"), {"name": "timm/test_convnext"}, r"no tensor of .* has a name of timm/test_convnext"),
        (
            lambda: of_channels(13),
            {"name": "torchvision/resnet18"},
            r"for images of 13 channels, these have 3: conv1.*Choose other weights, or set encoder\.skip_stem",
        ),
    ],
)
def test_weights_of_another_network_are_refused(
    tmp_path: Path, theirs: Callable[[], nn.Module], params: dict[str, object], message: str
) -> None:
    refused(written(tmp_path / "it.pth", theirs().state_dict()), message, **params)


def test_a_stem_alone_is_no_network(tmp_path: Path) -> None:
    theirs = {n: t for n, t in network("torchvision/resnet18").state_dict().items() if n.startswith(("conv1", "bn1"))}
    refused(
        written(tmp_path / "it.pth", theirs), r"not of torchvision/resnet18: it has 0% of", name="torchvision/resnet18"
    )


def test_a_name_of_weights_that_the_library_has_not_is_refused() -> None:
    refused("IMAGENET1K_V3", r"no weights 'IMAGENET1K_V3' .*Did you mean 'IMAGENET1K_V1'", name="torchvision/resnet18")
    asked = EncoderParams(name="timm/resnet18", weights="a1_in2k")
    with pytest.raises(UserError, match=r"no weights 'a1_in2k' of resnet18\. Did you mean 'a1_in1k'\?"):
        build(asked, 32, *GREY)
    refused("pretrained", r"timm has no weights of timm/efficientnet_lite1\.", name="timm/efficientnet_lite1")


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Up to the library's own call; torchvision's goes to the network itself."""

    def fails(*_: object, **__: object) -> None:
        raise OSError("no route to host\nmore of it")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", fails)
    monkeypatch.setattr("torch.hub.urlopen", fails)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fails)
    for name, place in (
        ("torchvision/squeezenet1_1", r"https://\S+/squeezenet1_1-\w+\.pth"),
        ("timm/test_vit", r"model\.safetensors of huggingface\.co/timm/test_vit\.r160_in1k"),
    ):
        asked = EncoderParams(name=name, weights="pretrained")
        encoder = build(asked, 32, *GREY)
        weights.check(encoder, asked)
        with pytest.raises(
            UserError, match=rf"could not be downloaded \(no route to host\)\. Without a .*get {place} on an"
        ):
            weights.start(encoder, asked)


def test_an_output_of_the_comparison_is_no_start_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = Params(encoder={"weights": "runs/pretrain/simclr-0"})
    (line,) = demands.of_parameters(params, {})
    assert "is an output of this comparison" in line
    assert list(demands.of_parameters(Params(encoder={"weights": "mine/simclr-0"}), {})) == []


def test_a_safetensors_file_of_numbers_that_are_half_as_long_is_taken(tmp_path: Path) -> None:
    tensors = {n: t.half() if t.is_floating_point() else t for n, t in network("timm/test_resnet").state_dict().items()}
    save_file(tensors, tmp_path / "it.safetensors")
    asked = EncoderParams(name="timm/test_resnet", weights=str(tmp_path / "it.safetensors"))
    encoder = build(asked, 32, *GREY)
    weights.start(encoder, asked)
    assert encoder.network.conv1[0].weight.dtype == torch.float32
    assert torch.equal(encoder.network.conv1[0].weight, tensors["conv1.0.weight"].float())
