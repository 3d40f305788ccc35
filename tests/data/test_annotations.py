"""Annotations of objects as labels: COCO, Pascal VOC and YOLO say the same of the same images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretextbench.data import label_source
from pretextbench.data.image_labels import ImageLabels
from pretextbench.errors import UserError
from pretextbench.params import Prepare

NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
OBJECTS = {"a": ["cell", "cell", "dust"], "b": ["dust"], "c": []}  # d is not annotated
KINDS = ["cell", "dust"]


def voc(place: Path) -> Path:
    place.mkdir()
    for name, kinds in OBJECTS.items():
        parts = "".join(f"<object><name>{kind}</name><part><name>rim</name></part></object>" for kind in kinds)
        (place / f"{name}.xml").write_text(f"<annotation><filename>x</filename>{parts}</annotation>")
    return place


def yolo(place: Path) -> Path:
    place.mkdir()
    (place / "classes.txt").write_text("cell\ndust\n")
    for name, kinds in OBJECTS.items():
        (place / f"{name}.txt").write_text("".join(f"{KINDS.index(kind)} .5 .5 .1 .1\n" for kind in kinds))
    return place


def coco(place: Path) -> Path:
    images = [{"id": 10 + i, "file_name": f"{name}.jpg"} for i, name in enumerate(OBJECTS)]
    entries = [{"image_id": 10 + i, "category_id": 7 + KINDS.index(kind)}
               for i, kinds in enumerate(OBJECTS.values()) for kind in kinds]  # fmt: skip
    kinds = [{"id": 7 + k, "name": kind} for k, kind in enumerate(KINDS)]
    place.with_suffix(".json").write_text(json.dumps({"images": images, "annotations": entries, "categories": kinds}))
    return place.with_suffix(".json")


FORMATS = [voc, yolo, coco]


def read(root: Path, labels: Path, **params: Any) -> ImageLabels:
    given = {"source": "folder", "path": str(root), "labels": str(labels), **params}
    return label_source.read(Prepare.model_validate(given), NAMES)


@pytest.mark.parametrize("write", FORMATS)
def test_the_kinds_of_object_are_labels(tmp_path: Path, write: Any) -> None:
    found = read(tmp_path, write(tmp_path / "annotations"))
    assert (found.task, found.names) == ("multi-label", KINDS)
    assert found.values.tolist() == [[1, 1], [0, 1], [0, 0], [-1, -1]]
    assert "says which kinds of object an image has" in found.notes[0]
    assert found.unmatched == [("d.jpg", "no label")]


@pytest.mark.parametrize("write", FORMATS)
def test_their_count_is_a_number(tmp_path: Path, write: Any) -> None:
    labels = write(tmp_path / "annotations")
    found = read(tmp_path, labels, task="number")
    assert found.names == ["objects"]
    assert found.values[:3].tolist() == [3, 1, 0]
    assert np.isnan(found.values[3])
    of_kind = read(tmp_path, labels, task="number", columns=["cell"])
    assert (of_kind.names, of_kind.values[:3].tolist()) == (["cell"], [2, 0, 0])


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"columns": ["cel"]}, r"no objects of kind 'cel'. Did you mean 'cell'"),
        ({"task": "class"}, r"1 images have objects of several kinds, such as a.jpg"),
        ({"task": "mask"}, r"holds boxes, not masks. Allowed: multi-label, number, class"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, write: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, write(tmp_path / "annotations"), **params)


def test_one_kind_per_image_is_a_class(tmp_path: Path) -> None:
    labels = voc(tmp_path / "annotations")
    (labels / "a.xml").write_text("<annotation><object><name>cell</name></object></annotation>")
    assert read(tmp_path, labels, task="class").values.tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xml", "<annotation><object>", r"a.xml is damaged: "),
        ("a.xml", "<annotation><object></object></annotation>", r"an object has no <name>"),
        ("a.xml", '<!DOCTYPE x [<!ENTITY a "b">]><annotation/>', r"a.xml defines entities"),
        ("a.txt", "cell at the rim\n", r"a.txt is no YOLO annotation: a line is 'cell at the rim'"),
        ("a.txt", "9 .5 .5 .1 .1\n", r"a.txt names the kind 9, and there are 2 names: cell, dust"),
        ("a.json", "{", r"a.json is no JSON"),
        ("a.json", "[1, 2]", r"is no file of COCO: it needs .* found: something else"),
        ("a.json", '{"images": []}', r"is no file of COCO: it needs .* missing: 'categories'"),
        ("a.json", '{"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [], "annotations": '
         '[{"image_id": 1, "category_id": 3}]}', r"1 annotations have a category that is not listed, such as 3"),
    ],
)  # fmt: skip
def test_damaged_annotations(tmp_path: Path, name: str, text: str, message: str) -> None:
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "classes.txt").write_text("cell\ndust\n")
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read(tmp_path, folder / name if name == "a.json" else folder)


def test_yolo_without_names_is_numbered(tmp_path: Path) -> None:
    labels = yolo(tmp_path / "labels")
    (labels / "classes.txt").unlink()
    assert read(tmp_path, labels).names == ["0", "1"]
    (tmp_path / "data.yaml").write_text("names:\n  0: cell\n  1: dust\n")
    assert read(tmp_path, labels).names == KINDS


def test_annotations_beside_the_photographs_are_no_masks(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(b"x")
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.txt").write_text("0 .5 .5 .1 .1\n1 .5 .5 .1 .1\n")
    assert read(tmp_path, tmp_path).values.tolist() == [[1, 1]] * 4


def test_a_folder_without_labels(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no labels that are known. Allowed: a folder of masks"):
        read(tmp_path, tmp_path / "empty")
