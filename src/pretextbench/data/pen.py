"""A pen that draws on many canvases at once: shapes with soft edges, colours and textures, all of it NumPy.

Every shape is a signed distance (negative inside) over the pixel grids of a whole batch, and every number that varies
from image to image is a column (m, 1, 1). Lengths are in units of half the image side; x points right, y points down.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Number = Array | float
Mask = npt.NDArray[np.bool_]


@dataclass
class Draws:
    """The random numbers of a batch: one row per image, used from left to right, so that rows never mix."""

    table: Array  # (m, k) uniform on [0, 1)
    used: int = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Array:
        """The next column, spread over [low, high): (m, 1, 1)."""
        column = self.table[:, self.used, None, None]
        self.used += 1
        spread: Array = low + (high - low) * column
        return spread

    def chance(self, probability: float) -> Mask:
        """True with the given probability: (m, 1, 1)."""
        return self.uniform() < probability

    def hue(self, usual: float, spread: float = 0.06, share: float = 0.5) -> Array:
        """A hue near `usual` in a `share` of the images and any hue in the others: (m, 1, 1)."""
        near = usual + self.uniform(-spread, spread)
        hue: Array = np.where(self.chance(share), near, self.uniform())
        return hue


def hsv(hue: Number, saturation: Number, value: Number) -> Array:
    """Hue (turns), saturation and value to RGB in [0, 1]: (m, 1, 1) each to (m, 1, 1, 3)."""
    h, s, v = np.broadcast_arrays(np.float32(hue), np.float32(saturation), np.float32(value))
    k = (np.array([5, 3, 1], np.float32) + 6 * h[..., None]) % 6
    colour: Array = v[..., None] * (1 - s[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1))
    return colour


def grid(images: int, side: int) -> tuple[Array, Array]:
    """Pixel centres x and y of `images` canvases, from -1 to 1: (m, side, side) each."""
    ticks = (np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1
    y, x = np.meshgrid(ticks, ticks, indexing="ij")
    shape = (images, side, side)
    return np.broadcast_to(x, shape), np.broadcast_to(y, shape)


@dataclass
class Pen:
    """Paints shapes on canvases in a frame of its own, which may be moved, turned, scaled and mirrored."""

    canvas: Array  # (m, side, side, 3) in [0, 1], painted in place
    x: Array  # (m, side, side) of every pixel, in the pen's frame
    y: Array
    unit: Array  # (m, 1, 1) pixels per unit of length of the pen's frame
    draws: Draws
    ink: Array = field(default_factory=lambda: np.ones((1, 1, 1), np.float32))  # texture, multiplies every colour

    @classmethod
    def on(cls, canvas: Array, draws: Draws) -> "Pen":
        """A pen in the frame of the image itself."""
        m, side = canvas.shape[:2]
        x, y = grid(m, side)
        return cls(canvas, x, y, np.full((m, 1, 1), side / 2, np.float32), draws)

    def moved(self, x: Number, y: Number, scale: Number, tilt: Number, stretch: Number = 1.0) -> "Pen":
        """A pen whose origin lies at (x, y), `tilt` radians clockwise; a negative `stretch` mirrors left and right."""
        dx, dy, cos, sin = self.x - x, self.y - y, np.cos(tilt), np.sin(tilt)
        across, down = (cos * dx + sin * dy) / (scale * stretch), (cos * dy - sin * dx) / scale
        return Pen(self.canvas, across, down, self.unit * scale, self.draws)

    def paint(self, distance: Array, colour: Array, opacity: Number | Mask = 1.0) -> None:
        """Cover what lies inside the shape; its edge is one pixel soft."""
        cover = np.clip(0.5 - distance * self.unit, 0, 1) * opacity  # (m, side, side)
        self.canvas += cover[..., None] * (colour * self.ink[..., None] - self.canvas)

    def ellipse(self, x: Number, y: Number, rx: Number, ry: Number) -> Array:
        """Distance to an ellipse with centre (x, y); exact for circles, near enough for the others."""
        distance: Array = (np.hypot((self.x - x) / rx, (self.y - y) / ry) - 1) * np.minimum(rx, ry)
        return distance

    def box(self, x: Number, y: Number, rx: Number, ry: Number) -> Array:
        """Distance (Chebyshev) to a box with centre (x, y) and half sides rx, ry."""
        distance: Array = np.maximum(abs(self.x - x) - rx, abs(self.y - y) - ry)
        return distance

    def taper(self, x: Number, top: Number, bottom: Number, wide_top: Number, wide_bottom: Number) -> Array:
        """An upright trapezium: half width `wide_top` at y = top, `wide_bottom` at y = bottom; 0 makes a triangle."""
        share = np.clip((self.y - top) / (bottom - top), 0, 1)
        sides = abs(self.x - x) - (wide_top + (wide_bottom - wide_top) * share)
        distance: Array = np.maximum(sides, np.maximum(top - self.y, self.y - bottom))
        return distance

    def wedge(self, y: Number, left: Number, right: Number, high_left: Number, high_right: Number) -> Array:
        """A trapezium lying on its side: half height `high_left` at x = left, `high_right` at x = right."""
        share = np.clip((self.x - left) / (right - left), 0, 1)
        sides = abs(self.y - y) - (high_left + (high_right - high_left) * share)
        distance: Array = np.maximum(sides, np.maximum(left - self.x, self.x - right))
        return distance

    def limb(self, x0: Number, y0: Number, x1: Number, y1: Number, thick: Number) -> Array:
        """A segment from (x0, y0) to (x1, y1) with round ends, `thick` is half its width."""
        ax, ay, bx, by = self.x - x0, self.y - y0, x1 - x0, y1 - y0
        share = np.clip((ax * bx + ay * by) / (bx * bx + by * by), 0, 1)
        distance: Array = np.hypot(ax - share * bx, ay - share * by) - thick
        return distance

    def petals(self, x: Number, y: Number, count: Number, inner: Number, outer: Number) -> Array:
        """A rosette whose radius swings between `inner` and `outer` `count` times around."""
        dx, dy = self.x - x, self.y - y
        swing = 0.5 + 0.5 * np.cos(count * np.arctan2(dx, -dy))
        distance: Array = np.hypot(dx, dy) - (inner + (outer - inner) * swing)
        return distance

    def weave(self, across: float, down: float) -> None:
        """Change the ink to a pattern of waves, `across` and `down` (radians per unit); 0 makes it stripes."""
        u = self.draws.uniform
        rate, depth, left, top = u(0.85, 1.15), u(0, 0.55), u(0, 2 * np.pi), u(0, 2 * np.pi)
        wave_x = np.sin(rate * across * self.x + left) if across else 1.0
        wave_y = np.sin(rate * down * self.y + top) if down else 1.0
        self.ink = 1 - depth * (wave_x * wave_y > 0)
