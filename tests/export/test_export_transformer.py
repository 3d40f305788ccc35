"""A vision transformer in other people's hands: timm's network, a graph, and refusals in one sentence."""

from pathlib import Path

import pytest
import torch

from pretextbench.encoder import build
from pretextbench.errors import UserError
from pretextbench.evaluate.features import LayerFeatures
from pretextbench.export.write import export
from pretextbench.params import EncoderParams
from pretextbench.train import encoder_folder
from tests.train.test_encoder_folder import card

PARAMS = EncoderParams(name="vit-tiny", depth=2)
MEAN, STD, SIDE = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 16


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    facts = {"image_size": SIDE, "mean": MEAN, "std": STD, "seed": 0}
    encoder = build(PARAMS, SIDE, MEAN, STD).eval()
    encoder_folder.save(encoder, card(encoder=PARAMS).model_copy(update=facts), tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("layer", ["block1", "block2", "cls", "cls_mean"])
def test_timm_gives_the_features_of_every_layer(folder: Path, layer: str) -> None:
    """The printed lines were run on a batch, one image and larger ones; the names of the weights are timm's."""
    done = export(folder, "timm", folder.parent / "it.safetensors", lambda layers: (layer, "chosen"))
    assert done.agreement.relative <= 1e-6
    assert "timm.models.VisionTransformer(" in done.code
    names: dict[str, object] = {"images": torch.rand(2, 3, SIDE, SIDE)}
    exec(done.code, names)
    expected = LayerFeatures(encoder_folder.load(folder)[0], layer)(names["images"])
    torch.testing.assert_close(names["features"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["block2", "cls_mean"])
def test_a_graph_takes_images_of_any_size(folder: Path, layer: str) -> None:
    assert export(folder, "onnx", folder.parent / "it.onnx", lambda layers: (layer, "chosen")).agreement.holds


@pytest.mark.parametrize(
    ("to", "file", "message"),
    [
        (
            "torchvision",
            "it.safetensors",
            r"--to torchvision: this encoder is a vision transformer of timm\. Export it",
        ),
        ("torchscript", "it.pt", r"--to torchscript: the trace of a vision transformer would take images of one size"),
    ],
)
def test_what_cannot_hold_it_is_refused(folder: Path, to: str, file: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(folder, to, folder.parent / file)
    assert not (folder.parent / file).exists()
