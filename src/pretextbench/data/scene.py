"""What is around the things: sky and ground, clutter behind, something in front, light, shadow and grain."""

import numpy as np

from pretextbench.data.pen import Array, Draws, Pen, hsv


def backdrop(pen: Pen) -> None:
    """Sky above, ground below a horizon that wanders; both shaded with distance, the ground with waves or furrows."""
    u = pen.draws.uniform
    sky = hsv(pen.draws.hue(0.58, 0.06, 0.75), u(0.05, 0.5), u(0.5, 1.0))
    earth = hsv(pen.draws.hue(0.22, 0.12, 0.75), u(0.1, 0.6), u(0.3, 0.75))
    pen.canvas[...] = sky * (1 - u(0, 0.35) * (pen.y + 1) / 2)[..., None]
    horizon, roll, phase = u(-0.1, 0.8), u(0, 0.12), u(0, 2 * np.pi)
    edge = horizon + roll * np.sin(u(1.5, 5) * pen.x + phase)
    depth = (pen.y - edge) / (1 - horizon)
    furrows = u(0, 0.2) * np.sin(u(4, 14) * pen.y + u(-6, 6) * pen.x + phase)
    pen.paint(edge - pen.y, earth * (0.75 + 0.35 * np.clip(depth, 0, 1) + furrows)[..., None])


def clutter(pen: Pen, pieces: int) -> None:
    """Stones, posts and tents that belong to no class, of any colour, standing anywhere."""
    u = pen.draws.uniform
    for _ in range(pieces):
        x, y, kind, size = u(-1, 1), u(-0.9, 0.9), u(), u(0.08, 0.2)
        stone = pen.ellipse(x, y, size, 0.7 * size)
        post = pen.box(x, y, 0.35 * size, size)
        tent = pen.taper(x, y - size, y + size, 0, size)
        shape = np.where(kind < 0.34, stone, np.where(kind < 0.67, post, tent))
        pen.paint(shape, hsv(u(), u(0, 0.8), u(0.1, 1)), u(0.3, 1.0))


def occluder(pen: Pen) -> None:
    """In some images a post, a leaf or a hill hides a part of the thing, from any side."""
    u = pen.draws.uniform
    angle, reach, thick, kind = u(0, 2 * np.pi), u(0.35, 0.9), u(0.05, 0.1), u()
    across = np.cos(angle) * pen.x + np.sin(angle) * pen.y
    post = abs(across - 0.5 * reach) - thick
    leaf = pen.ellipse(reach * np.cos(angle), reach * np.sin(angle), u(0.12, 0.3), u(0.12, 0.3))
    shape = np.where(kind < 0.5, post, leaf)
    pen.paint(shape, hsv(u(), u(0, 0.8), u(0.1, 0.9)), pen.draws.chance(0.15))


def light(pen: Pen) -> None:
    """A tint, a gradient of brightness across the image and a change of contrast, in place."""
    u, canvas = pen.draws.uniform, pen.canvas
    angle, strength = u(0, 2 * np.pi), u(0, 0.15)
    ramp = 1 + strength * (np.cos(angle) * pen.x + np.sin(angle) * pen.y)
    tint = np.stack([u(0.92, 1.08), u(0.96, 1.04), u(0.92, 1.08)], axis=-1)
    contrast, brightness = u(0.85, 1.1), u(-0.08, 0.08)
    canvas *= ramp[..., None] * tint
    canvas -= 0.5
    canvas *= contrast[..., None]
    canvas += (0.5 + brightness)[..., None]


def grain(canvas: Array, noise: Array, draws: Draws) -> None:
    """Sensor noise, in place; `noise` is standard normal, the shape of the canvas, its strength is drawn."""
    canvas += draws.uniform(0.005, 0.02)[..., None] * noise
