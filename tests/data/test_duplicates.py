"""Equal images: left out where the user asks for it, with the label kept; named where their labels differ."""

from pathlib import Path

import pytest
from PIL import Image

from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from stages.prepare import label_conflicts
from tests.data.test_prepare import photos, rows, run


def copied(source: Path) -> Path:
    """A train split with a copy in its class, one in the other class and one in unlabelled/, and a test split of six
    images, of which four are in train.
    """
    photos(source / "train")
    photos(source / "test", each=2)
    for name, colour in (("cat/new", (0, 50, 100)), ("dog/new", (1, 50, 100))):
        Image.new("RGB", (12, 9), colour).save(source / "test" / f"{name}.png")
    for name in ("train/cat/copy", "train/dog/copy"):
        Image.new("RGB", (12, 9), (0, 0, 100)).save(source / f"{name}.png")
    (source / "train" / "unlabelled.png").write_bytes((source / "train" / "dog" / "9.png").read_bytes())
    return source


def contents(data: Prepared) -> list[tuple[int, int, int]]:
    """Split, colour of the first pixel, number and label of every image."""
    return sorted(
        (split, *image[0, 0, :2].tolist(), label)
        for split in data.splits
        for image, label in zip(data.images(split), data.labels(split).tolist(), strict=True)
    )


@pytest.mark.parametrize("seed", range(4))
def test_copies_are_left_out_and_the_label_stays(tmp_path: Path, seed: int) -> None:
    params = {"source": "folder", "path": str(copied(tmp_path / "in")), "image_size": 8, "seed": seed}
    card, data = run(tmp_path / "out", **params, drop_duplicates=True)
    result = contents(data)
    assert len({entry[1:3] for entry in result}) == len(result) == 22
    assert all(label == colour for _, colour, number, label in result if (colour, number) != (0, 0))
    assert [entry[1:3] for entry in result if entry[0] == "test"] == [(0, 50), (1, 50)]
    names = (tmp_path / "out" / "labels" / "files.txt").read_text().splitlines()
    assert "train/unlabelled.png" not in names, "the image with a label stands for both"
    assert (card.left_out, card.duplicates, card.duplicates_within) == (7, 0, 0)
    assert "7 images were left out: they equal an earlier one, pixel for pixel." in card.notes
    assert data.card.mean == pytest.approx((data.images("train") / 255).mean((0, 1, 2)))


def test_without_the_parameter_copies_stay(tmp_path: Path) -> None:
    card, data = run(tmp_path / "out", source="folder", path=str(copied(tmp_path / "in")), image_size=8)
    assert len(contents(data)) == 29
    assert card.left_out is None
    assert "left_out" not in (tmp_path / "out" / "images" / "card.json").read_text()


def test_a_split_of_copies_alone_is_refused(tmp_path: Path) -> None:
    photos(tmp_path / "in" / "train")
    photos(tmp_path / "in" / "test", each=2)
    with pytest.raises(UserError, match=r"Every image of the test split repeats an earlier one, and .*drop_duplicates"):
        run(tmp_path / "out", source="folder", path=str(tmp_path / "in"), image_size=8, drop_duplicates=True)


@pytest.mark.parametrize("drop", [True, False])
def test_equal_images_with_different_labels_are_named_beside_the_labels(tmp_path: Path, drop: bool) -> None:
    params = {"source": "folder", "path": str(copied(tmp_path / "in")), "image_size": 8, "drop_duplicates": drop}
    run(tmp_path / "out", **params)
    table = rows(tmp_path / "out" / "labels" / "conflicts.csv")
    assert table[0] == ["file", "label", "other_file", "other_label"]
    assert {label for _, *labels in table[1:] for label in (labels[0], labels[2])} == {"cat", "dog"}
    assert "train/dog/copy.png" in {name for row in table[1:] for name in row}
    (line,) = label_conflicts(tmp_path / "out" / "labels")
    assert "pairs of equal images have different labels" in line
    assert "train/dog/copy.png" in line
    assert not (tmp_path / "out" / "images" / "conflicts.csv").exists()


def test_without_conflicts_nothing_is_said(tmp_path: Path) -> None:
    run(tmp_path / "out", source="folder", path=str(photos(tmp_path / "in")), image_size=8)
    assert list(label_conflicts(tmp_path / "out" / "labels")) == []
