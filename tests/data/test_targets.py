"""Labels of other kinds than one class per image: what a prepared data set gives, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.data.targets import GROUPS, TARGETS, TASK
from pretextbench.errors import UserError
from pretextbench.params import Prepare

IMAGES = 40


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    params = Prepare.model_validate({"image_size": 8, "synthetic": {"train": 20, "val": 10, "test": 10}})
    prepare(params, tmp_path / "images", tmp_path / "labels")
    return tmp_path / "images", tmp_path / "labels"


def give(labels: Path, task: str, names: list[str], values: npt.NDArray[np.generic]) -> None:
    (labels / TASK).write_text(json.dumps({"task": task, "names": names}))
    np.save(labels / TARGETS, values)


def test_classes_are_the_task_where_no_other_is_named(folders: tuple[Path, Path]) -> None:
    data = Prepared(*folders)
    assert data.task == "class"
    assert data.targets("val").names == data.classes
    assert np.array_equal(data.targets("val").values, data.labels("val"))
    assert data.groups("val") is None


def test_targets_of_a_split_are_its_rows(folders: tuple[Path, Path]) -> None:
    several = np.arange(IMAGES * 2).reshape(IMAGES, 2) % 2
    several[20] = -1
    give(folders[1], "multi-label", ["cat", "dog"], several.astype(np.int8))
    np.save(folders[1] / GROUPS, np.arange(IMAGES) // 3)
    data = Prepared(*folders)
    assert (data.task, data.targets("val").names) == ("multi-label", ["cat", "dog"])
    assert np.array_equal(data.targets("val").values, several[20:30])
    assert data.targets("val").known().tolist() == [False] + [True] * 9
    groups = data.groups("test")
    assert groups is not None
    assert groups.tolist() == (np.arange(30, 40) // 3).tolist()


def test_what_is_unknown_of_numbers_and_masks(folders: tuple[Path, Path]) -> None:
    give(folders[1], "number", ["age"], np.array([np.nan] + [1.5] * (IMAGES - 1)))
    assert Prepared(*folders).targets("train").known().tolist() == [False] + [True] * 19
    masks = np.full((IMAGES, 8, 8), 255, np.uint8)
    masks[3, 0, 0] = 1
    give(folders[1], "mask", ["background", "cell"], masks)
    assert np.flatnonzero(Prepared(*folders).targets("train").known()).tolist() == [3]


@pytest.mark.parametrize(
    ("card", "values", "message"),
    [
        ("{", np.zeros(IMAGES), "does not name a task"),
        ('{"task": "poem", "names": []}', np.zeros(IMAGES), r"\(class, multi-label, number, mask\)"),
        ('{"task": "number", "names": ["age"]}', np.zeros(IMAGES - 1), "does not fit 40 images"),
        ('{"task": "multi-label", "names": ["a"]}', np.zeros((IMAGES, 2), np.int8), "does not fit 40 images"),
        ('{"task": "mask", "names": ["a"]}', np.zeros(IMAGES, np.uint8), "does not fit 40 images"),
    ],
)
def test_damaged_targets_are_refused_with_the_file(
    folders: tuple[Path, Path], card: str, values: npt.NDArray[np.generic], message: str
) -> None:
    (folders[1] / TASK).write_text(card)
    np.save(folders[1] / TARGETS, values)
    with pytest.raises(UserError, match=message):
        Prepared(*folders).targets("train")


def test_groups_that_do_not_fit_are_refused(folders: tuple[Path, Path]) -> None:
    np.save(folders[1] / GROUPS, np.zeros(3, int))
    with pytest.raises(UserError, match="does not fit 40 images"):
        Prepared(*folders).groups("train")
