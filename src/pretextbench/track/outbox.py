"""The outbox of a project, `.scratch/records`: records on their way to MLflow. Stages and the recorder meet in it.

| file | content |
|---|---|
| `TIME-KEY-STAGE.ID.json` | a record for which a stage waits |
| `TIME-KEY-STAGE..json` | a record that was kept: its stage does not wait any more |
| `TIME-KEY-STAGE.ID.answer` | the run id of this record, or the reason why it is not written |
| `TIME-SPOOL.ID.follow` | the spool of a training, which holds a lock on this file |
| `ID.users` | each stage at work holds a shared lock on it |
| `ID.lock` | the recorder holds a lock on it |
| `ID.outage` | the reason why the store did not answer a short while ago |
| `recorder.log` | output of the recorders |

A record is never changed; a later one of the same key and stage replaces it. `ID` is the identity of a recorder: a hash
of all that its writes depend on. Stages with another identity have their own. Neither MLflow nor torch is imported.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from pretextbench.base.files import private_log, sha256, write_whole
from pretextbench.project import layout
from pretextbench.project.locks import Lock, take
from pretextbench.track.records import Record, short_hash

TIMEOUT = 120.0  # seconds for one record
OUTAGE = 300.0  # seconds for which an outage is taken for granted
PACKAGE = Path(__file__).parents[1]
VARIABLES = re.compile(r"(MLFLOW|AWS|AZURE|GOOGLE|DATABRICKS|PG|MYSQL|SSL_CERT)\w*|HOME|\w+_(PROXY|CA_BUNDLE)", re.I)


class SavedRecord(NamedTuple):
    """A record in the outbox."""

    record: Record
    digests: dict[str, str]  # file -> SHA-256 when it was saved


def folder(root: Path) -> Path:
    """The folder of the outbox. It is no output of a stage, so DVC does not touch it."""
    return root.resolve() / layout.records()


def waiting(root: Path) -> list[Path]:
    """The files of the records that wait, oldest first."""
    return sorted(folder(root).glob("*.json"))


def save(record: Record, root: Path, identity: str = "") -> Path:
    """Save a record, whole or not at all, and delete an earlier one of the same key and stage.

    Raises:
        UserError: the outbox cannot be written.
    """
    name = f"{short_hash(record.key)}-{re.sub(r'[^a-z]', '', record.stage) or 'record'}"
    path = folder(root) / f"{round(record.reported * 1000):014d}-{name}.{identity}.json"
    digests = {file: sha256(Path(file)) for files in record.files.values() for file in files if Path(file).is_file()}
    write_whole(path, json.dumps({"record": dataclasses.asdict(record), "digests": digests}, indent=1).encode())
    for earlier in folder(root).glob(f"*-{name}.*json"):
        if earlier.name < path.name:
            earlier.unlink(missing_ok=True)
    return path


def read(path: Path) -> SavedRecord:
    """The record in a file of the outbox.

    Raises:
        ValueError: the file is no record, or one of another version of this library.
    """
    try:
        content = json.loads(path.read_bytes())
        return SavedRecord(Record(**content["record"]), dict(content["digests"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a record that this version reads ({error})") from error


class Outbox:
    """The outbox of a project, for the processes of one identity (by default this process's)."""

    def __init__(self, root: Path, identity: str | None = None) -> None:
        self.root, self.folder = root.resolve(), folder(root)
        self.identity = identity or own_identity()
        self.users, self.lock = self.folder / f"{self.identity}.users", self.folder / f"{self.identity}.lock"
        self.log, self._outage = self.folder / "recorder.log", self.folder / f"{self.identity}.outage"

    def start(self, lock: Lock) -> None:
        """Start the recorder, which inherits its lock and nothing else: no terminal, no pipe, no working folder.

        Raises:
            OSError: it cannot be started.
        """
        arguments = [str(self.root), "--identity", self.identity, "--lock", str(lock.descriptor)]
        try:
            with private_log(self.log, append=True) as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", "pretextbench.track", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.root,
                    pass_fds=(lock.descriptor,),
                    start_new_session=True,  # Ctrl-C in the terminal is for the stages
                )
            process.returncode = 0  # nothing waits for it, and `Popen` warns of that
        finally:
            lock.close()  # the recorder's now

    def log_size(self) -> int:
        """Bytes in the log."""
        return self.log.stat().st_size if self.log.exists() else 0

    def last_line(self, start: int) -> str:
        """The last line that a recorder which has ended wrote to its log, after the first `start` bytes."""
        lines = self.log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "the recorder has ended"

    def due(self) -> list[Path]:
        """Records to write now, oldest first: those whose stages may wait for them, then those that were kept.

        A stage that waits for a recorder of another identity is left to that one.
        """
        awaited, kept = [], []
        for path in waiting(self.root):
            if not is_awaited(path):
                kept.append(path)
            elif _identity_of(path) == self.identity:
                awaited.append(path)
        return awaited + kept

    def answer(self, path: Path, answer: dict[str, Any]) -> None:
        """Answer the stage that waits for the record in `path`, if it is of this identity."""
        if _identity_of(path) == self.identity:
            write_whole(path.with_suffix(".answer"), json.dumps(answer).encode())

    def take_answer(self, path: Path) -> dict[str, Any] | None:
        """The answer to the record in `path`, which is removed; None before it comes."""
        with contextlib.suppress(FileNotFoundError):
            answer = dict(json.loads(path.with_suffix(".answer").read_bytes()))
            path.with_suffix(".answer").unlink()
            return answer
        return None

    def outage(self) -> str | None:
        """The reason why the store did not answer a short while ago; None if it did, or was not asked."""
        with contextlib.suppress(OSError):
            if abs(time.time() - self._outage.stat().st_mtime) < OUTAGE:
                return self._outage.read_text()
        return None

    def note_outage(self, reason: str | None) -> None:
        """Tell the stages that the store does not answer, or that it does (None)."""
        with contextlib.suppress(OSError):
            if reason is None:
                self._outage.unlink(missing_ok=True)
            else:
                self._outage.write_text(reason)

    def follow(self, spool: Path) -> tuple[Path, Lock]:
        """Ask the recorder to follow the spool in the folder `spool`; returns the file of the request and its lock.

        When the file is removed, the record of the training is next. When the lock is released, there is none.

        Raises:
            OSError: the outbox cannot be written.
        """
        since = time.time()  # in the name: a later training of the same spool has a file of its own
        target = self.folder / f"{round(since * 1000):014d}-{short_hash(str(spool))}.{self.identity}.follow"
        scratch = target.with_suffix(f".{os.getpid()}")  # it appears with its content and locked
        lock = take(scratch)
        assert lock is not None
        lock.write(json.dumps({"folder": str(spool), "since": since}))
        scratch.rename(target)
        return target, lock

    def followed(self) -> list[Path]:
        """The files of `follow`, oldest first."""
        return sorted(self.folder.glob(f"*.{self.identity}.follow"))

    def clear(self) -> None:
        """Remove what no process needs: the caller holds the locks of this identity, others are tried."""
        for path in self.folder.glob(f"*.{self.identity}.answer"):
            path.unlink(missing_ok=True)
        for path in (*self.folder.glob("*.users"), *self.folder.glob("?*.lock")):
            lock = None if path in (self.users, self.lock) else take(path, wait=False)
            if lock or path in (self.users, self.lock):
                path.unlink(missing_ok=True)
            if lock:
                lock.close()


def own_identity() -> str:
    """Hash of the machine, the user, the Python, the variables that MLflow and its clients read, and this library."""
    variables = {name: sorted(set(value.split(","))) for name, value in os.environ.items() if VARIABLES.fullmatch(name)}
    return _slow_hash(json.dumps([socket.gethostname(), os.getuid(), sys.prefix, variables, _code()], sort_keys=True))


@functools.cache
def _slow_hash(text: str) -> str:
    """A hash for names of files. It is slow, because the text may contain a password."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), b"pretextbench", 50_000, 6).hex()


@functools.cache
def _code() -> list[tuple[str, int, int]]:
    files = ((str(path), os.stat(path)) for path in sorted(PACKAGE.rglob("*.py")) if path.exists())
    return [(name, status.st_size, status.st_mtime_ns) for name, status in files]


def is_awaited(path: Path) -> bool:
    """Whether a stage may wait for the record in `path`; one that was killed does not, which shows after a while."""
    reported = path.name.partition("-")[0]
    return bool(_identity_of(path)) and reported.isdigit() and abs(time.time() - int(reported) / 1000) < TIMEOUT


def keep(path: Path) -> None:
    """Leave the record in `path` to any recorder: its stage does not wait any more."""
    with contextlib.suppress(FileNotFoundError):  # it is written after all
        path.rename(path.with_name(f"{path.name.partition('.')[0]}..json"))


def _identity_of(path: Path) -> str:
    return path.stem.rpartition(".")[2] if "." in path.stem else ""
