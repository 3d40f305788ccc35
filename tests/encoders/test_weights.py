"""Start weights: every kind of source gives the library's own features, and the report says what was taken."""

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize, resize

from pretextbench.encoder import Encoder, build
from pretextbench.encoders.weights import Loaded, start
from pretextbench.errors import UserError
from pretextbench.params import EncoderParams
from pretextbench.train import encoder_folder
from tests.train.test_encoder_folder import card

GREY = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
LARGE = {"width": 64, "stem": "large"}


def network(name: str, seed: int = 9) -> nn.Module:
    """A network of a library with its 1000 classes, whose norms have statistics."""
    torch.manual_seed(seed)
    library, _, bare = name.rpartition("/")
    made = timm.create_model(bare) if library == "timm" else torchvision.models.get_model(bare, weights=None)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return made.eval()


def written(path: Path, tensors: Mapping[str, object]) -> Path:
    if path.suffix == ".safetensors":
        save_file({name: t.contiguous() for name, t in tensors.items() if isinstance(t, Tensor)}, path)
    else:
        torch.save(tensors, path)
    return path


def started(weights: Path | str, side: int = 64, **params: object) -> tuple[Encoder, Loaded]:
    asked = EncoderParams.model_validate({"weights": str(weights), **params})
    torch.manual_seed(0)
    encoder = build(asked, side, *GREY).eval()
    before = torch.get_rng_state()
    loaded = start(encoder, asked)
    assert torch.equal(before, torch.get_rng_state()), "loading draws random numbers"
    assert loaded is not None
    return encoder, loaded


@torch.no_grad()
def same(
    encoder: Encoder, theirs: nn.Module, facts: tuple[tuple[float, ...], tuple[float, ...]], side: int = 64
) -> None:
    """The features are those of the library, of images that are normalised as its weights ask for."""
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    own = getattr(encoder, "side", None)
    ready = normalize(resize(x, [own, own], antialias=True) if own else x, *facts)
    if hasattr(theirs, "forward_features"):
        whole = theirs.forward_features(ready)
        pooled = whole[:, theirs.num_prefix_tokens :].mean(1) if whole.ndim == 3 else whole.mean((2, 3))
    else:
        theirs.fc = nn.Identity()
        pooled = theirs(ready)
    ours = encoder(x)
    assert float((ours - pooled).abs().max() / pooled.abs().max()) < 1e-6
    assert torch.allclose(encoder.get_buffer("mean").flatten(), torch.tensor(facts[0]))
    assert torch.allclose(encoder.get_buffer("std").flatten(), torch.tensor(facts[1]))


@pytest.mark.parametrize(
    ("of", "params", "facts", "suffix", "head"),
    [
        ("timm/test_vit", {"name": "timm/test_vit"}, HALF, ".pth", {"head.weight", "head.bias"}),
        (
            "timm/test_convnext",
            {"name": "timm/test_convnext"},
            HALF,
            ".safetensors",
            {"head.fc.weight", "head.fc.bias"},
        ),
        ("timm/resnet18", {"name": "timm/resnet18"}, IMAGENET, ".safetensors", {"fc.weight", "fc.bias"}),
        ("torchvision/resnet18", {"name": "torchvision/resnet18"}, IMAGENET, ".pth", {"fc.weight", "fc.bias"}),
        ("torchvision/resnet18", {"name": "resnet18", **LARGE}, IMAGENET, ".pth", {"fc.weight", "fc.bias"}),
    ],
)
def test_a_file_gives_the_features_of_its_library(
    tmp_path: Path, of: str, params: dict[str, object], facts: object, suffix: str, head: set[str]
) -> None:
    theirs = network(of)
    count, file = len(theirs.state_dict()), written(tmp_path / f"it{suffix}", theirs.state_dict())
    encoder, loaded = started(file, **params)
    same(encoder, theirs, facts)  # type: ignore[arg-type]
    assert set(loaded.match.left_over) == head
    assert not loaded.match.missing + loaded.match.resampled + loaded.match.adapted
    assert len(loaded.match.tensors) == count - len(head)
    assert f"2 left over ({', '.join(loaded.match.left_over)})" in str(loaded)


def test_timm_loads_the_pretrained_weights_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through its own code; the file stands where a download would put it."""
    theirs = network("timm/test_vit")
    overlay = {"file": str(written(tmp_path / "it.safetensors", theirs.state_dict()))}
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, pretrained_cfg_overlay=overlay))
    for asked in ({"name": "timm/test_vit"}, {"name": "timm/test_vit.r160_in1k"}):
        encoder, loaded = started("pretrained", **asked)
        same(encoder, theirs, HALF)
        assert "licence of the weights: apache-2.0" in str(loaded)
        assert loaded.source == asked["name"]
    encoder, tagged = started("r160_in1k", name="timm/test_vit")
    same(encoder, theirs, HALF)
    assert tagged.source == "timm/test_vit.r160_in1k"
    assert tagged.sha256 == loaded.sha256
    assert len(loaded.sha256) == 64


@pytest.mark.parametrize("tag", ["pretrained", "IMAGENET1K_V1"])
def test_torchvision_loads_the_pretrained_weights_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    theirs = network("torchvision/squeezenet1_1")
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    written(folder / Path(torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url).name, theirs.state_dict())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    encoder, loaded = started(tag, name="torchvision/squeezenet1_1")
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        pooled = theirs.features(normalize(x, *IMAGENET)).mean((2, 3))
        assert float((encoder(x) - pooled).abs().max() / pooled.abs().max()) < 1e-6
    assert loaded.source == "torchvision/squeezenet1_1 IMAGENET1K_V1"
    assert "licence of the weights: not stated by torchvision" in str(loaded)


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "encoder.", "model.", "module.encoder_q.", "network."])
@pytest.mark.parametrize("container", ["", "state_dict", "model"])
def test_usual_prefixes_and_containers_are_taken_off(tmp_path: Path, prefix: str, container: str) -> None:
    theirs = network("timm/test_resnet")
    tensors: dict[str, object] = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    tensors |= {"queue": torch.zeros(4, 4)}
    if container:
        tensors = {"epoch": 3, "optimizer": {"state": {}}, container: tensors}
    encoder, loaded = started(written(tmp_path / "it.pth", tensors), name="timm/test_resnet")
    same(encoder, theirs, HALF)
    assert set(loaded.match.left_over) == {"queue", "fc.weight", "fc.bias"}


def test_a_prefix_that_belongs_to_the_network_stays(tmp_path: Path) -> None:
    """A vision transformer of torchvision has weights that begin with `encoder.`."""
    from pretextbench.encoders.matching import match

    small = nn.ModuleDict({"encoder": nn.Linear(2, 2), "conv": nn.Linear(2, 3)})
    tensors = {name: tensor + 1 for name, tensor in small.state_dict().items()}
    matched = match(small, tensors, EncoderParams(), "it", None)
    assert set(matched.tensors) == set(tensors)


def test_positions_and_patches_are_resampled_by_timm(tmp_path: Path) -> None:
    larger = timm.create_model("test_vit", img_size=96).eval()
    _, loaded = started(written(tmp_path / "a.pth", larger.state_dict()), name="timm/test_vit")
    assert loaded.match.resampled == ("pos_embed",)
    vit = timm.models.vision_transformer.VisionTransformer
    torch.manual_seed(9)
    coarse = vit(img_size=64, patch_size=16, embed_dim=192, depth=1, num_heads=3)
    encoder, loaded = started(written(tmp_path / "b.pth", coarse.state_dict()), 32, name="vit-tiny", depth=1)
    assert loaded.match.resampled == ("pos_embed", "patch_embed.proj.weight")
    assert "2 resampled (pos_embed, patch_embed.proj.weight)" in str(loaded)
    assert torch.equal(encoder.network.norm.weight, coarse.norm.weight)
    same_blocks = zip(encoder.network.blocks.parameters(), coarse.blocks.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in same_blocks)


def test_positions_of_torchvision_are_resampled_by_torchvision(tmp_path: Path) -> None:
    from pretextbench.encoders.matching import match

    def vit(side: int) -> nn.Module:
        return torchvision.models.VisionTransformer(side, 8, 1, 2, 16, 32)

    torch.manual_seed(0)
    large, small = vit(48), vit(24)
    nn.init.normal_(large.encoder.pos_embedding)
    matched = match(small, OrderedDict(large.state_dict()), EncoderParams(), "it", None)
    assert matched.resampled == ("encoder.pos_embedding",)
    assert matched.tensors["encoder.pos_embedding"].shape == (1, 10, 16)


def test_a_first_layer_for_grey_images_sees_the_mean_of_the_channels(tmp_path: Path) -> None:
    theirs = network("torchvision/resnet18")
    tensors = dict(theirs.state_dict())
    tensors["conv1.weight"] = grey = torch.randn(64, 1, 7, 7)
    encoder, loaded = started(written(tmp_path / "it.pth", tensors), name="resnet18", **LARGE)
    assert loaded.match.adapted == ("conv1.weight",)
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(encoder.conv1(x), nn.functional.conv2d(x.mean(1, keepdim=True), grey, None, 2, 3))


@pytest.mark.parametrize("params", [{"name": "resnet10", "width": 4}, {"name": "timm/test_vit"}])
def test_an_encoder_folder_brings_its_normalisation(tmp_path: Path, params: dict[str, object]) -> None:
    asked = EncoderParams.model_validate(params)
    torch.manual_seed(5)
    first = build(asked, 16, (0.1, 0.2, 0.3), (0.3, 0.2, 0.1)).eval()
    encoder_folder.save(first, card(encoder=asked), tmp_path / "one")
    encoder, loaded = started(tmp_path / "one", 16, **params)
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in first.state_dict().items())
    assert loaded.normalisation == "of the file"
    assert not loaded.match.missing + loaded.match.left_over
    (tmp_path / "one/encoder.json").write_text('{"weights_sha256": "0"}')
    with pytest.raises(UserError, match=r"encoder\.safetensors is not the file that its encoder\.json describes"):
        started(tmp_path / "one", 16, **params)


def test_a_normalisation_that_is_given_goes_over_all_others(tmp_path: Path) -> None:
    file = written(tmp_path / "it.pth", network("timm/test_resnet").state_dict())
    zero, byte = (0.0, 0.0, 0.0), (1 / 255,) * 3
    encoder, loaded = started(file, name="timm/test_resnet", mean=zero, std=byte)
    assert encoder.normalise(torch.ones(1, 3, 1, 1)).flatten().tolist() == pytest.approx([255] * 3)
    assert "encoder.mean and encoder.std" in str(loaded)
    asked = EncoderParams(name="resnet10", width=4, mean=zero, std=byte)
    plain = build(asked, 16, *GREY)
    assert start(plain, asked) is None
    assert plain.get_buffer("std").flatten().tolist() == pytest.approx(byte)
    again = build(asked, 16, *GREY)
    assert start(again, EncoderParams(weights="nowhere.pth"), use=False) is None
    assert again.get_buffer("std").flatten().tolist() == pytest.approx(GREY[1])
