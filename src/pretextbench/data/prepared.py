"""The prepared data set, which the stage `prepare` writes and every later stage reads."""

import json
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from pretextbench.data import targets
from pretextbench.data.targets import Targets, TaskName
from pretextbench.errors import UserError, nearest

IMAGES, CARD, LABELS, CLASSES = "images.npy", "card.json", "labels.npy", "classes.json"
FILES = "files.txt"  # a name per image, in the order of the array; next to the labels, since folders are classes
REFUSED, DUPLICATES = "refused.csv", "duplicates.csv"
CONFLICTS = "conflicts.csv"  # equal images with different labels, if there are any; next to the labels
GROUP_NAMES = "groups.json"  # of the first groups of groups.npy, as far as they have a name
UNLABELLED = -1
REMEDY = "Run the prepare stage again."

CardModel = TypeVar("CardModel", bound=BaseModel)


class Card(BaseModel):
    """Contents of the images folder and notes on how it was made. Nothing in it depends on a single label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    image_size: int  # side, pixels
    splits: dict[str, tuple[int, int]]  # "train" | "val" | "test" -> first row, one past the last row
    mean: tuple[float, float, float]  # of the train pixels, per channel, on the [0, 1] scale
    std: tuple[float, float, float]  # ditto; never 0, so that it can be divided by
    sha256: str  # of images.npy
    refused: int  # files that could not be read; refused.csv names them
    ignored: int = 0  # hidden files and files that are not images, passed over
    duplicates: int  # pairs of equal images in different splits; duplicates.csv names them
    duplicates_within: int = 0  # images that repeat an earlier one of their own split
    left_out: int | None = None  # copies that `drop_duplicates` has left out; None where it is false
    grey_range: tuple[int, int] | None = None  # values of deep grey images that became 0 and 255; None: 0 and 65535
    notes: tuple[str, ...] = ()  # for the user, in words

    def summary(self) -> str:
        """Lines for the user: source, sizes of the splits, refused files, then the notes."""
        sizes = ", ".join(f"{stop - start} {split}" for split, (start, stop) in self.splits.items())
        head = f"{self.source}: {sizes} images of {self.image_size} px; {self.refused} refused"
        return "\n".join([head, *(f"note: {note}" for note in self.notes)])


class Prepared:
    """The prepared data set, opened from its folders.

    Images are a memory map: opening costs milliseconds and memory is used page by page. The labels folder is touched
    by `labels()` and `classes` alone, so code that has no labels folder cannot leak labels into a training.

    Raises:
        UserError: the images folder is missing, or is not one that `prepare` wrote.
    """

    def __init__(self, images: Path, labels: Path | None = None) -> None:
        self._labels = labels
        self.card = parse_card(Card, images / CARD, _read(images / CARD), REMEDY)
        if not self.card.splits:
            raise UserError(f"{images / CARD} names no splits. {REMEDY}")
        self._images: npt.NDArray[np.uint8] = open_array(images / IMAGES, REMEDY)
        side, rows = self.card.image_size, max(stop for _, stop in self.card.splits.values())
        if self._images.dtype != np.uint8 or self._images.shape != (rows, side, side, 3):
            raise UserError(f"{images / IMAGES} and its {CARD} do not belong together. {REMEDY}")

    @property
    def image_size(self) -> int:
        """Side of the square images, pixels."""
        return self.card.image_size

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of the train pixels per channel, on the [0, 1] scale."""
        return self.card.mean

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of the train pixels per channel, on the [0, 1] scale; positive."""
        return self.card.std

    @property
    def colour(self) -> bool:
        """Whether any train image has colour: of grey ones all channels have the same mean and deviation, exactly."""
        return len(set(zip(self.mean, self.std, strict=True))) > 1

    @property
    def grey_range(self) -> tuple[int, int] | None:
        """Values of deep grey images that became black and white; None where none was scaled."""
        return self.card.grey_range

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the images: the name of this data set in every record."""
        return self.card.sha256

    @property
    def splits(self) -> dict[str, tuple[int, int]]:
        """Split -> (first row, one past the last row)."""
        return dict(self.card.splits)

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        """The images of a split: a read-only view (n, H, W, 3) of the memory map, uint8 RGB.

        Raises:
            UserError: there is no such split.
        """
        return self._images[self._rows(split)]

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """The class indices (n,) of a split, into `classes`; -1 is an image without a label.

        Raises:
            UserError: there is no such split, or no labels folder was given or it does not fit the images.
        """
        return self._all_labels[self._rows(split)]

    @cached_property
    def task(self) -> TaskName:
        """The kind of its labels: "class" for one class per image or none.

        Raises:
            UserError: no labels folder was given, or it cannot be read.
        """
        return targets.task_of(self._labels_folder())[0]

    def targets(self, split: str) -> Targets:
        """The labels of a split, of whatever task; see `Targets` for their form.

        Raises:
            UserError: as `labels`.
        """
        return Targets(self._targets.task, self._targets.names, self._targets.values[self._rows(split)])

    def groups(self, split: str) -> npt.NDArray[np.int64] | None:
        """(n,) the number of the group of each image of a split; None where images are not grouped."""
        groups = targets.read_groups(self._labels_folder(), len(self._images), self._open)
        return None if groups is None else groups[self._rows(split)]

    @cached_property
    def _targets(self) -> Targets:
        if self.task == "class":
            return Targets("class", self.classes, self._all_labels)
        return targets.read(self._labels_folder(), len(self._images), self._open)

    def _open(self, path: Path) -> np.memmap:
        return open_array(path, REMEDY)

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes; empty when nothing is labelled.

        Raises:
            UserError: no labels folder was given, or it cannot be read.
        """
        path = self._labels_folder() / CLASSES
        try:
            names = json.loads(_read(path))
        except (ValueError, RecursionError):
            names = None
        if not isinstance(names, list):
            raise UserError(f"{path} is not a list of names. {REMEDY}")
        return [str(name) for name in names]

    @cached_property
    def _all_labels(self) -> npt.NDArray[np.int64]:
        path = self._labels_folder() / LABELS
        labels: npt.NDArray[np.int64] = open_array(path, REMEDY)
        if labels.dtype.kind not in "iu":
            raise UserError(f"{path} holds {labels.dtype}, not numbers of classes. {REMEDY}")
        if labels.shape != self._images.shape[:1]:
            raise UserError(
                f"{path} has {labels.size} labels for {len(self._images)} images: they come from different runs of the "
                "prepare stage. Run it again."
            )
        return np.asarray(labels, dtype=np.int64)

    def _rows(self, split: str) -> slice:
        if split not in self.card.splits:
            known = list(self.card.splits)
            raise UserError(f"There is no split {split!r}.{nearest(split, known)} Allowed: {', '.join(known)}.")
        return slice(*self.card.splits[split])

    def _labels_folder(self) -> Path:
        if self._labels is None:
            raise UserError(
                "Labels were asked for, but this data set was opened without its labels folder. "
                "Open it as Prepared(images, labels)."
            )
        return self._labels


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Run the prepare stage; it writes it.") from error


def spread(rows: int, count: int) -> list[int]:
    """At most `count` of the row numbers 0 .. rows - 1, evenly spaced."""
    numbers: list[int] = np.linspace(0, rows - 1, min(count, rows)).astype(int).tolist()
    return numbers


def labelled(data: Prepared, split: str, limit: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """At most `limit` labelled images of a split, evenly spaced, in memory: (n, H, W, 3), and their labels (n,)."""
    labels = data.labels(split)
    rows = labelled_rows(labels, limit)
    return np.array(data.images(split)[rows]), labels[rows]


def labelled_rows(labels: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int64]:
    """The rows of labelled images, at most `limit`, evenly spaced."""
    rows = np.flatnonzero(labels != UNLABELLED)
    return rows[spread(len(rows), limit)] if len(rows) else rows


def parse_card(model: type[CardModel], path: Path, content: bytes, remedy: str) -> CardModel:
    """The content of a card file as its model; `remedy` ends the error message.

    Raises:
        UserError: the content is not JSON or does not fit the model.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        mistakes = error.error_count()
        raise UserError(f"{path} is not a card that this version wrote ({mistakes} mistakes in it). {remedy}") from None


def open_array(path: Path, remedy: str) -> np.memmap:
    """A .npy file as a read-only memory map; `remedy` ends the error message.

    Raises:
        UserError: the file is missing or is not a .npy array of numbers.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. {remedy}") from error
    except (ValueError, TokenError) as error:  # the header is Python, parsed and never run; objects are refused
        raise UserError(f"{path} is damaged ({error}). {remedy}") from None
