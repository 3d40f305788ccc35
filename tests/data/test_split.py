"""Splits: disjoint, complete, stratified, seeded; what is kept of the source's own; what is refused."""

from typing import Any

import numpy as np
import pytest

from pretextbench.data.splits import assign
from pretextbench.errors import UserError
from pretextbench.params import Prepare


def split(labels: list[int], splits: list[str] | None = None, **params: Any) -> dict[str, np.ndarray]:
    return assign(splits or ["train"] * len(labels), np.array(labels, np.int64), Prepare.model_validate(params))


@pytest.mark.parametrize("draw", range(20))
def test_every_image_goes_to_one_split_class_by_class(draw: int) -> None:
    rng = np.random.default_rng(draw)
    labels = rng.integers(-1, 6, rng.integers(40, 400))
    share = float(rng.uniform(0.1, 0.4))
    rows = split(labels.tolist(), test_fraction=share, seed=draw)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(len(labels)))
    for k in range(6):
        of_class = labels == k
        assert abs(of_class[rows["test"]].sum() - share * of_class.sum()) <= 1, "stratified to less than one image"
    assert not (labels[rows["test"]] == -1).any(), "a partly labelled set keeps its unlabelled images in train"


def test_the_total_is_exact() -> None:
    assert {k: len(v) for k, v in split([0] * 33 + [1] * 33 + [2] * 34).items()} == {"train": 72, "val": 8, "test": 20}


def test_the_seed_decides() -> None:
    a, b, c = (split([0, 1] * 50, seed=seed) for seed in (1, 1, 2))
    assert all((a[s] == b[s]).all() for s in a)
    assert (a["test"] != c["test"]).any()


def test_rows_are_shuffled() -> None:
    labels = np.repeat([0, 1], 100)
    train = labels[split(labels.tolist())["train"]]
    assert 0.3 < train[:70].mean() < 0.7, "the first images of an array show every class"


def test_the_splits_of_the_source_are_kept() -> None:
    source = ["train"] * 50 + ["val"] * 20 + ["test"] * 30
    rows = split([0, 1] * 50, source)
    assert all(sorted(rows[s]) == [i for i, name in enumerate(source) if name == s] for s in rows)


def test_only_a_missing_split_is_made() -> None:
    rows = split([0, 1] * 50, ["train"] * 60 + ["test"] * 40, val_fraction=0.2)
    assert {k: len(v) for k, v in rows.items()} == {"train": 48, "val": 12, "test": 40}
    assert max(rows["val"]) < 60


def test_the_only_image_of_a_class_stays_in_train() -> None:
    rows = split([0] * 20 + [1] * 20 + [2], val_fraction=0.9, test_fraction=0.5)
    assert 40 in rows["train"]


def test_without_labels_anything_may_be_held_out() -> None:
    assert {k: len(v) for k, v in split([-1] * 100).items()} == {"train": 72, "val": 8, "test": 20}


def test_max_images_keeps_the_proportions() -> None:
    labels = [0] * 600 + [1] * 300 + [0] * 60 + [1] * 40
    rows = split(labels, ["train"] * 900 + ["test"] * 100, max_images=100)
    kept = np.concatenate(list(rows.values()))
    counts = [(kept < 600).sum(), ((kept >= 600) & (kept < 900)).sum(), (kept >= 900).sum()]
    assert counts == [60, 30, 10]


def test_max_images_above_the_number_changes_nothing() -> None:
    assert sum(map(len, split([0, 1] * 50, max_images=1000).values())) == 100


def test_too_few_images() -> None:
    with pytest.raises(UserError, match=r"There are 9 images to use; at least 10 are needed"):
        split([0, 1, 0] * 3)
    with pytest.raises(UserError, match=r"There are 9 images .* raise prepare.max_images"):
        split([0, 1] * 50, max_images=9)


def test_an_empty_split() -> None:
    with pytest.raises(
        UserError, match=r"No image is left for val \(train 99, val 0, test 1\).*val_fraction \(found 0.001\)"
    ):
        split([0, 1] * 50, val_fraction=0.001, test_fraction=0.01)


def test_a_source_whose_test_split_is_all_there_is_in_one_class() -> None:
    rows = split([0, 1] * 20 + [0] * 10, ["train"] * 40 + ["test"] * 10)
    assert len(rows["test"]) == 10
