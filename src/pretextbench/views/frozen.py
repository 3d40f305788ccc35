"""The frozen evaluation views: corrupted test images and pairs of augmented validation images.

Made once by `make.make_views`, the same for every method. Reading them needs neither torch nor Kornia.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from pretextbench.data.prepared import Prepared, open_array, parse_card
from pretextbench.errors import UserError

CORRUPTED, PAIRS, CARD, SHEET = "corrupted.npy", "pairs.npy", "card.json", "sheet.png"
REMEDY = "Run the views stage; it makes them (`dvc repro views`)."

Pixels = npt.NDArray[np.uint8]


class Card(BaseModel):
    """Contents of the views, and the images they were made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_sha256: str  # Prepared.fingerprint of the images they were made of
    image_size: int  # side, pixels
    seed: int  # of the noise and of the pairs
    rows: tuple[int, ...]  # of the test split: the images that were corrupted
    names: tuple[str, ...]  # of the corruptions, in the order of the array
    severities: tuple[int, ...]  # ditto
    strengths: dict[str, tuple[float, ...]]  # name -> one per severity, in the units of `corrupt.CORRUPTIONS`
    pair_rows: tuple[int, ...]  # of the validation split: the images that were augmented twice
    pair_recipe: dict[str, Any]  # the recipe of their augmentation
    versions: dict[str, str]  # of the packages that give the numbers above their meaning

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The arrays that belong to this card."""
        image = (self.image_size, self.image_size, 3)
        return {
            CORRUPTED: (len(self.names), len(self.severities), len(self.rows), *image),
            PAIRS: (2, len(self.pair_rows), *image),
        }


class Views:
    """The views in a folder, opened together with the data set that they were made of.

    Both arrays are memory maps: opening costs milliseconds and memory is used page by page.

    Raises:
        UserError: the views are missing, damaged, or were made of another data set.
    """

    def __init__(self, folder: Path, data: Prepared) -> None:
        self.card = _card(folder / CARD)
        if self.card.data_sha256 != data.fingerprint:
            raise UserError(
                f"The evaluation views in {folder} were made of another data set (SHA-256 "
                f"{self.card.data_sha256[:12]}, this one is {data.fingerprint[:12]}). {REMEDY}"
            )
        self.corrupted: Pixels = _array(folder, CORRUPTED, self.card)  # (corruptions, severities, n, H, W, 3)
        self.pairs: Pixels = _array(folder, PAIRS, self.card)  # (2, m, H, W, 3)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The rows (n,) of the test split that were corrupted: `data.labels("test")[views.rows]` are their labels."""
        return np.array(self.card.rows, dtype=np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions, in the order of the first axis of `corrupted`."""
        return self.card.names

    @property
    def severities(self) -> tuple[int, ...]:
        """The severities, in the order of its second axis."""
        return self.card.severities


def _card(path: Path) -> Card:
    try:
        content = path.read_bytes()
    except OSError as error:
        cause = f"{path.name}: {error.strerror}"
        raise UserError(f"There are no evaluation views at {path.parent} ({cause}). {REMEDY}") from error
    return parse_card(Card, path, content, REMEDY)


def _array(folder: Path, name: str, card: Card) -> Pixels:
    array: Pixels = open_array(folder / name, REMEDY)
    if array.dtype != np.uint8 or array.shape != card.shapes()[name]:
        raise UserError(f"{folder / name} and its {CARD} do not belong together. {REMEDY}")
    return array
