"""Start weights in a training: its key, its card, its record, and what makes it stale."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pretextbench.data.prepared import Prepared
from pretextbench.params import EncoderParams, Params
from pretextbench.project.inventory import take_stock
from pretextbench.project.settings import settings
from pretextbench.track.fields import settings as recorded
from pretextbench.train import encoder_folder, pretrain
from pretextbench.train.encoder_folder import CARD, Card
from tests.encoders.test_trained import job
from tests.encoders.test_weights import IMAGENET, network, written
from tests.leaks import written as prepared


@pytest.fixture
def data(tmp_path: Path) -> Prepared:
    draw = np.random.default_rng(0)
    return prepared(tmp_path / "images", {s: draw.integers(0, 256, (8, 32, 32, 3), np.uint8) for s in ("train", "val")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "it.pth", network("torchvision/squeezenet1_1").state_dict())


def train(name: str, file: Path, data: Prepared, root: Path, lines: list[str] | None = None) -> Card:
    params = EncoderParams(name="torchvision/squeezenet1_1", weights=str(file))
    tell = lines.append if lines is not None else str
    return pretrain.pretrain(job(params, name), data, root / name, root / "scratch", show=False, tell=tell)


def test_training_starts_from_the_weights_and_the_card_says_so(tmp_path: Path, data: Prepared, file: Path) -> None:
    lines: list[str] = []
    card = train("rotation", file, data, tmp_path, lines)
    (report,) = lines
    assert "start weights: " in report
    assert f"sha256 {card.start_sha256[:12]}" in report
    assert card.start_sha256 == EncoderParams(weights=str(file)).start_sha256()
    assert (card.mean, card.std) == IMAGENET
    encoder, _ = encoder_folder.load(tmp_path / "rotation")
    assert encoder.get_buffer("mean").flatten().tolist() == pytest.approx(IMAGENET[0])
    start, end = torch.load(file)["features.0.weight"], encoder.network.features[0].weight
    assert not torch.equal(start, end)
    assert torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), 0) > 0.9, "two steps from the start"
    content = json.loads((tmp_path / "rotation" / CARD).read_text())
    assert content["start_sha256"] == card.start_sha256
    assert recorded(content)["encoder.weights"] == str(file)
    file.unlink()
    encoder_folder.load(tmp_path / "rotation")


def test_the_untrained_control_stays_untrained(tmp_path: Path, data: Prepared, file: Path) -> None:
    card = train("random", file, data, tmp_path)
    assert card.start_sha256 == ""
    assert "start_sha256" not in json.loads((tmp_path / "random" / CARD).read_text())
    assert card.mean == tuple(data.mean)
    ours = load_file(tmp_path / "random/encoder.safetensors")["network.features.0.weight"]
    assert float((torch.load(file)["features.0.weight"] - ours).abs().max()) > 0.1


def test_another_content_of_the_file_is_another_training(tmp_path: Path, file: Path) -> None:
    """The key of the checkpoint, what DVC watches, and the pairs that the inventory has checked."""

    def state() -> list[object]:
        params = EncoderParams(name="torchvision/squeezenet1_1", weights=str(file))
        whole = Params(encoder=params, compare={"methods": ("rotation",), "controls": ()})
        watched = settings("", whole)["encoder"]
        fingerprint = take_stock(whole, {})["rotation"]["fingerprint"]
        return [job(params).key("data"), watched, fingerprint]

    first, random = state(), job(EncoderParams(weights=str(file)), "random").key("data")
    assert first == state()
    torch.save(network("torchvision/squeezenet1_1", seed=8).state_dict(), file)
    assert all(a != b for a, b in zip(first, state(), strict=True))
    assert job(EncoderParams(weights=str(file)), "random").key("data") == random


def test_without_weights_cards_and_settings_are_as_before() -> None:
    assert settings("", Params())["encoder"] == {
        "name": "resnet10", "width": 16, "stem": "auto", "patch": "auto", "depth": None,
    }  # fmt: skip
