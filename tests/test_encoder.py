"""The encoder against torchvision's networks with the same weights, and against arithmetic done by hand."""

import copy
import subprocess
import sys

import pytest
import torch
import torchvision
from torch import Tensor, nn

from pretextbench.encoder import Encoder, ResNet, build
from pretextbench.encoders.resnet import SMALL_IMAGE, SlicedConv
from pretextbench.method import Data, PretextMethod
from pretextbench.params import EncoderParams, MethodParams

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
STAGES = ["layer1", "layer2", "layer3", "layer4"]


def with_character(network: ResNet) -> ResNet:
    """Norms as training would leave them: at initialisation most of their numbers are 0 or 1 and hide mistakes."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.double()


def torchvision_twin(ours: ResNet, name: str) -> nn.Module:
    """torchvision's network with our weights, matched by name; every weight must find its place."""
    twin = getattr(torchvision.models, name)(weights=None).double()
    if ours.small:  # the usual small-image stem, see SimCLR's appendix B.9
        twin.conv1, twin.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False).double(), nn.Identity()
    twin.fc = nn.Identity()
    weights = {key: value for key, value in ours.state_dict().items() if key not in ("mean", "std")}
    twin.load_state_dict(weights, strict=True)
    return twin


def twin_stages(twin: nn.Module, x: Tensor) -> dict[str, Tensor]:
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (MEAN, STD))
    x = twin.maxpool(twin.relu(twin.bn1(twin.conv1((x - mean.float()) / std.float()))))
    maps = {}
    for name in STAGES:
        maps[name] = x = twin.get_submodule(name)(x)
    return maps


@pytest.mark.parametrize(
    ("name", "stem", "side", "training"),
    [
        ("resnet18", "large", 48, False),
        ("resnet18", "large", 48, True),
        ("resnet18", "small", 16, False),
        ("resnet50", "large", 40, False),
    ],
)
def test_equals_torchvision(name: str, stem: str, side: int, training: bool) -> None:
    ours = with_character(build(EncoderParams(name=name, width=64, stem=stem), side, MEAN, STD)).train(training)
    twin = torchvision_twin(ours, name).train(training)
    x = torch.rand(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        expected, result = twin_stages(twin, x), ours.stages(x)
    assert list(result) == STAGES
    for stage in STAGES:
        torch.testing.assert_close(result[stage], expected[stage], rtol=1e-10, atol=1e-10)


def test_pooled_vector_is_the_mean_of_the_last_stage() -> None:
    encoder = build(EncoderParams(), 32, MEAN, STD).eval()
    x = torch.rand(3, 3, 32, 32)
    last = encoder.stages(x)["layer4"]
    by_hand = torch.stack([last[:, :, i, j] for i in range(4) for j in range(4)]).sum(0) / 16
    torch.testing.assert_close(encoder(x), by_hand, rtol=1e-5, atol=1e-6)


def test_normalises_with_the_statistics_it_was_given() -> None:
    given, plain = build(EncoderParams(), 32, MEAN, STD).eval(), build(EncoderParams(), 32, (0, 0, 0), (1, 1, 1)).eval()
    plain.load_state_dict({k: v for k, v in given.state_dict().items() if k not in ("mean", "std")}, strict=False)
    x = torch.rand(2, 3, 32, 32)
    by_hand = torch.stack([(x[:, c] - MEAN[c]) / STD[c] for c in range(3)], dim=1)
    torch.testing.assert_close(given(x), plain(by_hand))
    assert not torch.allclose(given(x), plain(x))


@pytest.mark.parametrize(
    ("image_size", "stem", "small"),
    [
        (SMALL_IMAGE, "auto", True),
        (SMALL_IMAGE + 1, "auto", False),
        (8, "auto", True),
        (32, "large", False),
        (96, "small", True),
    ],
)
def test_stem_follows_the_image_size(image_size: int, stem: str, small: bool) -> None:
    encoder = build(EncoderParams(stem=stem), image_size, MEAN, STD)
    assert encoder.small is small
    assert encoder.conv1.kernel_size == ((3, 3) if small else (7, 7))
    assert isinstance(encoder.maxpool, nn.Identity if small else nn.MaxPool2d)


def test_64_pixels_is_the_last_small_image() -> None:
    assert SMALL_IMAGE == 64


@pytest.mark.parametrize(
    ("name", "image_size", "sides"),
    [("resnet10", 32, [32, 16, 8, 4]), ("resnet10", 96, [24, 12, 6, 3]), ("resnet50", 32, [32, 16, 8, 4])],
)
def test_stages_have_the_channels_and_sides_they_announce(name: str, image_size: int, sides: list[int]) -> None:
    encoder = build(EncoderParams(name=name, width=8), image_size, MEAN, STD).eval()
    maps = encoder.stages(torch.rand(2, 3, image_size, image_size))
    grow = 4 if name == "resnet50" else 1
    assert encoder.channels == dict(zip(STAGES, [8 * grow, 16 * grow, 32 * grow, 64 * grow], strict=True))
    assert {key: tuple(value.shape) for key, value in maps.items()} == {
        stage: (2, encoder.channels[stage], side, side) for stage, side in zip(STAGES, sides, strict=True)
    }
    assert encoder(torch.rand(2, 3, image_size, image_size)).shape == (2, encoder.dim) == (2, 64 * grow)


@pytest.mark.parametrize("side", [8, 33, 96])
def test_shapes_are_those_of_the_maps(side: int) -> None:
    encoder = build(EncoderParams(width=8), side, MEAN, STD)
    maps = encoder.stages(torch.rand(2, 3, side, side))
    assert encoder.shapes == {name: (x.shape[1], x.shape[2]) for name, x in maps.items()}


def test_asking_for_shapes_draws_no_number_and_changes_nothing() -> None:
    class Noisy(ResNet):
        def stages(self, x: Tensor) -> dict[str, Tensor]:
            return super().stages(x + torch.rand_like(x))

    encoder = Noisy(EncoderParams(width=8), 32, MEAN, STD)
    encoder.layer1.eval()
    modes = [module.training for module in encoder.modules()]
    before, generator = copy.deepcopy(encoder.state_dict()), torch.get_rng_state()
    assert list(encoder.shapes) == STAGES
    assert torch.equal(generator, torch.get_rng_state())
    assert modes == [module.training for module in encoder.modules()]
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


class Halves(Encoder):
    """An encoder that does not say for which images it is."""

    dim, channels = 3, {"half": 3}

    def stages(self, x: Tensor) -> dict[str, Tensor]:
        return {"half": nn.functional.avg_pool2d(x, 2)}


def test_a_method_fills_in_the_image_size_of_its_encoder() -> None:
    encoder = Halves(MEAN, STD)
    with pytest.raises(ValueError, match="no image_size"):
        _ = encoder.shapes
    assert PretextMethod(MethodParams(), encoder, Data(24, MEAN, STD, images=1)).encoder.shapes == {"half": (3, 12)}


def test_eight_pixels_still_pass() -> None:
    maps = build(EncoderParams(), 8, MEAN, STD).eval().stages(torch.rand(2, 3, 8, 8))
    assert [value.shape[-1] for value in maps.values()] == [8, 4, 2, 1]


def test_parameters_of_resnet10_by_hand() -> None:
    """Width 16, small stem: stem 464; per stage the two convolutions, their norms, and the strided shortcut."""
    stem = 3 * 9 * 16 + 2 * 16
    layer1 = 2 * (16 * 16 * 9 + 2 * 16)
    layer2 = (16 * 32 * 9 + 64) + (32 * 32 * 9 + 64) + (16 * 32 + 64)
    layer3 = (32 * 64 * 9 + 128) + (64 * 64 * 9 + 128) + (32 * 64 + 128)
    layer4 = (64 * 128 * 9 + 256) + (128 * 128 * 9 + 256) + (64 * 128 + 256)
    encoder = build(EncoderParams(name="resnet10", width=16), 32, MEAN, STD)
    assert sum(p.numel() for p in encoder.parameters()) == stem + layer1 + layer2 + layer3 + layer4 == 307_536


def test_maps_are_not_overwritten_by_later_stages() -> None:
    """The blocks work in place; what a stage returned must survive the stages after it."""
    encoder = build(EncoderParams(name="resnet18", width=8), 32, MEAN, STD).eval()
    x = torch.rand(2, 3, 32, 32)
    seen: list[Tensor] = []
    encoder.layer1.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    before = copy.deepcopy(x)
    maps = encoder.stages(x)
    assert torch.equal(maps["layer1"], seen[0])
    assert torch.equal(x, before)


def test_convolutions_start_as_he_says() -> None:
    """Standard deviation sqrt(2 / fan_out), within 5 % on the largest layer (He 2015)."""
    weight = build(EncoderParams(width=64), 32, MEAN, STD).layer4[0].conv2.weight.detach()
    assert float(weight.std()) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.05)


def test_equal_seeds_give_equal_weights() -> None:
    torch.manual_seed(5)
    first = build(EncoderParams(), 32, MEAN, STD).state_dict()
    torch.manual_seed(5)
    second = build(EncoderParams(), 32, MEAN, STD).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_sliced_convolution_equals_the_strided_one() -> None:
    ours, theirs = SlicedConv(3, 5, 1, 2).double(), nn.Conv2d(3, 5, 1, stride=2, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    for side in (8, 9):
        x = torch.rand(2, 3, side, side, dtype=torch.float64)
        torch.testing.assert_close(ours(x), theirs(x))


NARROW = """
import torch
from pretextbench.encoder import build
from pretextbench.params import EncoderParams
encoder = build(EncoderParams(width=8), 64, (0.5,) * 3, (0.25,) * 3).to(memory_format=torch.channels_last)
x = torch.rand(32, 3, 64, 64).contiguous(memory_format=torch.channels_last)
for _ in range(3):
    encoder(x).square().mean().backward()
"""


@pytest.mark.slow
def test_a_narrow_network_survives_its_backward_pass() -> None:
    """In a process of its own: with a strided 1x1 convolution from 8 channels torch 2.15 dies here of a segfault."""
    done = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
