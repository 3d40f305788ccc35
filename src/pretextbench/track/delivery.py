"""Delivery of records to the store: at once, or later from the outbox. Both ways end in `deliver`. Imports MLflow."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from mlflow.exceptions import MlflowException

from pretextbench.base.files import private_log
from pretextbench.project.addresses import without_secrets
from pretextbench.project.locks import take
from pretextbench.track import TIMEOUT, Record, records
from pretextbench.track.writer import Writer

WAITS = (1.0, 3.0)  # seconds before the second and the third try
RETRY_LIMIT = 10.0  # seconds after which no further try begins: tries of a store that hangs are slow themselves
LOG = "replay.log"  # in the outbox: output of the replays that the recorder starts
TRANSIENT_CODES = {  # of MLflow's errors
    "TEMPORARILY_UNAVAILABLE",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "ABORTED",
}
Report = Callable[[str], None]  # receives one line for people


def deliver(writer: Writer, record: Record, digests: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Write a record; returns its run id and a line about each part that was left out (see `records.still_valid`).

    An error that may pass is followed by another try, at most two and not after `RETRY_LIMIT`.
    """
    start = time.monotonic()
    for wait in (*WAITS, float("inf")):
        try:
            valid, lines = records.still_valid(record, digests)
            return writer.write(valid), lines
        except Exception as error:
            if not transient(error) or time.monotonic() - start + wait > RETRY_LIMIT:
                raise
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def deliver_waiting(root: Path, report: Report, begin_next: Callable[[], None]) -> None:
    """Write and delete the records of the outbox, until each was tried once or the store does not answer.

    `begin_next` is called before each record, `report` with one line after it.
    """
    writer, tried = Writer(root), set[Path]()
    report(f"to {without_secrets(writer.uri)}:")
    while new := [path for path in records.waiting(root) if path not in tried]:  # stages may add more meanwhile
        for path in new:
            begin_next()
            tried.add(path)
            try:
                report(_deliver_file(writer, path))
            except Exception as error:
                report(f"{path.name} stays: {explain(error)}")
                if transient(error):
                    return


def _deliver_file(writer: Writer, path: Path) -> str:
    record, digests = records.read(path)
    run_id, lines = deliver(writer, record, digests)
    path.unlink(missing_ok=True)
    return "; ".join([f"{record.name} ({record.stage}): written to run {run_id}", *lines])


def transient(error: Exception) -> bool:
    """Whether an error may pass (the store is busy or away), unlike a mistake in the record."""
    text = str(error)
    if "database is locked" in text:
        return True
    if isinstance(error, MlflowException):  # a server that is away has no error code of its own
        return error.error_code in TRANSIENT_CODES or text.startswith("API request to")
    return isinstance(error, ConnectionError | TimeoutError | requests.ConnectionError | requests.Timeout)


def explain(error: Exception) -> str:
    """One line for people. MLflow's own messages are pages long, with the cause at the end."""
    line = without_secrets((str(error).strip().splitlines() or [""])[0])
    _, caused, cause = line.partition("(Caused by ")
    if caused:
        return "the server does not answer: " + re.sub(r"[\"']\)+$", "", cause.rpartition(": ")[2])
    return f"{type(error).__name__}: {line[:300]}"


def start_replay(root: Path) -> list[str]:
    """Start a replay when the outbox is not empty; returns a line about it.

    The replay is a separate process, because the stage waits for the end of the recorder.
    """
    count, log = len(records.waiting(root)), records.outbox(root) / LOG
    if not count:
        return []
    command, nothing = [sys.executable, "-m", "pretextbench.track", str(root), "--replay"], subprocess.DEVNULL
    with private_log(log, append=True) as out:
        subprocess.Popen(command, stdin=nothing, stdout=out, stderr=out, start_new_session=True)
    return [f"kept earlier and being written to MLflow now: {count} (see {log})"]


def replay(root: Path, report: Report) -> int:
    """Write the records of the outbox, oldest first, and delete each that is written; returns how many still wait.

    It stops when the store does not answer. It may be killed at any moment: the next replay continues, and writing a
    record twice changes nothing. Only one replay runs per project; a second one reports that and does nothing.
    """
    if not records.waiting(root):
        report("no record is kept")
        return 0
    lock = take(records.outbox(root) / ".lock", wait=False)
    if lock is None:
        report(f"another replay is at work here: see {records.outbox(root) / LOG}")
        return len(records.waiting(root))
    try:
        with _time_limit(report) as restart:
            deliver_waiting(root, report, restart)
    finally:
        lock.close()
    return len(records.waiting(root))


@contextlib.contextmanager
def _time_limit(report: Report) -> Iterator[Callable[[], None]]:
    """End this process when a record takes longer than `TIMEOUT`. Yields a function that restarts the clock."""

    def end(*_: object) -> None:
        report(f"no answer within {TIMEOUT:g} s: the other records stay")
        os._exit(1)  # code that hangs may swallow an exception

    before = signal.signal(signal.SIGALRM, end)
    try:
        yield lambda: signal.setitimer(signal.ITIMER_REAL, TIMEOUT) and None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
