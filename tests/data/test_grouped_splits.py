"""Groups stay in one split: no group is divided, every class has about its share, and leaks are named."""

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]

from pretextbench.data.grouped_splits import hold_out, notes
from pretextbench.data.splits import assign
from pretextbench.errors import UserError
from pretextbench.params import Prepare

Rows = npt.NDArray[np.int64]


def patients(draw: int, count: int = 60) -> tuple[Rows, Rows]:
    """Labels and groups of images: patients of 1 to 20 images, most of each of one class."""
    rng = np.random.default_rng(draw)
    groups = np.repeat(np.arange(count), rng.integers(1, 21, count))
    of_patient = rng.choice(3, count, p=[0.5, 0.3, 0.2])
    labels = np.where(rng.random(len(groups)) < 0.9, of_patient[groups], rng.integers(0, 3, len(groups)))
    shuffled = rng.permutation(len(groups))
    return labels[shuffled].astype(np.int64), groups[shuffled]


def split(labels: Rows, groups: Rows, splits: list[str] | None = None, **params: float) -> dict[str, Rows]:
    return assign(splits or ["train"] * len(labels), labels, Prepare.model_validate(params), groups)


def distance(labels: Rows, taken: Rows, share: float) -> float:
    """Mean difference between the share of each class that is taken and the one that is wanted."""
    return float(np.mean([abs((labels[taken] == k).sum() / (labels == k).sum() - share) for k in range(3)]))


@pytest.mark.parametrize("draw", range(10))
def test_no_group_is_divided_and_every_class_has_about_its_share(draw: int) -> None:
    labels, groups = patients(draw)
    rows = split(labels, groups, seed=draw)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(labels)))
    known = [set(groups[rows[part]]) for part in ("train", "val", "test")]
    assert sum(map(len, known)) == len(set.union(*known))
    assert abs(len(rows["test"]) / len(labels) - 0.2) < 0.03
    assert distance(labels, rows["test"], 0.2) < 0.05


def test_shares_of_classes_are_as_near_as_those_of_scikit_learn() -> None:
    ours, theirs = [], []
    for draw in range(10):
        labels, groups = patients(draw)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=draw).split(labels, labels, groups)
        theirs.append(distance(labels, next(folds)[1], 0.2))
        ours.append(distance(labels, split(labels, groups, seed=draw)["test"], 0.2))
    assert np.mean(ours) < np.mean(theirs) + 0.01


def test_images_of_a_patient_in_all_splits_are_kept_apart_by_groups_and_not_without() -> None:
    labels, groups = patients(0)
    leaked = assign(["train"] * len(labels), labels, Prepare())
    assert set(groups[leaked["test"]]) & set(groups[leaked["train"]])
    kept = split(labels, groups)
    assert not set(groups[kept["test"]]) & set(groups[kept["train"]])


def test_the_only_group_of_a_class_stays_in_train() -> None:
    """Groups 0 and 1 have ten classes each, of 5 images; group 2 has all images of another class, and the best size."""
    labels = np.r_[np.tile(np.arange(10), 10), np.full(25, 10)]
    groups = np.repeat([0, 1, 2], [50, 50, 25])
    for seed in range(10):
        taken = hold_out(np.arange(125), labels, groups, 0.2, np.random.default_rng(seed), 1)
        assert set(groups[taken]) in ({0}, {1})


def test_a_group_larger_than_train_is_kept_whole_and_a_note_says_what_is_left() -> None:
    labels, groups = np.arange(100) % 2, np.array([0] * 90 + [1] * 4 + [2] * 3 + [3] * 3)
    rows = split(labels, groups)
    assert set(rows["train"]) >= set(range(90))
    lines = list(notes(rows, ["test", "val"], groups, ["big", "b", "c", "d"], Prepare()))
    assert lines[0].endswith("the largest has 90 of 100 images.")
    assert any("The test split has" in line and "where 20% are asked for" in line for line in lines)


def test_unlabelled_groups_stay_in_train() -> None:
    labels = np.array([-1] * 50 + [0, 1] * 25, np.int64)
    groups = np.arange(100) // 5
    rows = split(labels, groups)
    assert (labels[rows["test"]] >= 0).all()
    assert abs(len(rows["test"]) - 10) <= 5


def test_too_few_groups() -> None:
    with pytest.raises(UserError, match=r"prepare.group: 2 group\(s\) with labels are left for 3 splits"):
        split(np.arange(40) % 2, np.arange(40) // 20)


def test_groups_in_several_splits_of_the_source_are_named() -> None:
    labels, groups = np.arange(40) % 2, np.arange(40) % 10
    splits = ["train"] * 20 + ["val"] * 10 + ["test"] * 10
    groups[30:35] = 20
    rows = split(labels, groups, splits)
    lines = list(notes(rows, [], groups, [f"patient {i}" for i in range(10)], Prepare()))
    (line,) = [line for line in lines if "in test and in train" in line]
    assert line.startswith("5 groups are in test and in train (patient 5, patient 6,")
    assert "5 of 10 test images are of a group that train knows" in line
