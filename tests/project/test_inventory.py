"""What the inventory counts in a folder of images."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretextbench.project.inventory import count_files


def test_files_are_counted_with_their_sizes_and_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a.png").write_bytes(b"123")
    (tmp_path / "b/c.png").write_bytes(b"4567")
    first = count_files(tmp_path)
    assert (first["files"], first["bytes"]) == (2, 7)
    assert count_files(tmp_path) == first
    (tmp_path / "b/c.png").rename(tmp_path / "b/d.png")
    assert count_files(tmp_path)["sha256"] != first["sha256"]


def test_a_missing_folder_counts_as_empty(tmp_path: Path) -> None:
    assert count_files(tmp_path / "nowhere") == count_files(tmp_path)
    assert count_files(tmp_path)["files"] == 0


def test_links_are_counted_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "gone").symlink_to("nowhere")
    assert count_files(tmp_path)["files"] == 2


def nest(folder: Path, name: str, levels: int) -> None:
    """Folders in each other, with a file in each."""
    back = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    for _ in range(levels):
        Path("f").touch()
        os.mkdir(name)
        os.chdir(name)
    os.fchdir(back)
    os.close(back)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is removed without recursion, as pytest would."""
    yield tmp_path
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


def test_folders_nested_deeper_than_python_calls_are_counted(folder: Path) -> None:
    nest(folder, "a", 1200)
    assert count_files(folder)["files"] == 1200


def test_what_no_path_reaches_is_passed_over(folder: Path) -> None:
    nest(folder, "a" * 250, 20)
    longest = os.pathconf("/", "PC_PATH_MAX") - 1
    assert count_files(folder)["files"] == sum(len(f"{folder}/f") + 251 * level <= longest for level in range(20)) < 20
