"""Images somebody points at: a file, a folder, a prepared data set, and what is none of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data.prepare import prepare
from pretextbench.embedding.extract import gather
from pretextbench.errors import UserError
from pretextbench.params import Prepare


def paint(path: Path, colour: tuple[int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 5), colour).save(path)
    return path


def test_a_folder_is_walked_in_order_whatever_its_layout(tmp_path: Path) -> None:
    """Splits and classes mean nothing here: a val/ without a train/ and a single class are images as well."""
    for i, name in enumerate(("val/only/2.png", "val/only/1.png", "a.png")):
        paint(tmp_path / name, (i, 0, 0))
    (tmp_path / "notes.txt").write_text("text")
    album = gather(tmp_path)
    assert album.names == ["a.png", "val/only/1.png", "val/only/2.png"]
    assert album.ignored == 1
    images = list(album.read([2, 0], 4, "crop"))
    assert [image.shape for image in images] == [(4, 4, 3)] * 2
    assert [image[0, 0, 0] for image in images] == [0, 2]


def test_one_file(tmp_path: Path) -> None:
    album = gather(paint(tmp_path / "here" / "a.png", (7, 8, 9)))
    assert (album.names, album.root) == (["a.png"], tmp_path / "here")
    (image,) = album.read([0], 4, "crop")
    assert image.tolist() == [[[7, 8, 9]] * 4] * 4


@pytest.mark.parametrize(("grey_range", "expected"), [((100, 4195), [0, 0, 128, 255, 255]), (None, [0, 0, 8, 16, 20])])
def test_deep_grey_is_scaled_as_the_encoder_has_seen_it(
    tmp_path: Path, grey_range: tuple[int, int] | None, expected: list[int]
) -> None:
    """Values below and above what the training images held are black and white."""
    for i, value in enumerate((0, 100, 2155, 4195, 5140)):
        Image.new("I;16", (8, 8), value).save(tmp_path / f"{i}.png")
    album = gather(tmp_path, grey_range=grey_range)
    assert [int(image[0, 0, 0]) for image in album.read(range(5), 8, "crop")] == expected


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    params = Prepare.model_validate({"image_size": 8, "synthetic": {"train": 20, "val": 10, "test": 10}})
    prepare(params, tmp_path / "images", tmp_path / "labels")
    return tmp_path / "images"


def test_a_prepared_data_set_is_its_array_with_the_names_of_the_files(prepared: Path) -> None:
    album, array = gather(prepared), np.load(prepared / "images.npy")
    assert album.names == (prepared.parent / "labels" / "files.txt").read_text().splitlines()
    np.testing.assert_array_equal(np.stack(list(album.read([39, 0, 25], 8, "crop"))), array[[39, 0, 25]])
    assert next(album.read([0], 16, "crop")).shape == (16, 16, 3)


def test_a_prepared_data_set_without_names_counts(prepared: Path) -> None:
    (prepared.parent / "labels" / "files.txt").unlink()
    assert gather(prepared).names[:2] + gather(prepared).names[-1:] == ["train/0", "train/1", "test/9"]


def test_names_of_another_run_are_refused(prepared: Path) -> None:
    (prepared.parent / "labels" / "files.txt").write_text("one\n")
    with pytest.raises(UserError, match=r"names 1 images and .* holds 40"):
        gather(prepared)


def test_nothing_and_no_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^IMAGES: .*nowhere does not exist"):
        gather(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UserError, match=r"^IMAGES: .* holds no images \(found: 1 \.txt\)"):
        gather(tmp_path)
