"""Locks of the operating system on files: released when their holder ends, however it ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAUSE = 0.05  # seconds between two tries of a lock with a time limit
RETRIES = 9  # of a lock whose file is removed at that moment
MOMENT = 0.5  # seconds: `holder` and a process that is ending hold a lock for less


@dataclass(frozen=True)
class Lock:
    """A lock that is held until it is closed or the process ends, also without a reference to it."""

    descriptor: int

    def close(self) -> None:
        """Release it, unless another process has inherited it."""
        os.close(self.descriptor)

    def write(self, text: str) -> None:
        """Replace the content of the locked file, which names the holder."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def is_at(self, path: Path) -> bool:
        """Whether `path` is still the locked file, which may have been removed or replaced."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(path))
        except (FileNotFoundError, NotADirectoryError):
            return False


def take(path: Path, *, shared: bool = False, wait: bool = True) -> Lock | None:
    """Lock `path`; None when another process holds it and `wait` is false.

    Raises:
        OSError: the file cannot be written.
    """
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    for last in (False,) * RETRIES + (True,):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
        try:
            fcntl.flock(lock.descriptor, mode)
        except BlockingIOError:
            lock.close()
            return None
        except BaseException:  # Ctrl-C while waiting
            lock.close()
            raise
        if last or lock.is_at(path):
            return lock
        lock.close()  # its holder has removed the file while this waited
    raise AssertionError("the last try returns")


def is_held(path: Path) -> bool:
    """Whether a process holds the lock, shared or alone.

    Raises:
        OSError: the file is missing or cannot be opened.
    """
    lock = Lock(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    try:
        fcntl.flock(lock.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        lock.close()
    return False


def take_soon(path: Path) -> Lock | None:
    """Lock `path` alone; None when another process holds it for longer than a moment.

    A process that only looks at a lock holds it too, for an instant: a run that starts then must not be refused.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        return _take_within(path, MOMENT)
    except TimeoutError:
        return None


def holder(path: Path) -> str | None:
    """The text that the holder of a lock has written into the file; None when no process holds it alone.

    Raises:
        OSError: the file cannot be opened.
    """
    lock = take(path, shared=True, wait=False)  # shared: two that look do not see each other
    if lock is not None:
        lock.close()
        return None
    return path.read_text(errors="replace").strip()


@contextlib.contextmanager
def locked(path: Path, timeout: float | None = None) -> Iterator[None]:
    """Hold `path` alone for the time of a block; wait for it for at most `timeout` seconds (None: without limit).

    Raises:
        TimeoutError: another holder has kept it for longer.
    """
    lock = take(path) if timeout is None else _take_within(path, timeout)
    try:
        yield
    finally:
        if lock is not None:
            lock.close()


def _take_within(path: Path, timeout: float) -> Lock:
    end = time.monotonic() + timeout
    while (lock := take(path, wait=False)) is None:
        if time.monotonic() >= end:
            raise TimeoutError(f"{path} is locked by another process for more than {timeout:g} s")
        time.sleep(PAUSE)
    return lock
