"""The most similar images for an encoder: cosine of their features, as a table and as a contact sheet."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pretextbench.base.names import printable
from pretextbench.base.picture import CELL, Picture
from pretextbench.data.source import Image
from pretextbench.embedding.extract import Album, gather
from pretextbench.errors import UserError

CHUNK = 2**16  # rows of the bank at once: the copy that is normalised stays small
LETTER = 7  # pixels of a letter of a caption, about


@dataclass(frozen=True)
class Bank:
    """Images and their features."""

    names: Sequence[str]
    values: npt.NDArray[np.float32]  # (n, D), in the order of the names
    album: Album  # holds an image of every name
    embed: Callable[[Path], Tensor] | None = None  # the features (D,) of another image; None where no encoder is given
    source: str = ""  # the encoder and its layer, in words

    def row(self, query: str) -> int | None:
        """The row of a name, or of the path to a file of the album; None if it is none of them."""
        within = Path(query).resolve()
        root = self.album.root.resolve()
        inside = printable(within.relative_to(root).as_posix()) if within.is_relative_to(root) else query
        return next((self.names.index(name) for name in (query, inside) if name in self.names), None)


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of one query, nearest first."""

    query: str
    names: list[str]
    similarity: list[float]  # cosine, in [-1, 1]


def lookup(bank: Bank, query: str, k: int) -> Neighbours:
    """The k images of the bank that are the most similar to a query: a name in it, or a path; itself left out.

    Raises:
        UserError: the query is neither in the bank nor a file that can be embedded, or the bank holds nothing else.
    """
    row = bank.row(query)
    if row is not None:
        return nearest(bank, torch.from_numpy(bank.values[row]), query, k, row)
    if bank.embed is None:
        raise UserError(f"QUERY: {query} is not among these features. Give an encoder in place of the features file.")
    if not Path(query).is_file():
        raise UserError(f"QUERY: {query} is neither a file nor the name of one of IMAGES.")
    return nearest(bank, bank.embed(Path(query)), query, k)


def nearest(bank: Bank, query: Tensor, query_name: str, k: int, itself: int | None = None) -> Neighbours:
    """The k rows that are the most similar to features (D,), without the row `itself`; fewer where there are fewer.

    Equal similarities keep the order of the bank.

    Raises:
        UserError: there is nothing to compare with.
    """
    similarity = cosine(torch.from_numpy(bank.values), query)
    order = similarity.argsort(descending=True, stable=True).tolist()
    rows = [row for row in order[: k + 1] if row != itself][:k]
    if not rows:
        raise UserError(f"There is no image to compare {query_name} with: give a folder that holds others.")
    return Neighbours(query_name, [bank.names[row] for row in rows], [float(similarity[row]) for row in rows])


def cosine(bank: Tensor, query: Tensor) -> Tensor:
    """(n, D) and (D,) to the cosines (n,); a vector of zeros is similar to nothing."""
    unit = F.normalize(query, dim=0)
    return torch.cat([F.normalize(part) @ unit for part in bank.split(CHUNK)])


def sheet(bank: Bank, results: Sequence[Neighbours]) -> Picture:
    """A row per query: its image, then its neighbours', each with its similarity and the end of its name.

    What can no longer be read is left white.
    """
    images = [list(_images(bank, result)) for result in results]
    columns = max(map(len, images))
    cells = torch.stack(
        [torch.stack([_cell(image) for image in [*row, *[""] * (columns - len(row))]]) for row in images]
    )
    captions_of_rows = [(_short(result.query), *map(_caption, result.similarity, result.names)) for result in results]
    captions = tuple((*row, *[""] * (columns - len(row))) for row in captions_of_rows)
    names = ("image", "most alike", *(str(i) for i in range(2, columns)))
    title = f"Images that are the most alike, by cosine of their features{bank.source and f': {bank.source}'}"
    return Picture(title, names, cells, captions)


def _images(bank: Bank, results: Neighbours) -> Iterator[Image | str]:
    row = bank.row(results.query)
    if row is None:
        yield from gather(Path(results.query), "QUERY").read([0], CELL, "pad")
    names = [*([] if row is None else [bank.names[row]]), *results.names]
    numbers = {name: i for i, name in enumerate(bank.album.names)}
    gone = [name for name in names if name not in numbers]
    if gone:
        raise UserError(f"IMAGES: {bank.album.root} holds no {gone[0]}: give the images that the features are of.")
    yield from bank.album.read([numbers[name] for name in names], CELL, "pad")


def _cell(image: Image | str) -> Tensor:
    if isinstance(image, str):
        return torch.ones(3, CELL, CELL)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _caption(similarity: float, name: str) -> str:
    return f"{similarity:.2f} {_short(name, 5)}"


def _short(name: str, taken: int = 0) -> str:
    """The end of a name, where names of files differ, as long as a cell is wide."""
    room = CELL // LETTER - taken
    return name if len(name) <= room else "…" + name[1 - room :]
