"""Delivery of records: at once, and later from the outbox when the server did not take them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import requests
from mlflow.exceptions import MlflowException

from pretextbench.track import PATIENCE, Record, outbox
from pretextbench.track.payload import without_secrets
from pretextbench.track.writer import Writer

WAITS = (1.0, 3.0)  # seconds before the second and the third try
ENOUGH = 10.0  # seconds of trying after which no other try begins: a store that hangs has been waited for by then
PASSING = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"}


def deliver(writer: Writer, what: Record, digests: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Write a record; returns its run id and a line about each part that was left out (see `kept.present`)."""
    start = time.monotonic()
    for wait in (*WAITS, float("inf")):
        try:
            there, lines = outbox.present(what, digests)
            return writer.write(there), lines
        except Exception as error:
            if not passing(error) or time.monotonic() - start + wait > ENOUGH:
                raise
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def deliver_kept(root: Path, say: Callable[[str], None], begin: Callable[[], None]) -> None:
    """Write what is kept and delete it, until all is tried or the store does not answer; `begin` is called before each.

    `say` is told one line per record.
    """
    writer, tried = Writer(root), set[Path]()
    say(f"to {without_secrets(writer.uri)}:")
    while new := [path for path in outbox.waiting(root) if path not in tried]:  # more may come meanwhile
        for path in new:
            begin()
            tried.add(path)
            try:
                say(_one(writer, path))
            except Exception as error:
                say(f"{path.name} stays: {why(error)}")
                if passing(error):
                    return


def _one(writer: Writer, path: Path) -> str:
    record, digests = outbox.read(path)
    run_id, lines = deliver(writer, record, digests)
    path.unlink(missing_ok=True)
    return "; ".join([f"{record.name} ({record.stage}): written to run {run_id}", *lines])


def passing(error: Exception) -> bool:
    """Is it the state of the store, which may be another in a moment, and not a mistake, which stays one?"""
    text = str(error)
    if "database is locked" in text:
        return True
    if isinstance(error, MlflowException):  # a server that is away has no error code of its own
        return error.error_code in PASSING or text.startswith("API request to")
    busy = (filelock.Timeout, ConnectionError, TimeoutError, requests.ConnectionError, requests.Timeout)
    return isinstance(error, busy)


def why(error: Exception) -> str:
    """One line for people: MLflow's errors go on for pages, with the cause at the end."""
    line = without_secrets((str(error).strip().splitlines() or [""])[0])
    _, caused, cause = line.partition("(Caused by ")
    if caused:
        return "the server does not answer: " + re.sub(r"[\"']\)+$", "", cause.rpartition(": ")[2])
    return f"{type(error).__name__}: {line[:300]}"


LOG = "replay.log"  # beside the kept records: what the replays that nobody watches have said
Say = Callable[[str], None]


def follow(root: Path) -> list[str]:
    """Start a replay when there is something kept; returns a line about it.

    A process of its own, so that the recorder can end, for which the stage waits.
    """
    count, log = len(outbox.waiting(root)), outbox.folder(root) / LOG
    if not count:
        return []
    command, none = [sys.executable, "-m", "pretextbench.track", str(root), "--replay"], subprocess.DEVNULL
    with log.open("ab") as out:
        subprocess.Popen(command, stdin=none, stdout=out, stderr=out, start_new_session=True)
    return [f"kept earlier and being written to MLflow now: {count} (see {log})"]


def replay(root: Path, say: Say) -> int:
    """Write the kept records, oldest first, and delete each that is written; returns how many are kept still.

    A store that does not answer is not asked for the others. Killed anywhere, the next replay goes on: writing a
    record again changes nothing. One replay is at work in a project; others leave it to that one.
    """
    if not outbox.waiting(root):
        say("no record is kept")
        return 0
    try:
        with filelock.FileLock(outbox.folder(root) / ".lock", timeout=0), _bounded(say) as again:
            deliver_kept(root, say, again)
    except filelock.Timeout:
        say(f"another replay is at work here: see {outbox.folder(root) / LOG}")
    return len(outbox.waiting(root))


@contextlib.contextmanager
def _bounded(say: Say) -> Iterator[Callable[[], None]]:
    """End this process when a record takes longer than `PATIENCE`; the function that is yielded begins another one."""

    def end(*_: object) -> None:
        say(f"no answer within {PATIENCE:g} s: the other records stay")
        os._exit(1)  # whatever hangs may not let go of an exception

    before = signal.signal(signal.SIGALRM, end)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, PATIENCE) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
