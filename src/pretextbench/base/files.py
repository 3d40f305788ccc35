"""Files of a project: written next to their target, then renamed, so they appear whole or not at all; JSON is read."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pretextbench.errors import UserError

REASONS = {
    errno.ENOSPC: "no space left on the device: free some, or point the output at another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or point the output at another disk",
    errno.EROFS: "the file system is read-only: point the output at a place that can be written",
    errno.EACCES: "no permission to write there: change the permissions or the place",
    errno.EPERM: "no permission to write there: change the permissions or the place",
    errno.ENOTDIR: "a part of that path is a file, not a folder: remove it or choose another place",
    errno.EEXIST: "a part of that path is a file, not a folder: remove it or choose another place",
    errno.EISDIR: "it is a folder: give the name of a file",
    errno.ENAMETOOLONG: "the name is too long for the file system: give a shorter one",
}

PRIVATE = 0o600  # permissions of a log
LONGEST = 200  # bytes of a name that becomes part of a longer one; file systems allow 255
PARTIAL = ".partial"  # ends the names of folders that are being written


def short_name(name: str) -> str:
    """The name itself, or where it has more than `LONGEST` bytes its beginning and a hash of the whole."""
    data = os.fsencode(name)
    if len(data) <= LONGEST:
        return name
    return data[: LONGEST - 13].decode(errors="ignore") + "-" + hashlib.sha256(data).hexdigest()[:12]


def explain(error: OSError, path: Path) -> UserError:
    """The error for people that explains an `OSError` of writing `path`; an unknown one is raised again unchanged."""
    if error.errno not in REASONS:
        raise error
    return UserError(f"Cannot write {path}: {REASONS[error.errno]}.")


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well, and vanishes when it does not.

    Remains of a killed process that wrote the same `target` are removed first.

    Raises:
        UserError: the place cannot be written or is full; an existing `target` is then left as it was.
    """
    scratch, lock = None, None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        scratch, lock = _scratch(target)
        yield scratch
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    except OSError as error:
        raise explain(error, target) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _scratch(target: Path) -> tuple[Path, int]:
    """A folder next to `target`, and a descriptor that holds a lock on it until this process ends."""
    while True:
        scratch = target.with_name(f".{short_name(target.name)}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            os.mkdir(scratch)  # with the rights that the umask leaves; `mkdtemp` would make it private
            lock = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
        except (FileExistsError, FileNotFoundError):  # another one drew the same name; swept before it was locked
            continue
        with contextlib.suppress(
            OSError
        ):  # a network file system that keeps no locks on folders: nothing is swept there
            fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # swept while this waited for the lock
            os.stat(scratch)
            return scratch, lock
        os.close(lock)


def _sweep(target: Path) -> None:
    """Remove the folders of killed writers of `target`: those whose lock is free."""
    scratch = re.compile(rf"\.{re.escape(short_name(target.name))}\.[a-z0-9_]{{8}}{re.escape(PARTIAL)}")
    for name in filter(scratch.fullmatch, os.listdir(target.parent)):
        folder = target.parent / name
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # removed meanwhile, or not a folder
            continue
        with contextlib.suppress(OSError):  # another process is writing there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to, whose file becomes `target` when the block ends well, and vanishes when it does not.

    Raises:
        UserError: the place cannot be written or is full; an existing `target` is then left as it was.
    """
    scratch = target.with_name(f".{short_name(target.name)}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        with scratch.open("rb") as stream:
            os.fsync(stream.fileno())
        scratch.replace(target)
    except OSError as error:
        raise explain(error, target) from error
    finally:
        with contextlib.suppress(OSError):  # the error of the write is the one to report
            scratch.unlink()


def write_whole(target: Path, content: bytes) -> None:
    """Write one file atomically: readers see the old bytes or the new ones, also after a kill.

    Raises:
        UserError: the place cannot be written or is full; an existing `target` is then left as it was.
    """
    with whole_file(target) as scratch:
        scratch.write_bytes(content)


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file, such as a card or metrics; `remedy` is the sentence that says what to do.

    Raises:
        UserError: the file cannot be read, or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"Cannot read {path} ({error}). {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object. {remedy}")
    return content


def private_log(path: Path, *, append: bool = False) -> IO[bytes]:
    """Open a log that its owner alone may read: other programs print addresses with passwords."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC), PRIVATE)
    with contextlib.suppress(PermissionError):  # made by another user: it stays as that user made it
        os.fchmod(descriptor, PRIVATE)  # made by an earlier version
    return os.fdopen(descriptor, "ab" if append else "wb")


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
