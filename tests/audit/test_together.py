"""Near duplicates as groups: a copy, a mirrored one and a brighter one are together, and nothing else is."""

import numpy as np
import numpy.typing as npt

from pretextbench.audit.together import near_duplicates
from pretextbench.data.grouped_splits import joined
from tests.leaks import photos

Images = npt.NDArray[np.uint8]


def together(images: Images) -> set[frozenset[int]]:
    """The groups of more than one image."""
    groups = near_duplicates(images)
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in groups if (groups == group).sum() > 1}


def test_copies_of_a_photograph_are_one_group() -> None:
    images = photos(40)
    images[7] = images[3]
    images[11] = images[3][:, ::-1]
    images[20] = np.clip(images[11].astype(int) + 20, 0, 255)
    images[30] = images[29]
    assert together(images) == {frozenset({3, 7, 11, 20}), frozenset({29, 30})}


def test_flat_images_are_together_where_they_are_equal() -> None:
    images = np.full((4, 16, 16, 3), 90, np.uint8)
    images[2:] = 120
    assert together(images) == {frozenset({0, 1}), frozenset({2, 3})}


def test_groups_are_joined_over_images_that_both_have() -> None:
    a, b = np.array([5, 5, 6, 7, 8, 8]), np.array([0, 1, 1, 2, 3, 4])
    assert joined(a, b).tolist() == [5, 5, 5, 7, 8, 8]
    assert joined(None, b).tolist() == b.tolist()
