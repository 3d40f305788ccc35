"""Delivery of records from the outbox to the store, by the recorder or by a replay. Imports MLflow."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import requests
from mlflow.exceptions import MlflowException

from pretextbench.project.addresses import without_secrets
from pretextbench.project.locks import take
from pretextbench.track import store
from pretextbench.track.outbox import TIMEOUT, Outbox, is_awaited, read, waiting
from pretextbench.track.records import Record, still_valid
from pretextbench.track.writer import Writer

WAITS = (1.0, 3.0)  # seconds before the second and the third try
RETRY_LIMIT = 10.0  # seconds after which no further try begins: tries of a store that hangs are slow themselves
TRANSIENT_CODES = {  # of MLflow's errors
    "TEMPORARILY_UNAVAILABLE",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
    "ABORTED",
}
Report = Callable[[str], None]  # receives one line for people


def deliver(writer: Writer, record: Record, digests: dict[str, str]) -> tuple[str, list[str]]:
    """Write a record; returns its run id and a line about each part that was left out (see `still_valid`).

    An error that may pass is followed by another try, at most two and not after `RETRY_LIMIT`.
    """
    start = time.monotonic()
    for wait in (*WAITS, float("inf")):
        try:
            valid, lines = still_valid(record, digests)
            return writer.write(valid), lines
        except Exception as error:
            if not transient(error) or time.monotonic() - start + wait > RETRY_LIMIT:
                raise
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def deliver_files(writer: Writer, outbox: Outbox, paths: Sequence[Path], tried: set[Path], report: Report) -> bool:
    """Write the records in `paths` in turn: answer the stage that waits, delete the file, report a line for people.

    False when the store does not answer: the other records are not tried. An error that may pass is taken for one of
    the record itself if the record before it was written. `tried`: receives the files that were tried.
    """
    written, kept = False, sum(not is_awaited(path) for path in paths)
    for path in paths:
        try:
            with time_limit(outbox, report):
                report(_deliver_file(writer, outbox, path, kept))
            outbox.note_outage(None)
            written = True
        except Exception as error:
            report(f"{path.name} stays: {explain(error)}")
            if transient(error) and not written:
                outbox.note_outage(explain(error))
                return False
            written = False
            outbox.answer(path, {"error": explain(error)})
        tried.add(path)
    return True


def _deliver_file(writer: Writer, outbox: Outbox, path: Path, kept: int) -> str:
    try:
        record, digests = read(path)
    except FileNotFoundError:
        return f"{path.name} was written by another process"
    run_id, lines = deliver(writer, record, digests)
    notes = [f"kept earlier and being written to MLflow now: {kept} (see {outbox.log})"] if kept else []
    outbox.answer(path, {"run_id": run_id, "notes": lines + notes})
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
    if "out-of-date database schema" in str(error) or "Can't locate revision" in str(error):
        uri = os.environ.get(store.URI, "")
        return (
            store.other_schema(uri).rstrip(".")
            or f"the store is of another MLflow: `{store.upgrade(uri)}`, after a copy of it"
        )
    line = without_secrets((str(error).strip().splitlines() or [""])[0])
    _, caused, cause = line.partition("(Caused by ")
    if caused:
        return "the server does not answer: " + re.sub(r"[\"']\)+$", "", cause.rpartition(": ")[2])
    return f"{type(error).__name__}: {line[:300]}"


def replay(root: Path, report: Report) -> int:
    """Write the records of the outbox, and delete each that is written; returns how many still wait.

    It stops when the store does not answer. It may be killed at any moment: the next replay continues, and writing a
    record twice changes nothing. Only one replay runs per project; a second one reports that and does nothing.
    """
    outbox, tried = Outbox(root), set[Path]()
    if not waiting(root):
        report("no record is kept")
        return 0
    lock = take(outbox.folder / ".lock", wait=False)
    if lock is None:
        report("another replay is at work here")
        return len(waiting(root))
    with contextlib.closing(lock):
        writer = Writer(root)
        report(f"to {without_secrets(writer.uri)}:")
        while new := [path for path in outbox.due() if path not in tried]:  # stages may add more meanwhile
            if not deliver_files(writer, outbox, new, tried, report):
                break
    return len(waiting(root))


@contextlib.contextmanager
def time_limit(outbox: Outbox, report: Report) -> Iterator[None]:
    """End this process when the block takes longer than `TIMEOUT`: code that hangs may swallow an exception."""

    def end() -> None:
        reason = f"no answer within {TIMEOUT:g} s"
        outbox.note_outage(reason)
        report(f"{reason}: the other records stay")
        os._exit(1)

    timer = threading.Timer(TIMEOUT, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
