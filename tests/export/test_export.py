"""Exports give the features of the original, the printed lines load them, and a wrong one is never written."""

import json
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.evaluate.features import LayerFeatures, pool
from pretextbench.export import models, write
from pretextbench.export.graphs import DEPRECATED
from pretextbench.export.write import KINDS, LIMIT, Agreement, DiffersError, Exported, compare, export, run, scenes
from pretextbench.train import encoder_folder
from tests import encoder_files
from tests.conftest import Install
from tests.train.test_encoder_folder import OWN_BACKBONE, card

Design = tuple[str, int, str]
# Every depth, every width with every stem, and both with both kinds of block: those of resnet50, and the others'.
NARROW = [("resnet10", 16, "small"), ("resnet10", 16, "large"), ("resnet34", 16, "large"), ("resnet50", 16, "small")]
WIDE = [("resnet10", 64, "large"), ("resnet18", 64, "small"), ("resnet18", 64, "large"), ("resnet50", 64, "large")]
# A graph knows no names of widths or depths: both kinds of block, both stems. ONNX, which takes seconds per block, has
# the small stem in "one checked file" and the blocks of resnet50 in "another layer".
TRACED = [("resnet18", 16, "large"), ("resnet50", 16, "small")]
DESIGNS = {
    "torchvision": [*NARROW, *WIDE],
    "timm": [*NARROW, *WIDE],
    "onnx": [("resnet10", 16, "large")],
    "torchscript": TRACED,
}
QUICK = [("resnet10", 16, "small")]


def exports() -> list[Any]:
    """The designs of every format, slow but for the quick design in the quick formats."""
    return [
        pytest.param(design, to, marks=[] if design in QUICK and to != "onnx" else pytest.mark.slow)
        for to in KINDS
        for design in DESIGNS[to]
    ]


def target(folder: Path, to: str) -> Path:
    return folder / f"it{KINDS[to].suffix}"


@pytest.mark.parametrize(("design", "to"), exports())
def test_every_design_keeps_its_features(tmp_path: Path, design: Design, to: str) -> None:
    folder = encoder_files.write(tmp_path / "encoder", *design)
    exported = export(folder, to, target(tmp_path, to))
    assert exported.agreement.relative <= LIMIT
    features(folder, exported.code)


def features(folder: Path, code: str, layer: str = "") -> None:
    """The printed lines, run by hand on images of other sizes and numbers than the export was made with."""
    encoder, _ = encoder_folder.load(folder)
    for shape in ((1, 3, 16, 16), (5, 3, 24, 40)):
        images = torch.rand(shape)
        names: dict[str, object] = {"images": images}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", DEPRECATED)
            exec(code, names)
        with torch.no_grad():
            ours = LayerFeatures(encoder, layer)(images) if layer else encoder(images)
        theirs = torch.as_tensor(names["features"])
        assert float((ours - theirs).abs().max() / ours.abs().max()) < LIMIT


@pytest.mark.parametrize(
    ("design", "layer", "to"),
    [
        pytest.param(design, layer, to, marks=[] if (layer, to) == ("layer1", "torchscript") else pytest.mark.slow)
        for design, layer in ((QUICK[0], "layer1"), (("resnet50", 16, "small"), "layer2"))
        for to in KINDS
        if (layer, to) != ("layer1", "onnx")  # see "one checked file"
    ],
)
def test_another_layer_gives_the_features_of_the_evaluation(
    tmp_path: Path, design: Design, layer: str, to: str
) -> None:
    """For torchvision and timm the state dict is the whole encoder, and the lines take the features from the layer."""
    folder = encoder_files.write(tmp_path / "encoder", *design)
    exported = export(folder, to, target(tmp_path, to), lambda _: (layer, "the ranked one"))
    encoder = evaluated_features(folder, exported, layer)
    if KINDS[to].suffix == ".safetensors":
        assert set(load_file(exported.path)) == {name for name in encoder.state_dict() if name not in ("mean", "std")}


def evaluated_features(folder: Path, exported: Exported, layer: str) -> Encoder:
    """Hold the printed lines against the features of the evaluation; returns the original."""
    encoder, card = encoder_folder.load(folder)
    names: dict[str, object] = {"images": torch.rand(3, 3, card.image_size, card.image_size)}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", DEPRECATED)
        exec(exported.code, names)
        expected = pool(encoder.stages(names["images"])[layer], encoder.dim)  # type: ignore[arg-type]
    torch.testing.assert_close(torch.as_tensor(names["features"]), expected, rtol=1e-4, atol=1e-5)
    facts = json.loads(exported.card.read_text())
    assert (facts["layer"], facts["layer_choice"], facts["dim"]) == (layer, "the ranked one", expected.shape[1])
    assert exported.features == f"{layer} (the ranked one), {expected.shape[1]} features"
    return encoder


@pytest.mark.slow
def test_onnx_is_one_checked_file_with_free_sizes(tmp_path: Path) -> None:
    import onnx

    folder = encoder_files.write(tmp_path / "encoder", *QUICK[0])
    exported = export(folder, "onnx", tmp_path / "it.onnx", lambda _: ("layer1", "the ranked one"))
    features(folder, exported.code, "layer1")
    evaluated_features(folder, exported, "layer1")
    graph = onnx.load(tmp_path / "it.onnx").graph
    (taken,), (given,) = graph.input, graph.output
    assert (taken.name, given.name) == ("images", "features")
    sizes = [size.dim_param or size.dim_value for size in taken.type.tensor_type.shape.dim]
    assert sizes[1] == 3
    assert all(isinstance(size, str) for size in (sizes[0], *sizes[2:]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder", "it.onnx", "it.onnx.json"]


@pytest.mark.slow
def test_timm_knows_the_statistics_and_the_size(tmp_path: Path) -> None:
    for design in (*QUICK, ("resnet18", 64, "large")):
        folder = encoder_files.write(tmp_path / "encoder", *design, side=24)
        names: dict[str, object] = {"images": torch.rand(1, 3, 24, 24)}
        exec(export(folder, "timm", tmp_path / "it.safetensors").code, names)
        config = names["config"]
        assert isinstance(config, dict)
        assert config["input_size"] == (3, 24, 24)
        assert config["mean"] == pytest.approx(encoder_files.MEAN)
        assert config["std"] == pytest.approx(encoder_files.STD)


@pytest.mark.slow
def test_the_lines_name_what_the_libraries_have(tmp_path: Path) -> None:
    def lines(to: str, *design: object) -> str:
        encoder, card = encoder_folder.load(encoder_files.write(tmp_path / "e", *design))  # type: ignore[arg-type]
        return KINDS[to].form.code(encoder, card, tmp_path / "it", "layer4")

    assert "torchvision.models.resnet18()" in lines("torchvision", "resnet18", 64, "large")
    assert "maxpool" not in lines("torchvision", "resnet18", 64, "large")
    assert "timm.create_model('resnet50'" in lines("timm", "resnet50", 64, "small")
    assert "maxpool" in lines("timm", "resnet50", 64, "small")
    assert "no name in timm" in lines("timm", "resnet10", 64, "large")


@pytest.mark.parametrize("to", [name for name in KINDS if name != "onnx"])
def test_the_card_says_what_it_is(tmp_path: Path, to: str) -> None:
    folder = encoder_files.write(tmp_path / "encoder", side=16)
    exported = export(folder, to, target(tmp_path, to))
    facts = json.loads(exported.card.read_text())
    original = encoder_folder.read_card(folder)
    assert facts["weights_sha256"] == original.weights_sha256
    assert (facts["method"], facts["seed"], facts["image_size"], facts["dim"]) == ("random", 0, 16, 32)
    assert facts["mean"] == pytest.approx(encoder_files.MEAN)
    assert "\n".join(facts["load"]) == exported.code
    assert ("in the file" in facts["normalisation"]) == (to == "torchscript")
    assert facts["versions"]["torch"]


@pytest.mark.parametrize("fault", ["weight", "nan", "mean"])
def test_features_that_differ_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    real = models.weights

    def wrong(encoder: object) -> dict[str, torch.Tensor]:
        tensors = {name: value.clone() for name, value in real(encoder).items()}  # type: ignore[arg-type]
        name = {"weight": "conv1.weight", "nan": "bn1.bias", "mean": "layer4.0.bn1.running_mean"}[fault]
        tensors[name] += {"weight": 1e-3, "nan": torch.nan, "mean": 1e-3}[fault]
        return tensors

    monkeypatch.setattr(models, "weights", wrong)
    folder = encoder_files.write(tmp_path / "encoder")
    with pytest.raises(DiffersError, match=r"was not written: .*largest absolute difference"):
        export(folder, "torchvision", tmp_path / "it.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_the_comparison_measures_what_it_says() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3))

    found = compare(Twice(), "features = images.mean((2, 3)) * 1.5", 16)  # type: ignore[arg-type]
    assert found.relative == pytest.approx(0.5)
    assert found.images == sum(len(batch) for batch in scenes(16)) == 20
    assert not found.holds
    assert Agreement(1, 0.0, 0.0).holds  # all zeros are all zeros
    assert not Agreement(1, 1.0, 0.0).holds
    assert not Agreement(1, float("nan"), 1.0).holds
    assert run("features = images.numpy()", torch.ones(1)).tolist() == [1]
    assert write.LIMIT == 1e-5


def test_a_backbone_of_a_methods_own_goes_where_it_can(tmp_path: Path, install: Install) -> None:
    from pretextbench import registry

    install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": OWN_BACKBONE})
    tiny = registry.load("ours").build_encoder(None, None, types.SimpleNamespace(mean=(0.5,) * 3, std=(0.2,) * 3))
    folder = tmp_path / "encoder"
    encoder_folder.save(tiny, card("ours"), folder)
    assert export(folder, "torchscript", tmp_path / "it.pt").agreement.holds
    for to in ("torchvision", "timm"):
        with pytest.raises(UserError, match=f"--to {to}: this encoder is a Tiny.*onnx or torchscript"):
            export(folder, to, tmp_path / "it.safetensors")


def test_mistakes_are_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = encoder_files.write(tmp_path / "encoder")
    weights = (folder / encoder_folder.WEIGHTS).read_bytes()
    for to, name, said in (
        ("onx", "it.onnx", r"no format 'onx'\. Did you mean 'onnx'\? Allowed: torchvision, timm"),
        ("onnx", "it.pt", r"does not end in \.onnx"),
        ("timm", "encoder/encoder.safetensors", "is the encoder itself"),
        ("torchscript", "encoder/encoder.json/it.pt", "a part of that path is a file"),
    ):
        with pytest.raises(UserError, match=said):
            export(folder, to, tmp_path / name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "timm" else object())
    with pytest.raises(UserError, match=r"--to timm needs timm, which is not installed.*uv sync --extra export"):
        export(folder, "timm", tmp_path / "it.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]
    assert (folder / encoder_folder.WEIGHTS).read_bytes() == weights
    assert np.isfinite(LIMIT)
