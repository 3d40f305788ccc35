"""The colour of each row, by its name: the same in the report, in the plots of DVC and in MLflow.

Nine hues: six of Okabe and Ito (2008), without black and yellow, which vanish on one of the two backgrounds, and three
darker ones of Paul Tol (2021). There are more methods than hues, so that two methods can share a hue; in the figures of
the report their markers and lines differ.
"""

import zlib
from typing import NamedTuple


class Hue(NamedTuple):
    """A hue as hex colours: of lines and of text, on a light and on a dark page."""

    line: str
    text: str
    dark_line: str
    dark_text: str


HUES = (
    Hue("#0072b2", "#0072b2", "#1f8fd6", "#5bb0ea"),  # blue
    Hue("#d55e00", "#b34d00", "#d55e00", "#f08a3c"),  # vermilion
    Hue("#009e73", "#007a59", "#009e73", "#35c49a"),  # green
    Hue("#cc79a7", "#a1467b", "#cc79a7", "#e39cc3"),  # pink
    Hue("#e69f00", "#8a6000", "#e69f00", "#f0b429"),  # orange
    Hue("#56b4e9", "#23759f", "#56b4e9", "#8ccbf0"),  # light blue
    Hue("#882255", "#882255", "#c2528a", "#e285b3"),  # wine
    Hue("#8f8f1f", "#686800", "#a8a83a", "#c9c95e"),  # olive
    Hue("#5b4fc7", "#4b3fb5", "#7a6ff0", "#a9a2f5"),  # indigo
)
# The methods of this project, those that are compared most often first: number i has hue i, and looks unlike i + 9.
ORDER = (
    "simclr", "colorization", "vicreg", "rotation", "denoising", "mae", "lejepa", "jigsaw", "dino",
    "context-encoder", "nnclr", "relative-location", "byol", "moco", "barlow-twins", "swav", "simsiam",
)  # fmt: skip
# Rows that are no methods: not trained, and trained with labels.
CONTROLS = {
    **dict.fromkeys(("random", "pixels"), "#8b929b"),
    **dict.fromkeys(("supervised", "untouched"), "#15181c"),
    "from scratch": "#59616c",
}


def place(name: str) -> int:
    """The number of a row's look: its remainder by the number of hues is the hue, the rest is marker and line.

    The place of a name that is not of this project comes from its hash: the same in every comparison.
    """
    if name in ORDER:
        return ORDER.index(name)
    return 2 * len(HUES) + zlib.crc32(name.encode()) % (3 * len(HUES))


def line_colour(name: str) -> str:
    """The hex colour of a row's line on a light page."""
    return CONTROLS.get(name, HUES[place(name) % len(HUES)].line)
