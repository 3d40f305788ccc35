"""Paths of a project: names that a file system takes, and a temporary copy that borrows what it lacks."""

from pathlib import Path

import pytest

from pretextbench.base.files import short_name, whole_file, whole_folder, write_whole
from pretextbench.errors import UserError
from pretextbench.params import load
from pretextbench.project import layout

LIMIT = 255  # bytes of a name


@pytest.mark.parametrize("name", ["a" * 300, "é" * 200, "pretrain@" + "x-" * 200])
def test_names_of_logs_and_locks_fit_the_file_system(name: str, tmp_path: Path) -> None:
    for path in (layout.log(name), layout.stage_lock(name), layout.stage_status(name)):
        assert len(path.name.encode()) <= LIMIT
        (tmp_path / path.name).touch()
    assert layout.log(name) != layout.log(name + "b")
    assert short_name("simclr-0") == "simclr-0"


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    """What is written first, beside it, has a longer name of its own."""
    for name in ("a" * LIMIT, "é" * 127):
        with whole_file(tmp_path / name) as scratch:
            scratch.write_text("x")
        (tmp_path / name).unlink()
        with whole_folder(tmp_path / name):
            pass
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the name is too long for the file system"):
        write_whole(tmp_path / ("a" * 256), b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_method_whose_name_would_be_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"compare: {{methods: [{'a' * 65}]}}\n")
    with pytest.raises(UserError, match=r"compare\.methods.*at most 64 characters"):
        load(tmp_path / "params.yaml")


def test_a_temporary_copy_borrows_images_that_only_the_project_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run --temp` copies what git or DVC keeps; data/labelled and photos in the project are in neither."""
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    copy.mkdir(parents=True)
    for folder in (tmp_path, copy):
        (folder / "dvc.yaml").touch()
    (tmp_path / "data" / "labelled" / "cat").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    (copy / "own").mkdir()
    monkeypatch.chdir(copy)
    for path in ("data/labelled", "data/labelled", "own", "missing", str(tmp_path / "own"), None):
        layout.borrow(path)
    assert Path("data/labelled").resolve() == tmp_path / "data" / "labelled"
    assert not Path("own").is_symlink()
    assert not Path("missing").is_symlink()
    monkeypatch.chdir(tmp_path)
    layout.borrow("missing")
    assert not Path("missing").is_symlink()
