"""Outputs appear whole or not at all, and the reasons why not are said in words."""

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pretextbench.base import files
from pretextbench.base.files import REASONS, explain, sha256, whole_folder, write_whole
from pretextbench.errors import UserError


def failing(number: int) -> Callable[..., None]:
    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- whole_folder -------------------------------------------------------------------------------------------------


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with whole_folder(target) as scratch:
        (scratch / "a.txt").write_text("new")
        assert not target.exists()
        assert scratch.parent == target.parent  # the same file system, so that the move is one step
    assert (target / "a.txt").read_text() == "new"
    assert names(target.parent) == ["out"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002, 0o027])
def test_folder_has_the_rights_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    with whole_folder(tmp_path / "out"):
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~umask


def test_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").write_text("old")
    with whole_folder(target) as scratch:
        (scratch / "new.txt").write_text("new")
        assert names(target) == ["old.txt"]
    assert names(target) == ["new.txt"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(2)])
def test_failure_leaves_the_old_folder_and_no_scratch(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").write_text("old")

    def write() -> None:
        with whole_folder(target) as scratch:
            (scratch / "half.txt").write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == ["out"]
    assert (target / "old.txt").read_text() == "old"


@pytest.mark.parametrize("number", sorted(REASONS))
def test_what_the_system_refuses_is_said_in_words(tmp_path: Path, number: int) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with (
        pytest.raises(UserError, match=f"Cannot write {target}: {REASONS[number]}"),
        whole_folder(target),
    ):
        failing(number)()
    assert names(tmp_path) == ["out"]


def test_other_errors_of_the_block_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out"):
        (tmp_path / "missing").read_text()
    assert names(tmp_path) == []


def test_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file, not a folder"), whole_folder(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "parts",
    [
        ("file", "out"),
        ("file", "deeper", "out"),
    ],
)
def test_folder_below_a_file(tmp_path: Path, parts: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file, not a folder"), whole_folder(tmp_path.joinpath(*parts)):
        pass


WRITER = """
import sys
from pathlib import Path
from pretextbench.base.files import whole_folder
with whole_folder(Path(sys.argv[1])) as scratch:
    (scratch / "half.txt").write_text("half")
    print(scratch.name, flush=True)
    sys.stdin.read()
"""


def writer(target: Path) -> "tuple[subprocess.Popen[str], str]":
    """A process in the middle of writing `target`, and the name of the folder that it writes into."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_what_a_killed_writer_left_is_removed_by_the_next_of_the_same_target(tmp_path: Path) -> None:
    (killed, left), (other, beside) = writer(tmp_path / "out"), writer(tmp_path / "out-2")
    with killed, other:
        killed.kill()
        other.kill()
    mine = [".out.original", ".out.abcdefgh", ".out.abcdefgh.partial.d"]
    for name in mine:
        (tmp_path / name).mkdir()
    assert names(tmp_path) == sorted([left, beside, *mine])
    with whole_folder(tmp_path / "out"):
        assert left not in names(tmp_path)
    assert names(tmp_path) == sorted([beside, "out", *mine])


def test_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    alive, scratch = writer(tmp_path / "out")
    with alive:
        with whole_folder(tmp_path / "out") as mine:
            assert names(tmp_path) == sorted([scratch, mine.name])
        alive.communicate("")
    assert alive.returncode == 0
    assert (tmp_path / "out/half.txt").read_text() == "half"
    assert names(tmp_path) == ["out"]


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may take it for a killed one's in that moment."""
    made, real = [], os.mkdir

    def swept(folder: Path, *mode: int) -> None:
        real(folder, *mode)
        made.append(folder)
        if len(made) == 1:
            os.rmdir(folder)

    monkeypatch.setattr(files.os, "mkdir", swept)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)  # calls os.mkdir too; the folder above is there
    with whole_folder(tmp_path / "out") as scratch:
        monkeypatch.undo()
        assert [scratch] == made[1:]
    assert names(tmp_path) == ["out"]


# --- write_whole --------------------------------------------------------------------------------------------------


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.json"
    write_whole(target, b"first")
    write_whole(target, b"second, longer")
    assert target.read_bytes() == b"second, longer"
    assert names(target.parent) == ["a.json"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    write_whole(target, b"old")
    owner = files.os if step == "fsync" else Path
    monkeypatch.setattr(owner, step, failing(errno.ENOSPC))
    with pytest.raises(UserError, match=r"Cannot write .*a\.json: no space left on the device: free some"):
        write_whole(target, b"new")
    monkeypatch.undo()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_readers_never_see_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the fsync the new bytes are all there, and the old file still is what readers see."""
    target, seen = tmp_path / "a.bin", []
    write_whole(target, b"old")

    def look(descriptor: int) -> None:
        seen.append((target.read_bytes(), os.fstat(descriptor).st_size))

    monkeypatch.setattr(files.os, "fsync", look)
    write_whole(target, b"new and longer")
    assert seen == [(b"old", 14)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.with_name(f".a.json.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(UserError, match="no space left on the device"):
        write_whole(target, b"x" * 100_000)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="no permission to write there"):
        write_whole(tmp_path / "a.json", b"")
    with pytest.raises(UserError, match="no permission to write there"), whole_folder(tmp_path / "out"):
        pass
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("parts", [("file", "a.json"), ("file", "deeper", "a.json")])
def test_file_below_a_file(tmp_path: Path, parts: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file, not a folder"):
        write_whole(tmp_path.joinpath(*parts), b"")


def test_unknown_errors_are_not_explained_away(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Interrupted") as caught:
        explain(OSError(errno.EINTR, "Interrupted"), tmp_path)
    assert not isinstance(caught.value, UserError)


def test_sha256_is_hashlibs(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
