"""Networks of timm and torchvision are exported as their library's model and as graphs, with their features."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from pretextbench.errors import UserError
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.export.write import KINDS, LIMIT, export, run
from pretextbench.params import EncoderParams
from pretextbench.train import encoder_folder
from tests.encoders.test_adapters import MEAN, STD, made
from tests.train.test_encoder_folder import card


def folder(path: Path, name: str, side: int = 32) -> Path:
    facts = {"image_size": side, "mean": MEAN, "std": STD}
    saved = card(encoder=EncoderParams(name=name)).model_copy(update=facts)
    encoder_folder.save(made(name, side), saved, path)
    return path


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("timm/test_vit", "blocks_5"),
        ("timm/test_vit", "blocks_2"),
        ("timm/test_vit", "cls"),
        ("timm/test_vit", "cls_mean"),
        ("timm/test_efficientnet", "features"),
        ("timm/test_efficientnet", "blocks_2"),
        ("timm/test_mambaout", "stages_3"),
        ("torchvision/squeezenet1_1", "features_12"),
        ("torchvision/squeezenet1_1", "features_4"),
    ],
)
def test_the_lines_give_the_features_in_the_library(tmp_path: Path, name: str, layer: str) -> None:
    source, library = folder(tmp_path / "e", name), name.partition("/")[0]
    exported = export(source, library, tmp_path / "it.safetensors", lambda layers: (layer, "as asked"))
    assert exported.agreement.relative <= LIMIT
    encoder, _ = encoder_folder.load(source)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        features = run(exported.code, images)
        expected = encoder(images) if layer == encoder.layers[-1] else LayerFeatures(encoder, layer)(images)
        assert float((features - expected).abs().max() / features.abs().max()) < LIMIT
    if library == "timm":
        state = timm.create_model(name.removeprefix("timm/"), num_classes=0).state_dict()
        assert set(load_file(tmp_path / "it.safetensors")) == set(state)


@pytest.mark.parametrize("to", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_graph_holds_the_resizing(tmp_path: Path, to: str) -> None:
    source, target = folder(tmp_path / "e", "timm/test_vit"), tmp_path / f"it{KINDS[to].suffix}"
    exported = export(source, to, target, lambda layers: ("blocks_2", "half of the blocks are traced sooner"))
    assert exported.agreement.relative <= LIMIT


def test_a_network_of_one_library_is_not_exported_to_the_other(tmp_path: Path) -> None:
    source = folder(tmp_path / "e", "timm/test_vit")
    with pytest.raises(
        UserError, match=r"this encoder is timm/test_vit\. Export it with --to timm, onnx or torchscript"
    ):
        export(source, "torchvision", tmp_path / "it.safetensors")
    assert list(KINDS) == ["torchvision", "timm", "onnx", "torchscript"]
    assert not (tmp_path / "it.safetensors").exists()
