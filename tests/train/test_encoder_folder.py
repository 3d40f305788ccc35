"""Saved encoders: bitwise round trip through weights and card, and refusals of what does not belong together."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from pretextbench import registry
from pretextbench.base.files import sha256
from pretextbench.encoder import ResNet, build
from pretextbench.errors import PluginError, UserError
from pretextbench.params import EncoderParams
from pretextbench.train import encoder_folder
from pretextbench.train.encoder_folder import CARD, WEIGHTS, Card
from tests.conftest import Install

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def card(method: str = "random", encoder: EncoderParams | None = None) -> Card:
    return Card(
        method=method,
        seed=1,
        control=True,
        distribution="pretextbench",
        version="0.1.0",
        source_hash="abc",
        params={},
        encoder=encoder or EncoderParams(width=4),
        image_size=16,
        mean=MEAN,
        std=STD,
        parameters=1,
        images_seen=2,
        steps=3,
        batch_size=4,
        seconds=5.5,
        images_per_second=6.5,
        peak_memory_bytes=7,
        peak_device_memory_bytes=0,
        device="cpu",
        precision="fp32",
        data_sha256="def",
        versions={"torch": torch.__version__},
    )


def trained() -> ResNet:
    """An encoder in the state that training leaves: channels last, running statistics moved."""
    encoder = build(EncoderParams(width=4), 16, MEAN, STD).to(memory_format=torch.channels_last)
    encoder.train()(torch.rand(8, 3, 16, 16))
    return encoder


def test_round_trip_is_bitwise(tmp_path: Path) -> None:
    encoder = trained()
    written = encoder_folder.save(encoder, card(), tmp_path)
    loaded, read = encoder_folder.load(tmp_path)
    assert "grey_range" not in (tmp_path / CARD).read_text()
    assert read == written == card().model_copy(update={"weights_sha256": sha256(tmp_path / WEIGHTS)})
    before, after = encoder.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not loaded.training
    x = torch.rand(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(x), encoder_folder.load(tmp_path)[0](x))
        torch.testing.assert_close(loaded(x), encoder.eval()(x))


def test_weights_carry_the_names_of_the_network_and_the_statistics(tmp_path: Path) -> None:
    encoder = trained()
    encoder_folder.save(encoder, card(), tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    assert set(weights) == set(encoder.state_dict())
    assert weights["mean"].flatten().tolist() == pytest.approx(MEAN)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CARD, WEIGHTS]


def test_equal_encoders_are_equal_files(tmp_path: Path) -> None:
    encoder = trained()
    hashes = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        hashes.add(encoder_folder.save(encoder, card(), tmp_path / name).weights_sha256)
    assert len(hashes) == 1


def test_loading_draws_nothing(tmp_path: Path) -> None:
    """Building draws initial weights; the caller's random numbers must not notice."""
    encoder_folder.save(trained(), card(), tmp_path)
    before = torch.get_rng_state()
    encoder_folder.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_tampered_weights_are_refused(tmp_path: Path) -> None:
    encoder_folder.save(trained(), card(), tmp_path)
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[-1] ^= 1  # one bit of one weight
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(
        UserError, match=rf"{WEIGHTS} is not the file that {CARD} describes\. Run the pretrain stage again"
    ):
        encoder_folder.load(tmp_path)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    encoder_folder.save(trained(), card(), tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(UserError, match="Run the pretrain stage"):
        encoder_folder.load(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"{}", b'{"method": "random", "sead": 1}', b"\xff"])
def test_what_is_no_card_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / CARD).write_bytes(content)
    with pytest.raises(UserError, match=r"holds no encoder that can be read \((?s:.+)\)\. Run the pretrain stage\."):
        encoder_folder.load(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no encoder"):
        encoder_folder.read_card(tmp_path / "nowhere")


def test_an_encoder_of_a_method_that_is_gone_names_it(tmp_path: Path) -> None:
    encoder_folder.save(trained(), card("vanished"), tmp_path)
    with pytest.raises(PluginError, match="Unknown method 'vanished'"):
        encoder_folder.load(tmp_path)


def test_parameters_that_the_method_no_longer_knows_are_named(tmp_path: Path) -> None:
    encoder_folder.save(trained(), card().model_copy(update={"params": {"ancient": 1}}), tmp_path)
    with pytest.raises(UserError, match=r"encoder\.json has 1 mistake:\s+params\.ancient: unknown key"):
        encoder_folder.load(tmp_path)


OWN_BACKBONE = """
from torch import nn
from pretextbench.encoder import Encoder
from pretextbench.method import PretextMethod

class Tiny(Encoder):
    def __init__(self, mean, std):
        super().__init__(mean, std)
        self.layer, self.dim, self.channels = nn.Conv2d(3, 5, 3), 5, {"only": 5}
    def stages(self, x):
        return {"only": self.layer(self.normalise(x))}

class Ours(PretextMethod):
    api_version = 1
    @classmethod
    def build_encoder(cls, params, encoder, data):
        return Tiny(data.mean, data.std)
"""


def test_a_backbone_of_a_plugins_own_comes_back(tmp_path: Path, install: Install) -> None:
    install("pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours.py": OWN_BACKBONE})
    tiny: nn.Module = registry.load("ours").build_encoder(None, None, card())
    encoder_folder.save(tiny, card("ours"), tmp_path)  # type: ignore[arg-type]
    loaded, _ = encoder_folder.load(tmp_path)
    assert type(loaded).__name__ == "Tiny"
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in tiny.state_dict().items())
