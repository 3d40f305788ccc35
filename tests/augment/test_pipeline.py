"""Augmentation: what a draw promises, the views that come of it, and the policy that freezes it."""

import random

import numpy as np
import pytest
import torch

from pretextbench.augment.pipeline import Augmenter, ViewPipeline, as_float, changed, throughput
from pretextbench.errors import UserError
from pretextbench.recipe import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Op,
    PadCrop,
    RandomResizedCrop,
    Recipe,
    Solarize,
    View,
    augmented,
)
from tests.drawn import SIDE, boxes, images, through

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
FULL = augmented(
    RandomResizedCrop(scale=(0.08, 1.0)),
    PadCrop(),
    HorizontalFlip(),
    ColorJitter(),
    Grayscale(),
    GaussianBlur(),
    Solarize(),
    draws=2,
)


# --- what a draw promises -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_a_seed_means_the_same_numbers_on_every_device(device: str) -> None:
    augmenter, x = Augmenter(FULL, SIDE), images()
    torch.manual_seed(3)
    here = augmenter.draw(x)
    torch.manual_seed(3)
    there = augmenter.draw(x.to(device))
    steps = [step for one, two in zip(here, there, strict=True) for step in zip(one, two, strict=True)]
    pairs = [(a[key], b[key]) for a, b in steps for key in a]
    assert len(pairs) > 20
    assert all(a.device.type == b.device.type == "cpu" and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("device", DEVICES[1:] or [pytest.param("cuda", marks=pytest.mark.skip("no GPU"))])
def test_views_of_a_gpu_are_those_of_the_cpu(device: str) -> None:
    augmenter, x = Augmenter(FULL, SIDE), images()
    draws = augmenter.draw(x)
    for here, there in zip(augmenter.apply(x, draws), augmenter.apply(x.to(device), draws), strict=True):
        close = (there.cpu() - here).abs() < 1e-4  # but for pixels at the threshold of solarize
        assert float(close.float().mean()) > 0.999


@pytest.mark.parametrize("count", [1, 4, 16])  # 4 is also the number of the jitter's steps
def test_sparing_images_changes_none(count: int) -> None:
    """Bit for bit what Kornia's call gives, which computes all images and then keeps the chosen."""
    for seed in range(10):
        torch.manual_seed(seed)
        view, x = Augmenter(FULL, SIDE).views[0], images(count)
        for op, numbers in zip(view.ops, view.draw(tuple(x.shape)), strict=True):
            before, result = x.clone(), changed(op, x, numbers)
            assert torch.equal(x, before)
            assert torch.equal(result, op(x, params=dict(numbers)))
            x = result


def test_applying_never_asks_the_device_for_a_value() -> None:
    """A tensor without values stands in for a GPU: what would have to wait for one raises here."""
    augmenter, x = Augmenter(FULL, SIDE), images()
    views = augmenter.apply(x.to("meta"), augmenter.draw(x))
    assert [view.device.type for view in views] == ["meta"] * 2


@pytest.mark.parametrize(
    ("op", "key"),
    [
        (RandomResizedCrop(scale=(0.08, 1.0)), "src"),
        (ColorJitter(), "brightness_factor"),
        (ColorJitter(), "contrast_factor"),
        (ColorJitter(), "saturation_factor"),
        (ColorJitter(), "hue_factor"),
        (GaussianBlur(), "sigma"),
    ],
)
def test_every_image_has_its_own_numbers(op: Op, key: str) -> None:
    _, numbers = through(op, images())
    assert len({tuple(row.flatten().tolist()) for row in numbers[key]}) == 16


def test_the_order_of_the_jitters_steps_is_drawn_per_batch() -> None:
    """The one number that the images of a batch share (as in Kornia; torchvision's also shares it within a batch)."""
    _, numbers = through(ColorJitter(), images())
    assert sorted(numbers["order"].tolist()) == [0, 1, 2, 3]
    orders = {tuple(through(ColorJitter(), images(2))[1]["order"].tolist()) for _ in range(20)}
    assert len(orders) > 5


@pytest.mark.parametrize(
    ("op", "p"), [(HorizontalFlip(p=0.5), 0.5), (ColorJitter(p=0.8), 0.8), (Grayscale(p=0.2), 0.2)]
)
def test_operations_happen_as_often_as_they_say(op: Op, p: float) -> None:
    """Within four standard deviations on 4000 images."""
    draw = ViewPipeline(View(ops=(op,)), SIDE).draw((4000, 3, SIDE, SIDE))
    assert float(draw[0]["batch_prob"].mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / 4000) ** 0.5)


def test_crops_keep_to_their_area_and_shape() -> None:
    op = RandomResizedCrop(scale=(0.3, 0.6), ratio=(0.75, 4 / 3))
    draw = ViewPipeline(View(ops=(op,)), 100).draw((500, 3, 100, 100))
    drawn = boxes(draw[0])
    assert all(0 <= y0 <= y0 + h <= 100 and 0 <= x0 <= x0 + w <= 100 for y0, x0, h, w in drawn)
    areas = np.array([h * w / 1e4 for _, _, h, w in drawn])
    shapes = np.array([w / h for _, _, h, w in drawn])
    assert 0.28 < areas.min() < 0.33
    assert 0.57 < areas.max() < 0.62  # sides are whole pixels
    assert 0.73 < shapes.min() < 0.8
    assert 1.25 < shapes.max() < 1.37


def test_jitter_factors_span_their_ranges() -> None:
    op = ColorJitter(brightness=0.4, contrast=0.3, saturation=0.2, hue=0.1)
    numbers = ViewPipeline(View(ops=(op,)), SIDE).draw((2000, 3, SIDE, SIDE))[0]
    for key, low, high in [
        ("brightness", 0.6, 1.4),
        ("contrast", 0.7, 1.3),
        ("saturation", 0.8, 1.2),
        ("hue", -0.1, 0.1),
    ]:
        factor = numbers[f"{key}_factor"]
        assert float(factor.min()) == pytest.approx(low, abs=0.01)
        assert float(factor.max()) == pytest.approx(high, abs=0.01)


def test_same_seed_same_views_another_seed_others() -> None:
    augmenter, x = Augmenter(FULL, SIDE), images()
    torch.manual_seed(3)
    first = augmenter(x)
    torch.manual_seed(3)
    again = augmenter(x)
    other = augmenter(x)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[1])


def test_applying_draws_nothing_and_leaves_the_images_alone() -> None:
    augmenter, x = Augmenter(FULL, SIDE), images()
    draws, before = augmenter.draw(x), x.clone()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, again = augmenter.apply(x, draws), augmenter.apply(x, draws)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(x, before)


def test_the_draw_does_not_look_at_the_pixels() -> None:
    augmenter, noise = Augmenter(FULL, SIDE), images()
    torch.manual_seed(1)
    of_noise = augmenter.draw(noise)
    torch.manual_seed(1)
    of_black = augmenter.draw(torch.zeros(16, 3, SIDE, SIDE))
    for a, b in zip(of_noise, of_black, strict=True):
        for left, right in zip(a, b, strict=True):
            assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_draw_can_be_replayed_on_other_images() -> None:
    """The same crop and flip of images and of a mask-like copy: what replaying is for."""
    augmenter, x = Augmenter(augmented(RandomResizedCrop(), HorizontalFlip()), SIDE), images()
    draws = augmenter.draw(x)
    (bright,), (dark,) = augmenter.apply(x, draws), augmenter.apply(x / 2, draws)
    torch.testing.assert_close(bright / 2, dark, rtol=0, atol=1e-6)


# --- views --------------------------------------------------------------------------------------------------------


def test_views_are_float32_channels_last_and_within_range() -> None:
    x = torch.cat([images(), torch.zeros(4, 3, SIDE, SIDE), torch.ones(4, 3, SIDE, SIDE)])
    for view in Augmenter(FULL, SIDE)(x):
        assert view.dtype == torch.float32
        assert view.is_contiguous(memory_format=torch.channels_last)
        assert view.shape == x.shape
        assert 0 <= float(view.min()) <= float(view.max()) <= 1


def test_the_empty_recipe_is_the_image() -> None:
    x = images()
    (view,) = Augmenter(Recipe(), SIDE)(x)
    assert torch.equal(view, x)
    assert view.is_contiguous(memory_format=torch.channels_last)


def test_multi_crop_keeps_the_order_and_sizes_of_the_recipe() -> None:
    small = View(ops=(RandomResizedCrop(scale=(0.05, 0.14)), HorizontalFlip()), size=16, draws=3)
    views = Augmenter(Recipe(views=(View(ops=(RandomResizedCrop(),), draws=2), small)), SIDE)(images(4))
    assert [tuple(view.shape) for view in views] == [(4, 3, 32, 32)] * 2 + [(4, 3, 16, 16)] * 3
    assert len({float(view.sum()) for view in views}) == 5


def test_one_image_is_a_batch() -> None:
    assert [view.shape for view in Augmenter(FULL, SIDE)(images(1))] == [(1, 3, SIDE, SIDE)] * 2


def test_a_view_of_another_size_needs_a_crop() -> None:
    with pytest.raises(UserError, match=r"view of 16 px.*images of 32 px.*random_resized_crop.*leave `size` out"):
        Augmenter(Recipe(views=(View(ops=(HorizontalFlip(),), size=16),)), SIDE)


def test_a_shift_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="padding"):
        Augmenter(augmented(PadCrop(padding=SIDE)), SIDE)(images())


def test_as_float_is_the_stored_pixel_over_255() -> None:
    pixels = torch.randint(0, 256, (2, 5, 4, 3), dtype=torch.uint8)
    x = as_float(pixels)
    assert (x.shape, x.dtype) == ((2, 3, 5, 4), torch.float32)
    assert float(x[1, 2, 3, 0]) == pytest.approx(int(pixels[1, 3, 0, 2]) / 255)
    assert torch.equal((x * 255).round().byte(), pixels.permute(0, 3, 1, 2))


def test_throughput_counts_what_follows_the_warm_up() -> None:
    batches = [torch.zeros(8, SIDE, SIDE, 3, dtype=torch.uint8)] * 3
    assert 0 < throughput(Augmenter(FULL, SIDE), iter(batches)) < 1e7
