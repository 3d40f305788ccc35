"""Weights that `init` may propose: their network is recognised, what cannot be used is refused in one message."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from pretextbench.command.weight_check import usable
from pretextbench.command.weight_search import Candidate, Weights
from pretextbench.errors import UserError
from tests import encoder_files
from tests.command.conftest import away_from_weights


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away_from_weights(tmp_path, monkeypatch)


def used(name: Path | str, network: str | None = None) -> Weights:
    (made,) = usable([Candidate(str(name), "option")], network, 1)
    return made


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def test_a_file_of_a_library_is_recognised(resnet18: Path, tmp_path: Path) -> None:
    made = used(resnet18)
    assert (made.encoder.name, made.encoder.weights, made.side) == ("torchvision/resnet18", str(resnet18), None)
    assert used(resnet18, "timm/resnet18").encoder.name == "timm/resnet18"
    own = used(resnet18, "resnet18").encoder
    assert (own.name, own.width, own.stem) == ("resnet18", 64, "large")
    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), tmp_path / "vit.safetensors")
    made = used(tmp_path / "vit.safetensors")
    assert (made.encoder.name, made.side) == ("timm/vit_tiny_patch16_224", 224)


@pytest.mark.parametrize("name", ["squeezenet1_1-b8a52dc0.pth", "mobilenetv3_small_050.lamb_in1k.safetensors"])
def test_the_name_of_a_file_is_that_of_a_network(name: str, tmp_path: Path) -> None:
    word = name.split("-")[0].split(".")[0]
    library = "torchvision" if name.endswith("pth") else "timm"
    made = torchvision.models.get_model(word, weights=None) if library == "torchvision" else timm.create_model(word)
    if library == "timm":
        save_file(made.state_dict(), tmp_path / name)
    else:
        torch.save(
            {"state_dict": {f"module.{key}": value for key, value in made.state_dict().items()}}, tmp_path / name
        )
    assert used(tmp_path / name).encoder.name == f"{library}/{word}"


@pytest.mark.parametrize(("side", "stem"), [(32, "small"), (96, "large")])
def test_an_encoder_of_this_project_is_described_by_its_card(side: int, stem: str, tmp_path: Path) -> None:
    folder = encoder_files.write(tmp_path / "mine", side=side)
    made = used(f"{folder}/")
    assert (made.encoder.name, made.encoder.width, made.encoder.stem) == ("resnet10", 4, stem)
    assert made.made_for == (32 if stem == "small" else None)
    assert used(folder / "encoder.safetensors").encoder.stem == stem
    (folder / "encoder.json").rename(tmp_path / "card.json")
    alone = used(folder / "encoder.safetensors").encoder  # the file alone
    assert (alone.name, alone.width, alone.stem) == ("resnet10", 4, stem)


def test_weights_of_a_cache_have_their_whole_name(tmp_path: Path) -> None:
    hub = tmp_path / "hugging/hub/models--timm--resnet18.a1_in1k/snapshots/ab/model.safetensors"
    hub.parent.mkdir(parents=True)
    hub.touch()
    made = usable(
        [
            Candidate("torchvision/other", "cache", "other-0123abcd.pth"),
            Candidate("timm/nothing.x", "cache"),
            Candidate("torchvision/resnet18", "cache", "resnet18-f37072fd.pth"),
            Candidate("timm/resnet18.a1_in1k", "cache"),
            Candidate("timm/vit_small_patch14_dinov2.lvd142m", "cache"),
        ],
        None,
        3,
    )
    assert [(w.encoder.name, w.encoder.weights, w.side) for w in made] == [
        ("torchvision/resnet18", "IMAGENET1K_V1", None),
        ("timm/resnet18", "a1_in1k", None),
        ("timm/vit_small_patch14_dinov2", "lvd142m", 518),
    ]
    assert used("timm/resnet18").encoder.weights == "a1_in1k"


class Code:
    """Its pickle would run code."""

    def __reduce__(self) -> tuple[object, ...]:
        return print, ("run",)


def bad(kind: str, folder: Path, good: Path) -> Path | str:
    path = folder / "bad.pth"
    if kind == "code":
        torch.save({"conv1.weight": Code()}, path)
    elif kind in ("torn", "torn safetensors"):
        path = path.with_suffix(".safetensors") if "safe" in kind else path
        save_file({"a": torch.ones(99)}, path) if "safe" in kind else path.write_bytes(good.read_bytes())
        path.write_bytes(path.read_bytes()[:-300])
    elif kind == "unknown":
        torch.save({"first.weight": torch.ones(3, 3)}, path)
    elif kind == "numbers":
        torch.save({"epoch": 3}, path)
    elif kind == "empty folder":
        path = folder / "empty"
        path.mkdir()
    elif kind == "card alone":
        path = encoder_files.write(folder / "mine")
        (path / "encoder.json").write_text("{}")
    else:
        return kind
    return path


@pytest.mark.parametrize(
    ("kind", "network", "message"),
    [
        ("code", None, "--weights: .* holds more than tensors .*not read"),
        ("torn", None, "--weights: .* cannot be read as weights .*copy it again"),
        ("torn safetensors", None, "--weights: .* cannot be read .*copy it again"),
        ("numbers", None, "--weights: .* holds no tensors by name"),
        ("unknown", None, r"not recognised by its name or shapes \(first.weight \(3, 3\).*--encoder: timm/NAME"),
        ("empty folder", None, "has no encoder.safetensors"),
        ("card alone", None, "holds no encoder that can be read"),
        ("good", "torchvision/resnet34", "is not of torchvision/resnet34: it has no layer1.2.* Set --encoder"),
        ("good", "torchvision/vit_b_16", "no tensor of .* has a name of .* Set --encoder to the network of the file"),
        ("good", "timm/resnet81", "--encoder: timm .* has no network 'resnet81'.*Did you mean"),
        ("good", "resnet 18", "--weights has 1 mistake.*--encoder: Input should be"),
        ("timm/resnet18.a9_in1k", None, "has no weights 'a9_in1k'"),
        ("torchvision/resnet81", None, "no encoder 'resnet81'.*Did you mean 'resnet18'"),
        ("timm/test_vit", None, "is in no cache here, and huggingface.co cannot be reached .*Get model.safetensors of"),
        (
            "torchvision/resnet18",
            None,
            r"reached .*download.pytorch.org/.*--weights FILE --encoder torchvision/resnet18",
        ),
    ],
)
def test_what_cannot_be_used_is_one_message(
    kind: str, network: str | None, message: str, tmp_path: Path, resnet18: Path
) -> None:
    path = resnet18 if kind == "good" else bad(kind, tmp_path, resnet18)
    with pytest.raises(UserError, match=f"(?s){message}") as refused:
        used(path, network)
    assert "encoder.weights" not in str(refused.value)
