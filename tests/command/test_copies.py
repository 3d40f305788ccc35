"""Copies among the files of a folder are named, and what is read for it is bounded."""

import os
from pathlib import Path

import numpy as np
import pytest

from pretextbench.command import copies as module
from pretextbench.command.copies import Copies, copies
from pretextbench.data import image_file
from pretextbench.params import load
from tests.command.conftest import Type
from tests.command.photographs import classes
from tests.data.hostile import encoded

HEAD = encoded(np.zeros((8, 8, 3), np.uint8), "png")
LONG = module.HEAD + 10


def files(folder: Path, contents: dict[str, bytes]) -> list[str]:
    """Make images that end in some bytes, and an empty file where there are none; returns their names."""
    for name, content in contents.items():
        (folder / name).write_bytes(HEAD + content if content else b"")
    return list(contents)


def test_files_that_are_no_images_are_no_copies(tmp_path: Path) -> None:
    """Downloads that failed, with the same message in each."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("<html>429 Too Many Requests</html>")
    assert copies(tmp_path, ["a.jpg", "b.jpg"], [0, 1]) == Copies(2)


def test_equal_files_are_grouped_by_all_their_bytes(tmp_path: Path) -> None:
    contents = {"a": b"x", "b": b"y", "c": b"x", "d": b"x", "empty": b"", "empty too": b""}
    contents |= {"long": b"l" * LONG, "long too": b"l" * LONG, "other end": b"l" * (LONG - 1) + b"m"}
    actual = copies(tmp_path, files(tmp_path, contents), [0] * 9)
    assert actual == Copies(9, (("a", "c", "d"), ("long", "long too")))
    assert actual.count == 3


def test_equal_files_with_different_labels_are_named(tmp_path: Path) -> None:
    names = files(tmp_path, {name: b"x" for name in "abcd"})
    assert copies(tmp_path, names, [-1, 0, 0, 1]).conflicts == (("b", "d"),)


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them have no size, and none of them an end or a writer."""
    names = ["pipe", "empty", "zero", "null", "gone", "loop"]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for name, target in {"zero": "/dev/zero", "null": "/dev/null", "gone": "nowhere", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)
    monkeypatch.setattr(image_file.os, "open", lambda *_: pytest.fail("was opened"))
    assert copies(tmp_path, names, [0] * 6) == Copies(6)


def test_files_that_are_too_much_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = module._digest
    monkeypatch.setattr(module, "_digest", lambda path, most: (read.append(most), real(path, most))[1])
    monkeypatch.setattr(module, "READ", 5 * (LONG + len(HEAD)))
    names = files(tmp_path, {"a": b"a" * LONG, "b": b"a" * LONG, "c": b"c" * (LONG + 1), "d": b"c" * (LONG + 1)})
    for name in ("huge", "huge too"):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(2**30)
    actual = copies(tmp_path, [*names, "huge", "huge too"], [0] * 6)
    assert actual == Copies(6, (("a", "b"), ("c", "d")), (), 2)
    assert sum(read) < 12 * LONG
    assert "2 large files of equal size were not compared" in "".join(actual.warnings())


def test_init_names_copies_and_leaves_them_out(tmp_path: Path, project: Path, typed: Type) -> None:
    images = classes(tmp_path / "images")
    (images / "cat" / "copy.png").write_bytes((images / "cat" / "3.png").read_bytes())
    (images / "dog" / "copy.png").write_bytes((images / "cat" / "3.png").read_bytes())
    result = typed("init", "--images", images, "--no-measure")
    assert (
        "2 of 62 files repeat another byte for byte: cat/3.png = cat/copy.png. `pretextbench init --drop" in result.out
    )
    assert "Copies with another label than the file that they repeat: 1 (cat/3.png = dog/copy.png)." in result.out
    assert not load(project / "params.yaml").prepare.drop_duplicates
    assert typed("init", "--images", images, "--no-measure", "--force", "--drop-duplicates").code == 0
    assert load(project / "params.yaml").prepare.drop_duplicates
