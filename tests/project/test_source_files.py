"""Which changes of a source are noticed: contents, places, links; and which are none: times, copies, hidden files."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pretextbench.project import source_files
from pretextbench.project.source_files import digest


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written a moment ago is remembered."""
    monkeypatch.setattr(source_files, "SETTLED", -(10**12))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content is read."""
    names: list[str] = []
    real = source_files._hash
    monkeypatch.setattr(source_files, "_hash", lambda file: (names.append(file.name), real(file))[1])
    return names


def state(folder: Path) -> dict[str, Any]:
    return digest(folder, folder.with_name("kept"))


def source(folder: Path) -> Path:
    """Two classes of two images of equal size, a text, and a link out of the folder to each kind of thing."""
    outside = folder.with_name("outside")
    for name in ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"content of {name}".encode())
    (outside / "bird").mkdir(parents=True)
    (outside / "bird" / "0.png").write_bytes(b"a bird")
    (outside / "fish.png").write_bytes(b"a fish")
    (folder / "bird").symlink_to(outside / "bird")
    (folder / "cat" / "fish.png").symlink_to(outside / "fish.png")
    (folder / "notes.txt").write_text("notes")
    return folder


def keep_times(path: Path, content: bytes) -> None:
    """Write a file and put its times back."""
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap(a: Path, b: Path) -> None:
    """Exchange two files, or two folders, by renaming, which leaves their times alone."""
    middle = a.with_name("middle")
    a.rename(middle)
    b.rename(a)
    middle.rename(b)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "cat/0.png").write_bytes(b"CONTENT of cat/0.png"),
        lambda f: keep_times(f / "cat/0.png", b"CONTENT of cat/0.png"),
        lambda f: (f / "cat/0.png").rename(f / "dog/2.png"),
        lambda f: (f / "cat/0.png").unlink(),
        lambda f: (f / "cat/2.png").write_bytes(b"new"),
        lambda f: swap(f / "cat/0.png", f / "dog/0.png"),
        lambda f: swap(f / "cat", f / "dog"),
        lambda f: (f / "cat").rename(f / "lion"),
        lambda f: (f.parent / "outside/fish.png").write_bytes(b"A fish"),
        lambda f: (f.parent / "outside/bird/0.png").write_bytes(b"A bird"),
        lambda f: (f.parent / "outside/bird/1.png").write_bytes(b"new"),
        lambda f: (f.parent / "outside/bird/0.png").unlink(),
        lambda f: (f.parent / "outside/fish.png").unlink(),
        lambda f: ((f / "cat/fish.png").unlink(), (f / "cat/fish.png").symlink_to(f.parent / "outside/bird/0.png")),
        lambda f: (f / "more.txt").write_text("notes"),
    ],
)
def test_a_change_is_noticed(change: Callable[[Path], object], tmp_path: Path) -> None:
    folder = source(tmp_path / "in")
    os.utime(folder / "cat/0.png", ns=(10**18, 10**18))  # all files of an archive may have one time
    os.utime(folder / "dog/0.png", ns=(10**18, 10**18))
    before = state(folder)
    assert state(folder) == before
    change(folder)
    assert state(folder)["sha256"] != before["sha256"]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: None,
        lambda f: [os.utime(path) for path in f.rglob("*.png")],
        lambda f: (f / "cat/0.png").chmod(0o600),
        lambda f: (f / "cat/.DS_Store").write_bytes(b"x"),
        lambda f: (f / "__MACOSX").mkdir(),
        lambda f: (f / "notes.txt").write_text("others"),
        lambda f: f.with_name("kept").unlink(),
        lambda f: f.with_name("kept").write_text("nonsense\n\nx y z\n"),
        lambda f: f.with_name("kept").write_bytes(b"\xff\0"),
    ],
)
def test_what_changes_no_image_is_no_change(change: Callable[[Path], object], tmp_path: Path) -> None:
    before = state(source(tmp_path / "in"))
    change(tmp_path / "in")
    after = state(tmp_path / "in")
    assert (after["sha256"], after["files"]) == (before["sha256"], before["files"])


def test_a_copy_has_the_same_digest(tmp_path: Path) -> None:
    folder = source(tmp_path / "in")
    shutil.copytree(folder, tmp_path / "elsewhere" / "copy", copy_function=shutil.copy)
    assert state(tmp_path / "elsewhere" / "copy") == state(folder)


def test_a_content_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    folder = source(tmp_path / "in")
    state(folder)
    assert sorted(reads) == ["bird/0.png", "cat/0.png", "cat/1.png", "cat/fish.png", "dog/0.png", "dog/1.png"]
    state(folder)
    assert len(reads) == 6
    os.utime(folder / "dog/1.png")
    state(folder)
    assert reads[6:] == ["dog/1.png"]


def test_a_content_that_may_still_change_unnoticed_is_not_trusted(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writes within a tick of the clock of a file system leave the same times."""
    monkeypatch.setattr(source_files, "SETTLED", 2 * 10**9)
    folder = source(tmp_path / "in")
    state(folder)
    state(folder)
    assert len(reads) == 12


def test_many_bytes_are_not_read_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_files, "ANNOUNCED", (50, 10_000))
    messages: list[str] = []
    for _ in range(2):
        digest(source(tmp_path / "in") if not messages else tmp_path / "in", tmp_path / "kept", messages.append)
    assert messages == ["reading 6 images once (0.0 GB), so that later changes are noticed"]


def test_a_missing_folder_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert state(tmp_path / "nowhere") == state(tmp_path / "in")
    assert state(tmp_path / "nowhere")["files"] == 0


def test_what_is_no_image_file_is_not_opened(tmp_path: Path, reads: list[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "film.mp4").write_bytes(b"x" * 100)
    with (folder / "large.png").open("wb") as stream:
        stream.truncate(5 * 2**30)
    assert state(folder)["files"] == 6
    assert reads == []


def test_folders_that_link_to_each_other_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_files, "MAX_VISITS", 3)
    folders = [tmp_path / "in" / f"{i}" for i in range(6)]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"x")
        (folder / "up").symlink_to(tmp_path / "in")
        for other in folders:
            (folder / f"to-{other.name}").symlink_to(other)
    assert 6 <= state(tmp_path / "in")["files"] <= 18


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
    (tmp_path / "in").mkdir()
    yield tmp_path / "in"
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


def test_folders_nested_deeper_than_python_calls_are_counted(folder: Path) -> None:
    nest(folder, "a", 1200)
    assert state(folder)["files"] == 1200


def test_what_no_path_reaches_is_passed_over(folder: Path) -> None:
    nest(folder, "a" * 250, 20)
    longest = os.pathconf("/", "PC_PATH_MAX") - 1
    assert state(folder)["files"] == sum(len(f"{folder}/f") + 251 * level <= longest for level in range(20)) < 20
