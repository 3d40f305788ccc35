"""Handing a record to the store, again and again for a while where that may help. Imports MLflow.

What a store that does not answer costs is bounded three times: in MLflow's own requests (`quiet`: 5 s, two tries
each), by `ENOUGH` here, and by `PATIENCE` over all, after which the stage goes on and a replay ends.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import requests
from mlflow.exceptions import MlflowException

from pretextbench.track import Record, kept
from pretextbench.track.facts import without_secrets
from pretextbench.track.writer import Writer

WAITS = (1.0, 3.0)  # seconds before the second and the third try
ENOUGH = 10.0  # seconds of trying after which no other try begins: a store that hangs has been waited for by then
PASSING = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED"}


def deliver(writer: Writer, what: Record, digests: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Write a record; returns its run id and a line about each part that was left out (see `kept.present`)."""
    start = time.monotonic()
    for wait in (*WAITS, float("inf")):
        try:
            there, lines = kept.present(what, digests)
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
    while new := [path for path in kept.waiting(root) if path not in tried]:  # more may come meanwhile
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
    record, digests = kept.read(path)
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
