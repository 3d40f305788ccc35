"""Labels from a table become class folders of links, in the layout that the data module reads."""

import re
from pathlib import Path

import pytest

from pretextbench.command.survey import look
from pretextbench.params import load
from tests.command.conftest import Type
from tests.command.photographs import photograph


def flat(tmp_path: Path, table: str) -> tuple[Path, Path]:
    for i in range(12):
        photograph(tmp_path / "images" / ("deep" if i % 2 else "") / f"{i}.png", i)
    (tmp_path / "labels.csv").write_text(table)
    return tmp_path / "images", tmp_path / "labels.csv"


def test_labels_from_a_table_become_class_folders_of_links(tmp_path: Path, project: Path, typed: Type) -> None:
    rows = "".join(f"{'deep/' if i % 2 else ''}{i}.png,{'cat' if i < 6 else 'sea lion'}\n" for i in range(11))
    images, table = flat(tmp_path, "file,label\n" + rows)
    result = typed("init", "--images", images, "--labels", table, "--no-measure")
    assert result.code == 0, result.error
    assert "11 images in 2 classes, 1 without a label" in result.out
    params = load(project / "params.yaml")
    assert params.prepare.path == "data/labelled"
    actual = look(project / "data/labelled")
    assert (actual.classes, actual.unlabelled, actual.refused) == ({"cat": 6, "sea lion": 5}, 1, ())
    assert (project / "data/labelled/cat/deep__1.png").resolve() == images / "deep" / "1.png"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("width,height\n1,2\n", r"needs a first line with the columns file and label, found: width, height\."),
        ("file,label\n", r"has a first line and no rows\."),
        ("", r"found: nothing\."),
        ("file,label\nO.png,cat\n", r"names 1 file\(s\) that are not images of the folder: O\.png\. Did you mean '"),
        ("file,label\n0.png,cat\n0.png,dog\n", r"names 1 file\(s\) twice: 0\.png\."),
        ("file,label\n0.png,cat\n", r"has 1 label\(s\) in all: two classes are needed"),
        ("file,label\n0.png,a/b\n2.png,c\n", r"the label 'a/b' cannot be the name of a class folder"),
        ("file,label\n0.png,.a\n2.png,c\n", r"the label '.a' cannot be the name of a class folder"),
    ],
)
def test_a_table_that_cannot_be_used(table: str, message: str, tmp_path: Path, project: Path, typed: Type) -> None:
    images, path = flat(tmp_path, table)
    result = typed("init", "--images", images, "--labels", path, "--no-measure")
    assert result.code == 2
    assert re.search(message, result.message)
    assert not (project / "data").exists()


def test_a_table_that_is_not_there_or_no_text(tmp_path: Path, project: Path, typed: Type) -> None:
    images, path = flat(tmp_path, "")
    assert "cannot read" in typed("init", "--images", images, "--labels", tmp_path / "no.csv").message
    path.write_bytes(b"file,label\n\xff\xfe,a\n")
    assert "in UTF-8" in typed("init", "--images", images, "--labels", path).message


def test_the_splits_of_a_table_reach_params_yaml(tmp_path: Path, project: Path, typed: Type) -> None:
    lines = [
        f"{'deep/' if i % 2 else ''}{i}.png,{'ab'[i // 2 % 2]},{'test' if i < 4 else 'train'}\n" for i in range(12)
    ]
    images, table = flat(tmp_path, "image;class;subset\n" + "".join(lines).replace(",", ";"))
    result = typed("init", "--images", images, "--labels", table, "--no-measure")
    assert result.code == 0, result.error
    assert "with semicolons between columns: file = image, label = class, split = subset." in result.out
    assert "12 images (4 test, 8 train)" in result.out
    prepared = load(project / "params.yaml").prepare
    assert (prepared.path, prepared.layout) == ("data/labelled", "splits")
    assert (project / "data/labelled/test/a/0.png").is_symlink()


def test_a_label_column_needs_a_table(tmp_path: Path, project: Path, typed: Type) -> None:
    result = typed("init", "--images", tmp_path, "--label-column", "dx")
    assert "give the table with --labels FILE.csv" in result.message
