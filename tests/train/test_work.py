"""Views and multiply-adds per image, by hand and as published; a training that is measured is left as it was."""

import pytest
import torch

from pretextbench import registry
from pretextbench.encoder import build as build_encoder
from pretextbench.params import EncoderParams
from pretextbench.testing.bench import advance, build
from pretextbench.train import work
from tests.evaluate.fakes import TinyEncoder


def test_convolutions_by_hand() -> None:
    encoder = TinyEncoder()  # 3 x 3 convolutions, 8 px: to 4 channels, to 8 at stride 2, to 16 at stride 2
    result = work.multiply_adds(lambda: encoder(torch.zeros(1, 3, 8, 8)))
    assert result == 9 * (3 * 4 * 64 + 4 * 8 * 16 + 8 * 16 * 4)


def test_a_resnet_18_has_the_published_ones() -> None:
    """He 2016, table 1: 1.8e9."""
    encoder = build_encoder(EncoderParams(name="resnet18", width=64), 224, (0.5,) * 3, (0.25,) * 3)
    assert work.multiply_adds(lambda: encoder(torch.zeros(1, 3, 224, 224))) == pytest.approx(1.8e9, rel=0.02)


@pytest.mark.parametrize(
    ("name", "views", "passes"),
    [("rotation", 1, 4), ("simclr", 2, 2), ("byol", 2, 4), ("lejepa", 4, 4), ("swav", 6, 3), ("dino", 6, 5)],
)
def test_every_pass_of_an_image_is_counted(name: str, views: int, passes: int) -> None:
    """Rotation encodes four turned copies, SimCLR two views, BYOL two views with its network and with the twin.

    A local crop has half the side and so a quarter of the work: of SwAV's six crops two are whole and four are local;
    DINO's teacher encodes the whole ones once more.
    """
    result = work.measure(build(registry.load(name)))
    assert result.views == views
    assert passes <= result.training / result.encoder < passes + 1.5, "and heads, which are small"


def test_a_control_that_does_not_train_has_the_pass_of_its_encoder_alone() -> None:
    result = work.measure(build(registry.load("random")))
    assert (result.views, result.training) == (0, 0)
    assert result.encoder > 0


def test_the_training_is_left_as_it_was() -> None:
    plain, measured = (build(registry.load("byol")) for _ in range(2))
    modes = [module.training for module in measured.method.modules()]
    before = torch.get_rng_state()
    work.measure(measured)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in measured.method.modules()] == modes
    assert advance(measured, 2) == advance(plain, 2)
    for name, tensor in plain.method.state_dict().items():
        assert torch.equal(tensor, measured.method.state_dict()[name]), name
