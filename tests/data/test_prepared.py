"""The prepared data set: what it gives, what it refuses, and that images can be had without touching a label."""

import builtins
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data.prepare import prepare
from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import Prepare


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    params = Prepare.model_validate({"image_size": 8, "synthetic": {"train": 20, "val": 10, "test": 10}})
    prepare(params, tmp_path / "images", tmp_path / "labels")
    return tmp_path / "images", tmp_path / "labels"


def test_gives_what_was_written(folders: tuple[Path, Path]) -> None:
    data = Prepared(*folders)
    assert {split: len(data.images(split)) for split in data.splits} == {"train": 20, "val": 10, "test": 10}
    assert data.images("val").shape == (10, 8, 8, 3)
    assert data.images("val").dtype == np.uint8
    assert data.labels("train").dtype == np.int64
    assert sorted(data.labels("test")) == list(range(10))  # ten neighbours show ten classes
    assert data.classes[0] == "bird"
    whole = np.load(folders[0] / "images.npy")
    np.testing.assert_array_equal(np.concatenate([data.images(s) for s in ("train", "val", "test")]), whole)
    assert data.fingerprint == data.card.sha256
    assert data.image_size == 8


def test_images_are_a_memory_map_that_cannot_be_written(folders: tuple[Path, Path]) -> None:
    images = Prepared(*folders).images("train")
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_reading_images_never_opens_the_labels(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def spy(real):
        def spied(path, *args, **kwargs):
            opened.append(str(path))
            return real(path, *args, **kwargs)

        return spied

    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        monkeypatch.setattr(module, name, spy(getattr(module, name)))
    data = Prepared(*folders)
    assert data.images("train").sum() > 0
    assert any("images.npy" in path for path in opened)  # the spy sees
    assert not [path for path in opened if str(folders[1]) in path]
    data.labels("train")
    assert [path for path in opened if str(folders[1]) in path]


def test_no_labels_folder_no_labels(folders: tuple[Path, Path]) -> None:
    data = Prepared(folders[0])
    for ask in (lambda: data.labels("train"), lambda: data.classes):
        with pytest.raises(UserError, match="opened without its labels folder"):
            ask()


def test_unknown_split(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"no split 'tests'. Did you mean 'test'\? Allowed: train, val, test"):
        Prepared(*folders).images("tests")


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*card.json: No such file.*Run the prepare stage"):
        Prepared(tmp_path)


def test_foreign_card(folders: tuple[Path, Path]) -> None:
    (folders[0] / "card.json").write_text(json.dumps({"source": "elsewhere"}))
    with pytest.raises(UserError, match="not a card that this version wrote"):
        Prepared(folders[0])


def test_damaged_array(folders: tuple[Path, Path]) -> None:
    array = folders[0] / "images.npy"
    array.write_bytes(array.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"images.npy is damaged .*Run the prepare stage again"):
        Prepared(folders[0])


def test_array_of_another_run(folders: tuple[Path, Path]) -> None:
    np.save(folders[0] / "images.npy", np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="do not belong together"):
        Prepared(folders[0])


def test_labels_of_another_run(folders: tuple[Path, Path]) -> None:
    np.save(folders[1] / "labels.npy", np.zeros(3, np.int64))
    with pytest.raises(UserError, match="3 labels for 40 images"):
        Prepared(*folders).labels("train")


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_have_colour_unless_every_channel_says_the_same(tmp_path: Path, mode: str) -> None:
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(20):
        pixels = draw.integers(0, 256, (9, 9) if mode == "L" else (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    params = Prepare.model_validate({"source": "folder", "path": str(tmp_path / "photos"), "image_size": 8})
    prepare(params, tmp_path / "images", tmp_path / "labels")
    assert Prepared(tmp_path / "images").colour is (mode == "RGB")
