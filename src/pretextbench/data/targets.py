"""The labels of a prepared data set that are not one class per image: several labels, a number or a mask; and groups.

In the labels folder, next to `labels.npy`, which then has no class: `task.json` and `targets.npy`; and `groups.npy`
where images belong together. None of the three is there for plain classes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from pretextbench.errors import UserError

TASK, TARGETS, GROUPS = "task.json", "targets.npy", "groups.npy"
TaskName = Literal["class", "multi-label", "number", "mask"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
UNKNOWN = 255  # in a mask: padding, or a pixel that nobody has labelled
Array = npt.NDArray[Any]
Open = Callable[[Path], Array]


@dataclass(frozen=True)
class Targets:
    """The targets of all images, in the order of the prepared array.

    `values`, by task: "multi-label" (n, K) int8, 1, 0 or -1 (unknown); "number" (n,) float64, NaN is unknown; "mask"
    (n, side, side) uint8, 255 is unknown; "class" (n,) int64, -1 is unknown.
    `names`: of the classes, of the labels, of the number (one), or of the values of a mask from 0 on.
    """

    task: TaskName
    names: list[str]
    values: Array

    def known(self, rows: slice = slice(None)) -> npt.NDArray[np.bool_]:
        """(n,): whether anything is known of an image."""
        values = self.values[rows]
        if self.task == "number":
            return np.isfinite(values)
        if self.task == "mask":
            return np.asarray((values != UNKNOWN).any((1, 2)))
        return np.asarray((values >= 0).any(1) if values.ndim == 2 else values >= 0)


def task_of(folder: Path) -> tuple[TaskName, list[str]]:
    """The task of a labels folder and the names that go with it; ("class", []) where it has classes.

    Raises:
        UserError: task.json is damaged.
    """
    path = folder / TASK
    if not path.is_file():
        return "class", []
    try:
        card = json.loads(path.read_bytes())
        task, names = card["task"], [str(name) for name in card["names"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        task, names = None, []
    if task not in TASKS:
        raise UserError(f"{path} does not name a task ({', '.join(TASKS)}). Run the prepare stage again.")
    return task, names


def read(folder: Path, count: int, opened: Open) -> Targets:
    """The targets of a data set of `count` images whose task is not classes; `opened` reads an array.

    Raises:
        UserError: a file is missing or damaged, or does not fit the images.
    """
    task, names = task_of(folder)
    values = opened(folder / TARGETS)
    dimensions = {"multi-label": 2, "number": 1, "mask": 3}[task]
    if values.ndim != dimensions or len(values) != count or (dimensions == 2 and values.shape[1] != len(names)):
        raise UserError(
            f"{folder / TARGETS} has the shape {values.shape}, which does not fit {count} images with the task {task}. "
            "Run the prepare stage again."
        )
    return Targets(task, names, values)


def read_groups(folder: Path, count: int, opened: Open) -> npt.NDArray[np.int64] | None:
    """(n,) the number of the group of each image; None where images are not grouped.

    Raises:
        UserError: the file is damaged or does not fit the images.
    """
    path = folder / GROUPS
    if not path.is_file():
        return None
    groups = np.asarray(opened(path))
    if groups.shape != (count,) or groups.dtype.kind not in "iu":
        raise UserError(f"{path} does not fit {count} images. Run the prepare stage again.")
    return groups.astype(np.int64)
