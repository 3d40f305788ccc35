"""Outputs appear whole or not at all: written beside their place, then moved into it."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pretextbench.errors import UserError

REASONS = {
    errno.ENOSPC: "no space left on the device: free some, or point the output at another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or point the output at another disk",
    errno.EROFS: "the file system is read-only: point the output at a place that can be written",
    errno.EACCES: "no permission to write there: change the permissions or the place",
    errno.EPERM: "no permission to write there: change the permissions or the place",
    errno.ENOTDIR: "a part of that path is a file, not a folder: remove it or choose another place",
    errno.EEXIST: "a part of that path is a file, not a folder: remove it or choose another place",
}


def explain(error: OSError, path: Path) -> UserError:
    """Turn what the system said about writing `path` into an error for people; unknown ones are raised as they are."""
    if error.errno not in REASONS:
        raise error
    return UserError(f"Cannot write {path}: {REASONS[error.errno]}.")


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well, and vanishes when it does not.

    Raises:
        UserError: the place cannot be written or is full; an existing `target` is then left as it was.
    """
    scratch: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        scratch.chmod(0o755)  # mkdtemp makes it private; a shared cache wants to read it
        yield scratch
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
    except OSError as error:
        raise explain(error, target) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def write_whole(target: Path, content: bytes) -> None:
    """Write one file atomically: readers see the old bytes or the new ones, also after a kill.

    Raises:
        UserError: the place cannot be written or is full; an existing `target` is then left as it was.
    """
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(target)
    except OSError as error:
        raise explain(error, target) from error
    finally:
        with contextlib.suppress(OSError):  # the error of the write is the one to tell
            scratch.unlink()


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
