"""Labels from tables: which task they set, what becomes of every image, and what is refused in a sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pretextbench.data import label_source
from pretextbench.data.image_labels import ImageLabels
from pretextbench.errors import UserError
from pretextbench.params import Prepare

NAMES = [f"deep/{i}.png" for i in range(12)]


def read(place: Path, text: str | bytes, names: Sequence[str] = NAMES, **params: Any) -> ImageLabels:
    """The labels of these images, by a table with this text."""
    table = place / "labels.csv"
    table.write_bytes(text.encode() if isinstance(text, str) else text)
    given = {"source": "folder", "path": str(place), "labels": str(table), **params}
    return label_source.read(Prepare.model_validate(given), names)


def rows(head: str, cells: Sequence[str], names: Sequence[str] = NAMES) -> str:
    """A table of the images with these cells, again from the first where there are fewer."""
    return f"{head}\n" + "".join(f"{name},{cells[i % len(cells)]}\n" for i, name in enumerate(names))


def test_columns_of_0_and_1_are_several_labels(tmp_path: Path) -> None:
    found = read(tmp_path, rows("file,wet,dark,age", ["1,0,31", "0,1,32", "1,,33"]))
    assert (found.task, found.names) == ("multi-label", ["wet", "dark"])
    assert found.values[:3].tolist() == [[1, 0], [0, 1], [1, -1]]
    assert found.notes[0] == "The task is multi-label: 2 columns hold 0 and 1: wet, dark."
    assert "not used: age" in found.notes[1]
    assert found.notes[2] == "4 cells are empty or -1: these labels are unknown."


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["a|b", "b", "c|a"], "bars"),
        (['"a, b"', "b", '"c,a"'], "commas"),
        (["\"['a', 'b']\"", "b", "\"['c','a']\""], "commas"),
    ],
)
def test_several_names_in_a_cell(tmp_path: Path, cells: list[str], words: str) -> None:
    found = read(tmp_path, rows("file,label", cells))
    assert found.names == ["a", "b", "c"]
    assert found.values[:3].tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert f"with {words} between" in found.notes[0]


def test_a_row_per_label(tmp_path: Path) -> None:
    text = "file,label\n" + "".join(f"{name},{label}\n" for name in NAMES[:11] for label in "ab")
    found = read(tmp_path, text + f"{NAMES[0]},c\n{NAMES[11]},\n")
    assert found.values[0].tolist() == [1, 1, 1]
    assert found.values[1].tolist() == [1, 1, 0]
    assert found.values[11].tolist() == [-1, -1, -1], "an empty cell says nothing"
    assert found.known().tolist() == [True] * 11 + [False]


def test_a_few_images_with_two_labels_are_mistakes_in_a_table_of_classes(tmp_path: Path) -> None:
    text = rows("file,label", ["a", "b"], names := [f"{i}.png" for i in range(60)])
    with pytest.raises(UserError, match=r"2 image\(s\) in several rows with different labels"):
        read(tmp_path, text + "0.png,b\n1.png,a\n", names)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_numbers(tmp_path: Path, delimiter: str) -> None:
    comma = delimiter != ","
    text = rows("file,age", [f"{i + 0.5}".replace(".", "," if comma else ".") for i in range(11)] + ["NaN"])
    lines = [line.split(",", 1) for line in text.splitlines()]
    found = read(tmp_path, b"\xef\xbb\xbf" + "\n".join(delimiter.join(line) for line in lines).encode())
    assert (found.task, found.names) == ("number", ["age"])
    assert found.values[:11].tolist() == [i + 0.5 for i in range(11)]
    assert np.isnan(found.values[11])
    assert "1 rows have no number: unknown." in found.notes


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        (rows("file,age", ["1.5", "2", "old"]), {"task": "number"}, r"column age holds 4 cells that are no numbers"),
        (rows("file,age", ["1.5", "2", "old"]), {"task": "number"}, r"old \(the first in row 4\)"),
        (rows("file,age", ["1.5", "inf"]), {"task": "number"}, r"6 cells that are no numbers: inf"),
        (rows("file,age", ["7"]), {"task": "number"}, r"nothing to predict: all 12 numbers are 7"),
        (rows("file,age", ["", "nan"]), {"task": "number"}, r"nothing to predict: no image has a number"),
        (rows("file,age", ["1"]) + "deep/0.png,2\n", {"task": "number"}, r"in several rows with different numbers"),
        (rows("file,age,sex", ["1,a"]), {"columns": ["agee"]}, r"no column 'agee'. Did you mean 'age'"),
        (rows("file,age,sex", ["1,a"]), {"columns": ["age", "sex"]}, r"the column sex holds a, where several columns"),
        (rows("file,a,b", ["1,0"]), {"columns": ["a", "b"], "task": "number"}, r"with `task: number`, which has one"),
        (rows("file,a,b", ["1,0"]), {"task": "mask"}, r"is a table, which holds no masks"),
        (rows("file,label", ["a", "b"]), {"group": "patient"}, r"prepare.group: .* has no column 'patient'"),
        (rows("file,label,g", ["a,1", "b,1"]), {"group": "g"}, r"all images are in one group of the column g"),
        (rows("file,label,g", ["a,1", "b,2"]) + "deep/0.png,a,2\n", {"group": "g"}, r"1 image\(s\) are in two groups"),
        (rows("file,label,split", ["a,train", "b,test"]) + "deep/0.png,a,test\n", {},
         r"1 image\(s\) are in two splits, such as deep/0.png in train and test"),
        (rows("file,tags", ["a|b", "a", ""]), {"task": "multi-label", "columns": ["tags"]}, None),
        (rows("file,tags", [""]), {"task": "multi-label"}, r"the column tags holds 0 different labels"),
        (rows("file,label", ["a", "b"], [f"x{i}.png" for i in range(12)]), {}, r"names 12 file\(s\) that are not im"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_used(tmp_path: Path, text: str, params: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert read(tmp_path, text, **params).names == ["a", "b"]
        return
    with pytest.raises(UserError, match=message):
        read(tmp_path, text, **params)


def test_rows_without_image_and_images_without_row_are_counted_and_listed(tmp_path: Path) -> None:
    found = read(tmp_path, rows("file,age", ["1.5", "2", "3"], [*NAMES[:9], "gone.png", "images/deep/9.png"]))
    assert found.unmatched == [
        ("gone.png", "no image"), ("images/deep/9.png", "no image"), *((name, "no label") for name in NAMES[9:])
    ]  # fmt: skip
    (note,) = [note for note in found.notes if "are no images" in note]
    assert note.startswith("2 files of the labels are no images of the folder and are not used: gone.png, images/d")
    assert note.endswith("1 of them match if `images/` is dropped from them: write them so.")
    assert "3 of 12 images have no label: they help pretraining alone." in found.notes


def test_absolute_paths_without_suffix(tmp_path: Path) -> None:
    found = read(tmp_path, rows("image,score", ["1.5", "2", "3"], [f"/home/me/deep/{i}" for i in range(12)]))
    assert found.known().all()
    assert "All 12 files of the labels match if `/home/me/` is dropped from them, without their suffix." in found.notes


def test_parquet_with_lists_and_with_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"file": NAMES, "tags": [["a", "b"], ["b"], ["a"]] * 4, "age": [1.5, None, 3.0] * 4})
    frame.to_parquet(tmp_path / "table.parquet")
    content = (tmp_path / "table.parquet").read_bytes()
    several = read(tmp_path, content, columns=["tags"])
    assert several.values[:3].tolist() == [[1, 1], [0, 1], [1, 0]]
    number = read(tmp_path, content, columns=["age"], task="number")
    assert number.values[[0, 2]].tolist() == [1.5, 3.0]
    assert np.isnan(number.values[1])


def test_groups_are_numbered_and_an_image_without_one_is_a_group_of_its_own(tmp_path: Path) -> None:
    found = read(tmp_path, rows("file,label,patient", ["a,p2", "b,p1", "a,"]), group="patient")
    assert found.group_names == ["p1", "p2"]
    groups = found.own_groups()
    assert groups is not None
    assert groups[:6].tolist() == [1, 0, 2, 1, 0, 3]


@pytest.mark.slow
def test_200_000_rows_are_read(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(200_000)]
    frame = pd.DataFrame({"file": names, "age": np.arange(2e5) / 7, "patient": np.arange(200_000) // 20})
    frame.to_csv(tmp_path / "labels.csv", index=False)
    found = read(tmp_path, (tmp_path / "labels.csv").read_bytes(), names, group="patient")
    assert found.values[7] == pytest.approx(1)
    assert found.known().all()
    assert len(found.group_names) == 10_000
