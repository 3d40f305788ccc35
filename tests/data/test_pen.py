"""The pen: areas against geometry, colours against colorsys, frames against each other."""

import colorsys

import numpy as np
import pytest

from pretextbench.data.pen import Draws, Pen, hsv

WHITE = np.ones((1, 1, 1, 3), np.float32)


def blank(side: int = 64, images: int = 1) -> Pen:
    draws = Draws(np.random.default_rng(0).random((images, 50), np.float32))
    return Pen.on(np.zeros((images, side, side, 3), np.float32), draws)


def area(pen: Pen) -> float:
    """Painted area of the first canvas, in units of the image's frame (the whole is 4)."""
    return float(pen.canvas[0, ..., 0].mean() * 4)


@pytest.mark.parametrize(
    ("shape", "numbers", "expected"),
    [
        ("ellipse", (0.1, -0.2, 0.5, 0.5), np.pi * 0.25),
        ("ellipse", (0, 0, 0.8, 0.4), np.pi * 0.32),
        ("box", (0.2, 0.1, 0.5, 0.25), 0.5),
        ("taper", (0, -0.5, 0.5, 0, 0.6), 0.6),
        ("taper", (0, -0.5, 0.5, 0.3, 0.5), 0.8),
        ("wedge", (0, -0.5, 0.5, 0.3, 0.5), 0.8),
        ("limb", (-0.4, -0.3, 0.4, 0.3, 0.2), 1.0 * 0.4 + np.pi * 0.04),
        ("petals", (0, 0, 5, 0.5, 0.5), np.pi * 0.25),
    ],
)
def test_areas(shape: str, numbers: tuple[float, ...], expected: float) -> None:
    pen = blank(256)
    pen.paint(getattr(pen, shape)(*numbers), WHITE)
    assert area(pen) == pytest.approx(expected, rel=0.02)


def test_a_moved_pen_paints_a_moved_shape() -> None:
    pen = blank(256)
    moved = pen.moved(0.3, -0.2, 0.5, np.pi / 2)
    moved.paint(moved.box(0, 0, 0.8, 0.2), WHITE)  # lies down in its frame, stands up in the image
    assert area(pen) == pytest.approx(0.5**2 * 4 * 0.8 * 0.2, rel=0.02)
    y, x = np.nonzero(pen.canvas[0, ..., 0] > 0.5)
    assert (x.mean() / 128 - 1, y.mean() / 128 - 1) == pytest.approx((0.3, -0.2), abs=0.02)
    assert np.ptp(y) > 3 * np.ptp(x)


def test_a_negative_stretch_mirrors() -> None:
    plain, mirror = blank(), blank()
    for pen, stretch in ((plain, 1.0), (mirror, -1.0)):
        moved = pen.moved(0, 0, 0.8, 0, stretch)
        moved.paint(moved.wedge(0, -0.5, 0.5, 0, 0.5), WHITE)
    np.testing.assert_allclose(plain.canvas[:, :, ::-1], mirror.canvas, atol=1e-5)


@pytest.mark.parametrize("h", [0.0, 0.1, 0.35, 0.5, 0.77, 0.99])
def test_hsv(h: float) -> None:
    np.testing.assert_allclose(hsv(h, 0.6, 0.8), colorsys.hsv_to_rgb(h, 0.6, 0.8), atol=1e-6)
    np.testing.assert_allclose(hsv(h - 1, 0.6, 0.8), colorsys.hsv_to_rgb(h, 0.6, 0.8), atol=1e-5)


def test_draws_are_used_once_and_rows_do_not_mix() -> None:
    table = np.random.default_rng(0).random((4, 3), np.float32)
    draws = Draws(table)
    np.testing.assert_allclose(draws.uniform(2, 4)[:, 0, 0], 2 + 2 * table[:, 0])
    np.testing.assert_array_equal(draws.chance(0.5)[:, 0, 0], table[:, 1] < 0.5)
    draws.uniform()
    with pytest.raises(IndexError):
        draws.uniform()


def test_opacity_chooses_images() -> None:
    pen = blank(images=2)
    pen.paint(pen.box(0, 0, 1, 1), WHITE, np.array([True, False]).reshape(2, 1, 1))
    assert pen.canvas.mean((1, 2, 3)) == pytest.approx([1, 0], abs=0.05)
