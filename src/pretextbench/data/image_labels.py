"""Labels of the images of a listing, whatever the task: class, several labels, number or mask; and their groups."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pretextbench.data.class_folders import some
from pretextbench.data.targets import TARGETS, TASK, TaskName

Rows = npt.NDArray[np.int64]
Fit = Literal["crop", "squash", "pad"]
UNMATCHED = "unmatched.csv"
BINS = 10  # of the numbers, of which every split has its share
UNKNOWN = -1
SHOWN = 5
FEW = 2  # images with a label that are too few to be in train and in test


@dataclass(frozen=True)
class ImageLabels:
    """Labels of n images, in their order."""

    task: TaskName
    names: list[str]  # of the classes, of the labels, of the one number, of the values of the masks
    values: npt.NDArray[
        Any
    ]  # (n,) int64 | (n, labels) int8, 1, 0, -1 | (n,) float64, NaN | (n,) int64, 0 or -1: a mask
    notes: list[str] = field(default_factory=list)  # how the source was understood
    splits: list[str] = field(default_factory=list)  # train, val, test, "" where there is none; empty: all drawn
    groups: Rows | None = None  # (n,), -1: a group of its own
    group_names: list[str] = field(default_factory=list)
    unmatched: list[tuple[str, str]] = field(default_factory=list)  # (file, what is missing)
    write: Callable[[Path, Sequence[int], int, Fit], None] | None = None  # of masks: file, images, side, fit

    def known(self) -> npt.NDArray[np.bool_]:
        """(n,) whether an image has any label."""
        if self.task == "number":
            return np.asarray(~np.isnan(self.values))
        known: npt.NDArray[np.bool_] = self.values != UNKNOWN
        return np.asarray(known.any(axis=1)) if self.task == "multi-label" else known

    def keys(self) -> Rows:
        """(n,) equal numbers for equal labels; -1 where there is none."""
        if self.task in ("class", "mask"):
            return self.values.astype(np.int64)
        _, keys = np.unique(self.values, axis=0, return_inverse=True)
        return np.where(self.known(), keys.reshape(-1), UNKNOWN)

    def strata(self) -> Rows:
        """(n,) the kind of an image, of which every split gets its share; -1 where it has no label.

        Of several labels the rarest that an image has; of numbers the tenth of their order.
        """
        known = self.known()
        if self.task == "multi-label":
            positives = (self.values == 1).sum(0)
            rarity = np.where(self.values == 1, positives, np.iinfo(np.int64).max)
            rarest = np.where((self.values == 1).any(1), rarity.argmin(1), len(self.names))
            return np.where(known, rarest, UNKNOWN)
        if self.task == "number":
            edges = np.quantile(self.values[known], np.linspace(0, 1, BINS + 1)[1:-1]) if known.any() else []
            return np.where(known, np.searchsorted(edges, self.values), UNKNOWN)
        return self.keys()

    def text(self, image: int) -> str:
        """The label of an image, for people."""
        value = self.values[image]
        if self.task == "class":
            return self.names[int(value)]
        if self.task == "multi-label":
            return "|".join(name for name, there in zip(self.names, value == 1, strict=True) if there)
        return f"{value:g}"

    def save(self, folder: Path, stored: Sequence[int], side: int, fit: Fit) -> None:
        """Write the labels of the `stored` images next to labels.npy and classes.json, which hold classes.

        task.json and targets.npy where images have no classes, and unmatched.csv where images and labels do not agree.
        """
        rows = np.asarray(stored, np.int64)
        if self.task != "class":
            content = {"task": self.task, "names": self.names}
            (folder / TASK).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            if self.write:
                self.write(folder / TARGETS, stored, side, fit)
            else:
                np.save(folder / TARGETS, self.values[rows])
        if self.unmatched:
            with (folder / UNMATCHED).open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows([("file", "missing"), *self.unmatched])

    def split_notes(self, parts: Mapping[str, Rows]) -> Iterator[str]:
        """Sentences on labels that cannot be learned or measured; `parts` are the images of each split."""
        if self.task in ("class", "multi-label"):
            counts = {split: self._counts(rows) for split, rows in parts.items()}
            rare = [f"{self.names[k]} {n}" for k, n in enumerate(np.sum(list(counts.values()), 0).tolist()) if n < FEW]
            if rare:
                yield f"One image or none has these labels: {some(rare)}. They cannot be learned and measured."
            for split, use in (("train", "learned"), ("val", "chosen for"), ("test", "measured")):
                absent = [self.names[k] for k in np.flatnonzero(counts[split] == 0).tolist()]
                if absent:
                    yield f"No image of {split} has {len(absent):,} of the labels, so not {use}: {some(absent)}."
        elif self.task == "number":
            for split, rows in parts.items():
                values = self.values[rows][self.known()[rows]]
                if len(values) and values.min() == values.max():
                    yield f"All numbers of {split} are {values[0]:g}: nothing can be measured on it."
        for split, rows in parts.items():
            if not self.known()[rows].any():
                yield f"No image of {split} has a label: nothing can be measured on it."

    def _counts(self, rows: Rows) -> Rows:
        """(names,) images of some rows that have each class or label."""
        values = self.values[rows]
        if self.task == "multi-label":
            return np.asarray((values == 1).sum(0))
        return np.bincount(values[values >= 0], minlength=len(self.names))

    def own_groups(self) -> Rows | None:
        """(n,) the group of each image; an image without one is a group of its own, numbered after the named ones.

        None where no group is given.
        """
        if self.groups is None:
            return None
        groups = self.groups.copy()
        alone = groups < 0
        groups[alone] = len(self.group_names) + np.arange(alone.sum())
        return groups

    def description(self) -> str:
        """The labels in a line, for people."""
        known = int(self.known().sum())
        without = f"; {len(self.values) - known:,} images without" if known < len(self.values) else ""
        if self.task == "number":
            values = self.values[self.known()]
            return (
                f"a number, {self.names[0]}: {values.min():g} to {values.max():g}, {np.median(values):g} in the middle"
                f"{without}"
            )
        if self.task == "mask":
            return f"masks of {len(self.names)} values: {some(self.names, SHOWN)}{without}"
        counts = self._counts(np.arange(len(self.values)))
        order = np.argsort(-counts, kind="stable")
        listed = some((f"{self.names[i]} {counts[i]:,}" for i in order), SHOWN)
        kind = "labels, several per image" if self.task == "multi-label" else "classes"
        return f"{len(self.names)} {kind}: {listed}{without}"
