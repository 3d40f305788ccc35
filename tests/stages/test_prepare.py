"""Stage `prepare`: what it says before hours are spent."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.project import layout
from stages.prepare import lacking_labels, main, no_control_wants_labels
from tests.leaks import photos


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


def test_near_duplicates_are_kept_together_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for i, image in enumerate(photos(40)):
        for k in range(3):  # takes of one shot
            take = np.clip(image.astype(int) + rng.integers(0, 25), 0, 255).astype(np.uint8)
            place = tmp_path / "in" / "ab"[i % 2] / f"{i}-{k}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(take).save(place)

    def divided(more: str) -> int:
        """Shots whose takes are in several splits."""
        layout.PARAMS.write_text(f"prepare: {{source: folder, path: in, {more}}}\n")
        main()
        data, names = Prepared(layout.IMAGES), (layout.LABELS / "files.txt").read_text().splitlines()
        shots = [{name.rpartition("-")[0] for name in names[slice(*rows)]} for rows in data.splits.values()]
        return sum(map(len, shots)) - 40

    assert divided("image_size: 32") > 10
    assert not (layout.LABELS / "groups.npy").exists()
    assert divided("image_size: 32, keep_together: duplicates") == 0
    assert len(np.unique(np.load(layout.LABELS / "groups.npy"))) == 40
