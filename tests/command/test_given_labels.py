"""From `init --labels` to the files that the stage `prepare` writes: tasks, groups, and what the user is told."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretextbench.data.prepared import Prepared
from pretextbench.errors import UserError
from pretextbench.params import load
from pretextbench.project import layout
from stages import prepare
from stages.inventory import _files
from tests.command.conftest import Type
from tests.command.photographs import photograph

COUNT = 40


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for i in range(COUNT):
        photograph(tmp_path / "images" / f"{i}.png", i)
    return tmp_path / "images"


def table(images: Path, head: str, *columns: list[object]) -> Path:
    path = images.with_name("labels.csv")
    lines = [",".join(map(str, cells)) for cells in zip(range(COUNT), *columns, strict=True)]
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def prepared(typed: Type, images: Path, labels: Path, *options: str) -> tuple[Prepared, str]:
    """The data set after `init` and the stage `prepare`, and what both printed."""
    result = typed("init", "--images", images, "--labels", labels, "--no-measure", "--weights", "none", *options)
    assert result.code == 0, result.error
    assert not Path("data/labelled").exists()
    prepare.main()
    return Prepared(layout.IMAGES, layout.LABELS), result.out


def order() -> list[int]:
    """The number of each image, in the order of the array."""
    return [int(name.removesuffix(".png")) for name in (layout.LABELS / "files.txt").read_text().split()]


def test_several_labels(images: Path, project: Path, typed: Type) -> None:
    wet, dark = [i % 2 for i in range(COUNT)], [int(i % 3 == 0) for i in range(COUNT)]
    data, out = prepared(typed, images, table(images, "file,wet,dark", wet, dark))
    assert "The task is multi-label: 2 columns hold 0 and 1: wet, dark." in out
    assert "labels: 2 labels, several per image: wet 20, dark 14" in out
    params = load(project / "params.yaml")
    assert (params.prepare.task, params.compare.controls) == ("multi-label", ("random", "pixels"))
    assert params.evaluate.budgets == ("50%",)
    assert json.loads((layout.LABELS / "task.json").read_text()) == {"task": "multi-label", "names": ["wet", "dark"]}
    values = np.concatenate([data.targets(split).values for split in ("train", "val", "test")])
    assert values.dtype == np.int8
    assert values.tolist() == [[wet[i], dark[i]] for i in order()]
    assert data.classes == []
    assert (np.load(layout.LABELS / "labels.npy") == -1).all()
    assert not (layout.LABELS / "groups.npy").exists()


def test_a_number_with_groups(images: Path, project: Path, typed: Type, capfd: pytest.CaptureFixture[str]) -> None:
    ages, films = [i * 1.5 for i in range(COUNT - 1)] + ["n/a"], [f"film {i // 4}" for i in range(COUNT)]
    data, out = prepared(typed, images, table(images, "id,age,film", ages, films), "--group-column", "film")
    assert "The task is number: 39 different numbers for 39 images." in out
    assert "group: film" in (project / "params.yaml").read_text()
    values = np.concatenate([data.targets(split).values for split in ("train", "val", "test")])
    assert [-1.0 if np.isnan(value) else value for value in values] == [-1.0 if i == 39 else i * 1.5 for i in order()]
    splits = [set(data.groups(split).tolist()) for split in ("train", "val", "test")]  # type: ignore[union-attr]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 10
    names = json.loads((layout.LABELS / "groups.json").read_text())
    assert [names[group] for group in np.load(layout.LABELS / "groups.npy")] == [films[i] for i in order()]
    assert re.search(r"note: Groups stay together: \d in train, \d in val, \d in test", capfd.readouterr().out)


def test_classes_with_groups_stay_classes(images: Path, project: Path, typed: Type) -> None:
    labels, people = ["ab"[i % 2] for i in range(COUNT)], [f"p{i // 5}" for i in range(COUNT)]
    data, out = prepared(typed, images, table(images, "file,label,person", labels, people), "--group-column", "person")
    assert "labels: 2 classes: a 20, b 20" in out
    assert (data.task, data.classes) == ("class", ["a", "b"])
    assert not (layout.LABELS / "task.json").exists()
    assert [data.classes[k] for k in np.load(layout.LABELS / "labels.npy")] == [labels[i] for i in order()]
    assert "supervised" in load(project / "params.yaml").compare.controls


def test_masks_below_the_images_are_no_images(images: Path, project: Path, typed: Type) -> None:
    for i in range(COUNT):
        half = np.zeros((40, 40), np.uint8)
        half[:, : 10 + i % 20] = 1
        (images / "masks").mkdir(exist_ok=True)
        Image.fromarray(half).save(images / "masks" / f"{i}.png")
    data, out = prepared(typed, images, images / "masks")
    assert "The task is mask" in out
    assert (data.task, data.targets("train").names) == ("mask", ["0", "1"])
    assert sum(len(data.images(split)) for split in data.splits) == COUNT
    assert data.targets("test").values.shape == (len(data.images("test")), data.image_size, data.image_size)


def test_an_edit_of_the_labels_is_noticed(images: Path, project: Path, typed: Type) -> None:
    labels = table(images, "file,wet,dark", [i % 2 for i in range(COUNT)], [i % 3 // 2 for i in range(COUNT)])
    prepared(typed, images, labels)
    source = load(project / "params.yaml").prepare
    before = _files(source, "prepare")
    assert _files(source, "prepare") == before
    labels.write_text(labels.read_text().replace("\n0,0,0", "\n0,1,0"))
    assert _files(source, "prepare") != before


def test_equal_images_with_other_labels_are_named(images: Path, project: Path, typed: Type) -> None:
    (images / "1.png").write_bytes((images / "0.png").read_bytes())
    prepared(typed, images, table(images, "file,age", [i * 1.5 for i in range(COUNT)]))
    (_, line) = (layout.LABELS / "conflicts.csv").read_text().splitlines()
    assert set(line.split(",")) == {"0.png", "1.png", "0", "1.5"}


def test_folders_as_groups(tmp_path: Path, project: Path, typed: Type) -> None:
    for i in range(COUNT):
        photograph(tmp_path / "images" / "ab"[i % 2] / f"p{i // 4}" / f"{i}.png", i)
    result = typed(
        "init", "--images", tmp_path / "images", "--no-measure", "--weights", "none", "--group-column", "folder"
    )
    assert result.code == 0, result.error
    prepare.main()
    data = Prepared(layout.IMAGES, layout.LABELS)
    assert data.classes == ["a", "b"]
    splits = [set(data.groups(split).tolist()) for split in ("train", "val", "test")]  # type: ignore[union-attr]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 20
    assert "a/p0" in json.loads((layout.LABELS / "groups.json").read_text())


def test_folders_that_are_the_classes_are_no_groups(images: Path, project: Path) -> None:
    for name in ("a", "b"):
        photograph(images / name / "x.png", 1)
    for path in images.glob("*.png"):
        path.rename(images / "ab"[int(path.stem) % 2] / path.name)
    layout.PARAMS.write_text(f"prepare: {{source: folder, path: {images}, group: folder}}")
    with pytest.raises(UserError, match=r"prepare.group is folder, and each class has a single folder: a, b"):
        prepare.main()
    layout.PARAMS.write_text(f"prepare: {{source: folder, path: {images}, group: patient}}")
    with pytest.raises(UserError, match=r"`group` is 'patient', a column, .* names no table. Allowed: folder"):
        prepare.main()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--group-column", "film"], r"--group-column chooses a column of a table: give the table with --labels"),
        (["--task", "number"], r"--task is about the labels: give the table with --labels"),
    ],
)
def test_options_of_labels_need_labels(
    images: Path, project: Path, typed: Type, options: list[str], message: str
) -> None:
    assert re.search(message, typed("init", "--images", images, *options).message)


def test_messages_name_the_options(images: Path, project: Path, typed: Type) -> None:
    labels = table(images, "file,wet,dark", [i % 2 for i in range(COUNT)], [i % 3 // 2 for i in range(COUNT)])
    result = typed("init", "--images", images, "--labels", labels, "--group-column", "flim")
    assert "--group-column: " in result.message
    assert "has no column 'flim'" in result.message
    result = typed("init", "--images", images, "--labels", labels, "--label-column", "wet", "--label-column", "drak")
    assert "--label-column: " in result.message
    assert "Did you mean 'dark'?" in result.message
