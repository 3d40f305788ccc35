"""A folder is counted right before anything is decided: known numbers of modes, sizes, copies and broken files."""

import re
from pathlib import Path

import pytest

from pretextbench.command.survey import look
from tests.command.conftest import Type
from tests.command.photographs import classes, mixed, photograph


def test_a_mixed_folder_is_counted(tmp_path: Path) -> None:
    actual = look(mixed(tmp_path / "images"))
    assert (actual.images, actual.ignored, actual.sampled) == (27, 1, 27)
    assert (actual.classes, actual.unlabelled, dict(actual.splits)) == ({}, 27, {"train": 27})
    assert {name for name, _ in actual.refused} == {"empty.jpg", "torn.png"}
    assert (actual.copies.groups, actual.copies.compared) == ((("00.png", "99.png"),), 27)
    assert [actual.short_side(q) for q in (0, 0.5, 1)] == [40, 60, 60]
    assert {header.mode for header in actual.headers} == {"RGB", "L", "P", "RGBA"}
    assert len(actual.pixels) == 25


def test_classes_are_counted(tmp_path: Path) -> None:
    actual = look(classes(tmp_path / "images"))
    assert (actual.classes, actual.unlabelled, actual.refused, actual.copies.count) == (
        {"cat": 30, "dog": 30},
        0,
        (),
        0,
    )


def test_one_shot_in_two_files_is_a_near_duplicate(tmp_path: Path) -> None:
    """Halves of the sample are compared: images 0 .. 9 with 10 .. 19, of which two show what 3 and 4 show."""
    for i in range(20):
        photograph(tmp_path / f"{i:02}.png", {15: 3, 16: 4}.get(i, i), (80, 80) if i in (15, 16) else (64, 64))
    actual = look(tmp_path)
    assert (actual.near, actual.copies.count) == ((("03.png", "15.png"), ("04.png", "16.png")), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: None, r"--images: .* does not exist"),
        (lambda f: f.write_text("x"), r"--images: .* is a file\. Give the folder"),
        (lambda f: f.mkdir(), r"--images: .* holds no images \(found: nothing\)"),
        (lambda f: (f.mkdir(), (f / "a.jpg").write_text("x")), r"none of 1 files can be read .* a\.jpg: not an image"),
        (lambda f: photograph(f / "only" / "a.png", 1), r"--images: .* has only one class, 'only'"),
        (lambda f: photograph(f / "test" / "a.png", 1), r"images in test/ but none in train/"),
    ],
)
def test_a_folder_that_cannot_be_used(make: object, message: str, tmp_path: Path, project: Path, typed: Type) -> None:
    make(tmp_path / "images")  # type: ignore[operator]
    before = (project / "params.yaml").read_bytes()
    result = typed("init", "--images", tmp_path / "images")
    assert result.code == 2
    assert re.search(message, result.message)
    assert (project / "params.yaml").read_bytes() == before
