"""Stage `prepare`: what it says before hours are spent."""

import numpy as np
import pytest

from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from stages.prepare import lacking_labels, no_control_wants_labels


def labelled(train: list[int], val: list[int], classes: list[str]) -> Prepared:
    """Two splits with these labels; nothing else of a data set is there."""
    data = Prepared.__new__(Prepared)
    data.__dict__ |= {"classes": classes, "labels": lambda split: np.array(train if split == "train" else val)}
    return data


@pytest.mark.parametrize(
    ("train", "val", "classes", "lack"),
    [
        ([0, 1, -1], [0], ["cat", "dog"], ""),
        ([-1, -1], [-1], [], "These images have no labels"),
        ([-1, -1], [0, 1], ["cat", "dog"], "No training image has a label, only images of other splits have one"),
        ([1, 1, -1], [0, 1], ["cat", "dog"], "All labelled training images are of one class, dog"),
    ],
)
def test_labels_that_a_control_cannot_learn_from_are_named(
    train: list[int], val: list[int], classes: list[str], lack: str
) -> None:
    assert lacking_labels(labelled(train, val, classes)) == lack


def test_a_control_that_learns_from_labels_is_refused_before_anything_is_pretrained() -> None:
    with pytest.raises(UserError, match=r"^No labels, and .* lists supervised, .* Write `controls: \[random\]`"):
        no_control_wants_labels(["random", "supervised"], "No labels")


def test_the_untrained_encoder_wants_none() -> None:
    no_control_wants_labels(["random"], "No labels")
