"""The ten things of the synthetic data set, each drawn in a frame where it fills about [-1, 1] and stands upright.

A thing has parts in fixed relations (what a context encoder must know), a foot and a head (what rotation prediction
must know), a usual hue that it has in half of the images only (what colorization may bet on), and parts that come, go
and change their proportions from image to image, so that no template matches it.
"""

from collections.abc import Callable

import numpy as np

from pretextbench.data.pen import Array, Pen, hsv


def coat(pen: Pen, usual: float, share: float = 0.5) -> Array:
    """The main colour of a thing (m, 1, 1, 3): near its usual hue in a share of the images, else any."""
    hue = pen.draws.hue(usual, share=share)
    return hsv(hue, pen.draws.uniform(0.5, 0.95), pen.draws.uniform(0.4, 0.95))


def trim(pen: Pen) -> Array:
    """A colour (m, 1, 1, 3) for a lesser part: dark, light or strong, for any thing."""
    return hsv(pen.draws.uniform(), pen.draws.uniform(0, 0.7), pen.draws.uniform(0.1, 1))


def house(pen: Pen) -> None:
    """Walls, a roof wider than they are, a door on the ground, a window, sometimes a chimney."""
    pen.weave(0, 19)
    u = pen.draws.uniform
    walls, roof, wide = coat(pen, 0.08), trim(pen), u(0.6, 0.8)
    eaves, ridge, door = u(-0.25, 0.1), u(0.0, 0.35), u(-0.4, 0.4)
    pen.paint(pen.box(u(-0.5, 0.5), -0.6, 0.1, 0.35), roof, pen.draws.chance(0.5))
    pen.paint(pen.box(0, 0.5 * (eaves + 0.9), wide, 0.5 * (0.9 - eaves)), walls)
    pen.paint(pen.taper(0, -0.9, eaves, ridge, wide + 0.15), roof)
    pen.paint(pen.box(door, 0.62, 0.14, 0.28), trim(pen))
    glass = trim(pen)
    pen.paint(pen.box(np.where(door > 0, door - 0.5, door + 0.5), 0.3, 0.15, 0.14), glass)


def tree(pen: Pen) -> None:
    """A trunk with a crown that is a ball, a fir's stack of cones, or a cloud of three balls."""
    pen.weave(15, 15)
    u = pen.draws.uniform
    bark, leaves, kind, wide = hsv(u(0.04, 0.1), u(0.2, 0.7), u(0.2, 0.5)), coat(pen, 0.3), u(), u(0.55, 0.85)
    pen.paint(pen.taper(0, -0.1, 0.95, 0.08, u(0.1, 0.2)), bark)
    ball, fir, cloud = kind < 0.34, (kind >= 0.34) & (kind < 0.67), kind >= 0.67
    pen.paint(pen.ellipse(0, -0.35, wide, u(0.5, 0.65)), leaves, ball)
    for top in (-0.2, -0.55, -0.95):
        pen.paint(pen.taper(0, top, top + 0.65, 0, wide * (1.0 + 0.35 * top)), leaves * (1.0 - 0.2 * top), fir)
    for x, y in ((-0.4, -0.2), (0.4, -0.2), (0.0, -0.55)):
        pen.paint(pen.ellipse(x, y, 0.45, 0.4), leaves * (1.0 - 0.3 * y), cloud)


def car(pen: Pen) -> None:
    """A body on two round wheels, with a cabin and its window."""
    u = pen.draws.uniform
    paint, glass, tyre = coat(pen, 0.0), trim(pen), hsv(0.0, 0.0, u(0.02, 0.25))
    back, roof, radius = u(-0.25, 0.1), u(-0.55, -0.3), u(0.2, 0.28)
    pen.paint(pen.taper(back, roof, 0.05, u(0.3, 0.5), u(0.5, 0.7)), paint)
    pen.paint(pen.taper(back, roof + 0.1, 0.02, 0.28, 0.42), glass)
    pen.paint(pen.box(0, 0.22, 0.95, u(0.18, 0.28)), paint)
    for x in (-0.55, 0.55):
        pen.paint(pen.ellipse(x, 0.45, radius, radius), tyre)
        pen.paint(pen.ellipse(x, 0.45, 0.4 * radius, 0.4 * radius), glass)


def fish(pen: Pen) -> None:
    """A lying body that ends in a forked tail, fins above and below, an eye in front."""
    pen.weave(13, 0)
    u = pen.draws.uniform
    scales, fins, high = coat(pen, 0.55), trim(pen), u(0.3, 0.5)
    pen.paint(pen.wedge(0, -0.95, -0.45, u(0.3, 0.5), 0.05), fins)
    pen.paint(pen.taper(u(-0.1, 0.2), -high - 0.3, 0, u(0.0, 0.15), 0.35), fins)
    pen.paint(pen.taper(0.1, 0, high + 0.15, 0.3, 0.05), fins, pen.draws.chance(0.6))
    pen.paint(pen.ellipse(0.1, 0, 0.75, high), scales)
    pen.paint(pen.ellipse(0.2, 0.5 * high, 0.5, 0.45 * high), np.minimum(scales + 0.25, 1))
    pen.paint(pen.ellipse(0.55, -0.1, 0.12, 0.12), np.ones((1, 1, 1, 3), np.float32))
    pen.paint(pen.ellipse(0.58, -0.1, 0.06, 0.06), np.zeros((1, 1, 1, 3), np.float32))


def mushroom(pen: Pen) -> None:
    """A stem under a domed cap with spots."""
    u = pen.draws.uniform
    cap, flesh, wide, rim = coat(pen, 0.0), hsv(u(0.08, 0.16), u(0.05, 0.35), u(0.6, 1)), u(0.65, 0.95), u(-0.05, 0.25)
    pen.paint(pen.taper(0, rim - 0.1, 0.95, u(0.15, 0.25), u(0.2, 0.4)), flesh)
    dome = np.maximum(pen.ellipse(0, rim, wide, u(0.7, 1.0)), pen.y - rim)
    pen.paint(dome, cap)
    spots = pen.draws.chance(0.75)
    for x, y in ((-0.4, -0.2), (0.05, -0.5), (0.42, -0.15)):
        pen.paint(pen.ellipse(x + u(-0.1, 0.1), y + rim, u(0.08, 0.17), u(0.08, 0.15)), flesh, spots)


def boat(pen: Pen) -> None:
    """A hull wider above than below, a mast, one or two sails."""
    u = pen.draws.uniform
    hull, sail, mast, deck = coat(pen, 0.08), trim(pen), u(-0.2, 0.2), u(0.35, 0.5)
    pen.paint(pen.box(mast, -0.2, 0.05, 0.75), hull * 0.5)
    half = np.maximum(pen.taper(mast, u(-0.95, -0.7), deck - 0.1, 0, u(0.6, 0.9)), mast + 0.06 - pen.x)
    pen.paint(half, sail)
    jib = np.maximum(pen.taper(mast, u(-0.8, -0.5), deck - 0.1, 0, u(0.4, 0.7)), pen.x - mast + 0.06)
    pen.paint(jib, np.minimum(sail + 0.15, 1), pen.draws.chance(0.6))
    pen.paint(pen.taper(0, deck, 0.9, u(0.8, 1.0), u(0.45, 0.7)), hull)
    pen.paint(pen.box(0, deck + 0.08, 0.8, 0.05), trim(pen), pen.draws.chance(0.5))


def dog(pen: Pen) -> None:
    """A long body on four legs, a head with ears at one end, a tail at the other."""
    pen.weave(7, 7)
    u = pen.draws.uniform
    fur, back, head, ears = coat(pen, 0.09), u(0.0, 0.2), u(-0.5, -0.2), u(0.15, 0.4)
    pen.paint(pen.limb(-0.6, back, -0.95, back + u(-0.6, 0.1), 0.08), fur)
    for x in (-0.55, -0.35, 0.3, 0.5):
        pen.paint(pen.limb(x, back, x + u(-0.1, 0.1), 0.9, u(0.07, 0.11)), fur * 0.8)
    pen.paint(pen.ellipse(-0.05, back, 0.65, u(0.24, 0.36)), fur)
    pen.paint(pen.limb(0.45, back, 0.65, head, 0.16), fur)
    pen.paint(pen.ellipse(0.65, head, 0.26, 0.22), fur)
    pen.paint(pen.wedge(head + 0.08, 0.7, 1.0, 0.12, 0.08), fur * 0.9)
    pen.paint(pen.limb(0.55, head - 0.1, 0.5, head - 0.1 + np.where(u() < 0.5, ears, -ears), 0.09), fur * 0.6)


def bird(pen: Pen) -> None:
    """A tilted drop of a body on two thin legs, a round head with a beak, a wing, a tail."""
    pen.weave(20, 8)
    u = pen.draws.uniform
    plumage, wing, beak = coat(pen, 0.62), trim(pen), hsv(u(0.05, 0.15), 0.9, u(0.6, 1))
    head, lift, thin = u(-0.65, -0.4), u(-0.5, 0.5), hsv(0.08, 0.6, u(0.1, 0.7))
    for x in (-0.1, 0.15):
        pen.paint(pen.limb(x, 0.3, x + 0.05, 0.92, 0.045), thin)
    pen.paint(pen.limb(-0.4, 0.15, -0.95, u(0.0, 0.5), 0.12), wing)
    pen.paint(pen.wedge(head, 0.5, 0.95, 0.14, 0), beak)
    pen.paint(pen.ellipse(0, 0.1, 0.58, u(0.34, 0.46)), plumage)
    pen.paint(pen.limb(0.25, -0.1, 0.4, head, 0.2), plumage)
    pen.paint(pen.ellipse(0.42, head, 0.27, 0.25), plumage)
    pen.paint(pen.limb(0.1, 0.05, -0.4, 0.1 + 0.5 * lift, 0.17), wing)
    pen.paint(pen.ellipse(0.5, head - 0.05, 0.06, 0.06), np.zeros((1, 1, 1, 3), np.float32))


def flower(pen: Pen) -> None:
    """A rosette of petals around an eye, on a stem with one or two leaves."""
    u = pen.draws.uniform
    bloom, heart, green = (
        coat(pen, 0.9),
        hsv(u(0.05, 0.17), u(0.4, 1), u(0.3, 1)),
        hsv(u(0.22, 0.4), u(0.4, 0.9), u(0.2, 0.7)),
    )
    bend, high, count = u(-0.15, 0.15), u(-0.5, -0.3), np.floor(u(4, 9))
    pen.paint(pen.limb(0, 0.95, bend, high, 0.07), green)
    pen.paint(pen.limb(0, 0.75, u(0.3, 0.55), u(0.25, 0.6), 0.1), green)
    pen.paint(pen.limb(0, 0.6, u(-0.55, -0.3), u(0.2, 0.5), 0.1), green, pen.draws.chance(0.6))
    pen.paint(pen.petals(bend, high, count, u(0.2, 0.3), u(0.45, 0.6)), bloom)
    pen.paint(pen.ellipse(bend, high, 0.17, 0.17), heart)


def person(pen: Pen) -> None:
    """A head on a trunk with two arms and two legs, in any pose that still stands."""
    pen.weave(0, 11)
    u = pen.draws.uniform
    shirt, trousers, skin = coat(pen, 0.5), trim(pen), hsv(u(0.03, 0.1), u(0.25, 0.65), u(0.3, 1))
    step, broad = u(0.08, 0.35), u(0.2, 0.32)
    for side in (-1, 1):
        pen.paint(pen.limb(0.1 * side, 0.2, side * step, 0.9, 0.11), trousers)
        hand = side * u(0.4, 0.7)
        pen.paint(pen.limb(side * broad * 0.8, -0.3, hand, u(-0.75, 0.25), 0.09), shirt * 0.85)
    pen.paint(pen.taper(0, -0.42, 0.3, broad, u(0.15, 0.3)), shirt)
    pen.paint(pen.ellipse(0, -0.66, 0.21, 0.24), skin)
    hat = np.maximum(pen.ellipse(0, -0.72, 0.24, 0.22), pen.y + 0.72)
    pen.paint(hat, trim(pen))


OBJECTS: dict[str, Callable[[Pen], None]] = {
    draw_object.__name__: draw_object
    for draw_object in (bird, boat, car, dog, fish, flower, house, mushroom, person, tree)
}
