"""The corruptions against SciPy, Pillow and plain NumPy, and what they promise: farther with every severity."""

import io
import itertools
import re

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from pretextbench.base.seed import Seed
from pretextbench.errors import UserError
from pretextbench.views import corrupt as c
from pretextbench.views.corrupt import CORRUPTIONS, NAMES, SEVERITIES, corrupt, draw_noise

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
EVERY = [(name, severity) for name in NAMES for severity in SEVERITIES]


def photos(n: int = 24, side: int = 32) -> Tensor:
    """Images with the spectrum of photographs, 1 / f, coloured a little; whole levels of 256."""
    numbers = np.random.default_rng(1)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    spectrum = 1 / np.maximum(frequency, 1 / side)
    fields = np.fft.ifft2(np.fft.fft2(numbers.normal(size=(n, 3, side, side))) * spectrum).real
    fields += 2 * fields.mean(1, keepdims=True)  # channels go together
    images = 0.5 + 0.2 * (fields - fields.mean()) / fields.std()
    return torch.from_numpy(images.clip(0, 1) * 255).round().float() / 255


def numbers(images: Tensor) -> Tensor:
    return draw_noise(Seed(0), range(len(images)), images.shape[-1])


def corrupted(images: Tensor, name: str, severity: int) -> Tensor:
    return corrupt(images, name, severity, numbers(images))


def distance(a: Tensor, b: Tensor) -> float:
    """Mean squared difference."""
    return float(((a.double() - b.double()) ** 2).mean())


def pictures(images: Tensor) -> list[Image.Image]:
    return [Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()) for image in images]


def tensor(images: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2).float() / 255


# --- each against an independent computation -----------------------------------------------------------------------


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_stated_deviation_on_grey(severity: int) -> None:
    """Within 1%, seven standard errors of 786 432 numbers; no correction for clipping: the largest is 5 deviations."""
    grey = torch.full((256, 3, 32, 32), 0.5)
    noise = corrupted(grey, "noise", severity) - grey
    assert float(noise.std()) == pytest.approx(CORRUPTIONS["noise"][severity - 1], rel=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)


def test_noise_is_independent_between_rows_channels_and_pixels() -> None:
    """Correlations of 3072 numbers, within five standard errors."""
    first, second, third = draw_noise(Seed(0), [0, 1, 2], 32)
    pairs = [(first, second), (second, third), (first[0], first[1])]
    pairs += [(first[:, 1:], first[:, :-1]), (first[..., 1:], first[..., :-1])]
    for a, b in pairs:
        assert abs(float((a * b).mean())) < 5 / a.numel() ** 0.5


@pytest.mark.parametrize("side", [32, 48, 96])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_equals_scipys(severity: int, side: int) -> None:
    """To 1e-6: both sum the same weights, SciPy in double precision."""
    x = photos(4, side)
    sigma = CORRUPTIONS["blur"][severity - 1] * side / 32
    expected = gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode="mirror")
    np.testing.assert_allclose(corrupted(x, "blur", severity).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_equals_its_formula(severity: int) -> None:
    x = photos()
    factor, a = CORRUPTIONS["contrast"][severity - 1], x.double().numpy()
    grey = (0.299 * a[:, 0] + 0.587 * a[:, 1] + 0.114 * a[:, 2]).mean((1, 2))[:, None, None, None]
    expected = (grey + factor * (a - grey)).clip(0, 1)
    np.testing.assert_allclose(corrupted(x, "contrast", severity).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_equals_its_formula(severity: int) -> None:
    x = photos()
    expected = (x.double().numpy() + CORRUPTIONS["brightness"][severity - 1]).clip(0, 1)
    np.testing.assert_allclose(corrupted(x, "brightness", severity).numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_is_near_pillows(severity: int) -> None:
    """Kornia rounds softly: a tenth of libjpeg's loss away from libjpeg's image, and 5 to 15% less loss of its own.

    With any other of the five qualities the first is at least 0.3.
    """
    x, files = photos(), [io.BytesIO() for _ in range(24)]
    for picture, file in zip(pictures(x), files, strict=True):
        picture.save(file, "JPEG", quality=int(CORRUPTIONS["jpeg"][severity - 1]))
    theirs, ours = tensor([Image.open(file) for file in files]), corrupted(x, "jpeg", severity)
    assert distance(ours, theirs) < 0.1 * distance(theirs, x)
    assert 0.85 < distance(ours, x) / distance(theirs, x) < 0.95


@pytest.mark.parametrize("side", [8, 32, 96])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_equals_pillows_box_filter(severity: int, side: int) -> None:
    """CIFAR-10-C's own: BOX down and up. Pillow rounds to 256 levels after each axis, so by up to one level."""
    x = photos(4, side)
    count = int(min(side, 32) * CORRUPTIONS["pixelate"][severity - 1])
    box = Image.Resampling.BOX
    expected = tensor([p.resize((count, count), box).resize((side, side), box) for p in pictures(x)])
    torch.testing.assert_close(corrupted(x, "pixelate", severity), expected, rtol=0, atol=1.01 / 255)


def test_pixelate_leaves_equal_blocks_that_keep_their_mean() -> None:
    x = photos()
    y = c.pixelate(x, 0.25)  # cells of 4 x 4
    blocks = y.unfold(2, 4, 4).unfold(3, 4, 4)  # (B, 3, 8, 8, 4, 4)
    torch.testing.assert_close(blocks, blocks[..., :1, :1].expand_as(blocks), rtol=0, atol=1e-6)
    torch.testing.assert_close(blocks[..., 0, 0], torch.nn.functional.avg_pool2d(x, 4), rtol=0, atol=1e-6)
    torch.testing.assert_close(c.pixelate(y, 0.25), y, rtol=0, atol=1e-6)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_are_exact(quarters: int) -> None:
    """Anticlockwise, as torch.rot90; to 2e-5, what single precision leaves of the cosine of a right angle."""
    x = photos()
    torch.testing.assert_close(c.rotate(x, 90.0 * quarters), x.rot90(quarters, (2, 3)), rtol=0, atol=2e-5)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_rotation_has_no_dark_corners(severity: int) -> None:
    white = torch.ones(2, 3, 32, 32)
    torch.testing.assert_close(corrupted(white, "rotate", severity), white, rtol=0, atol=1e-6)


# --- what all of them promise --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_severity_is_farther_from_the_clean_image(name: str) -> None:
    x = photos()
    away = [distance(corrupted(x, name, severity), x) for severity in SEVERITIES]
    assert away[0] > 0
    assert all(b > 1.05 * a for a, b in itertools.pairwise(away)), away


@pytest.mark.parametrize(("name", "severity"), EVERY)
def test_the_batch_does_not_matter(name: str, severity: int) -> None:
    """Alone, in a small batch or in a large one: the same 256 levels, so the same bytes."""
    x = photos()
    noise, whole = numbers(x), corrupted(x, name, severity)
    for step in (1, 5):
        parts = [corrupt(x[i : i + step], name, severity, noise[i : i + step]) for i in range(0, len(x), step)]
        assert torch.equal((torch.cat(parts) * 255).round(), (whole * 255).round())


def test_the_batch_does_not_matter_to_a_coefficient_on_the_edge() -> None:
    """Two of 786 432 levels would differ in single precision: JPEG rounds, and rounding errors choose the side."""
    x = photos(256)
    alone = torch.cat([corrupt(image, "jpeg", 4) for image in x.split(1)])
    assert torch.equal((alone * 255).round(), (corrupt(x, "jpeg", 4) * 255).round())


def test_the_noise_of_a_row_is_its_own() -> None:
    assert torch.equal(draw_noise(Seed(0), [3, 1, 2], 8)[1:], draw_noise(Seed(0), range(4), 8)[1:3])
    assert not torch.equal(draw_noise(Seed(0), [1], 8), draw_noise(Seed(1), [1], 8))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("name", "severity"), EVERY)
def test_stays_in_range_on_its_device_and_leaves_its_input_alone(name: str, severity: int, device: str) -> None:
    x = torch.cat([photos(4), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)]).to(device)
    before, state = x.clone(), torch.get_rng_state()
    y = corrupt(x, name, severity, numbers(x))
    assert (y.shape, y.dtype, y.device) == (x.shape, x.dtype, x.device)
    assert 0 <= float(y.min()) <= float(y.max()) <= 1
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [8, 17, 96])
def test_any_size_works(name: str, side: int) -> None:
    x = photos(2, side)
    assert corrupted(x, name, 5).shape == x.shape


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "severity", "says"),
    [
        ("blurr", 1, "There is no corruption 'blurr'. Did you mean 'blur'? Allowed: noise, blur,"),
        ("blur", 0, "There is no severity 0. Allowed: 1, 2, 3, 4, 5."),
        ("blur", 6, "There is no severity 6."),
        ("noise", 1, "needs random numbers: pass those of draw_noise() to corrupt()."),
    ],
)
def test_mistakes_are_explained(name: str, severity: int, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        corrupt(photos(1), name, severity)
