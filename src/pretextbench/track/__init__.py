"""The record of a comparison: what is written to MLflow, and nothing else about it.

A stage describes one run as a `Record`, plain data that can be kept and told again, and hands it to `record`. MLflow
is imported in a process of its own (`python -m pretextbench.track`): it costs 6 s to import and to open a store,
which `warm` starts while the stage imports torch; and a store that hangs, fails or crashes cannot take a result with
it. The files of the stage are the truth; the record follows them: one that cannot be written is kept as a file
(`kept`), and written after the next that can, or by `python -m pretextbench.track ROOT --replay`.
"""

import contextlib
import dataclasses
import json
import logging
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pretextbench.base import quiet
from pretextbench.errors import UserError
from pretextbench.track import outbox
from pretextbench.track.payload import EXPERIMENT, Record, Scalar, without_secrets

__all__ = ["EXPERIMENT", "PATIENCE", "Record", "Scalar", "follow", "record", "store", "warm"]

quiet.apply()  # MLflow reads its switches when it is imported

PATIENCE = 120.0  # seconds that a record may take, whatever the store does
log = logging.getLogger(__name__)


class _Unrecorded(Exception):
    """Why the recorder has not written a record."""


_waiting: dict[Path, "subprocess.Popen[str]"] = {}


def store(root: Path) -> str:
    """Where the record of the project at `root` is: MLFLOW_TRACKING_URI, else mlflow.db in it (absolute)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.resolve() / 'mlflow.db'}"


def warm(root: Path, *, encoder: bool = False) -> None:
    """Let the recorder start up now, so that a later `record` of this process need not wait for it.

    `encoder`: it will be given one, and so imports torch too. Unused, it ends with this process.
    """
    root = root.resolve()
    if root not in _waiting:
        with contextlib.suppress(OSError):  # `record` tries again, and says so
            _waiting[root] = _start(root, encoder)


def follow(root: Path, folder: Path) -> None:
    """Let the recorder tell MLflow what the training in this process, or one that it starts, writes to a spool.

    It goes on until `record`, or until this process ends. See `track.spool`.
    """
    root = root.resolve()
    warm(root, encoder=True)
    process = _waiting.get(root)
    if process is not None and process.stdin is not None:
        with contextlib.suppress(OSError):  # it has ended: `record` says so
            process.stdin.write(json.dumps({"follow": str(folder.resolve()), "since": time.time()}) + "\n")
            process.stdin.flush()


def record(what: Record, root: Path, patience: float = PATIENCE) -> str | None:
    """Write one run to the record and return its MLflow run id; when that is not possible, keep it, warn, return None.

    It takes `patience` seconds at most, and raises nothing on account of the store.
    """
    root = root.resolve()
    what = dataclasses.replace(what, told=what.told or time.time())
    try:
        answer = _ask(what, root, patience)
        if "run_id" not in answer:
            raise _Unrecorded(answer.get("error", "no run id"))
    except (_Unrecorded, OSError) as reason:
        log.warning(_keep(what, root, without_secrets(str(reason))))
        return None
    for line in answer.get("notes", ()):
        log.warning(line)
    return str(answer["run_id"])


def _start(root: Path, encoder: bool) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", __name__, str(root), *(["--encoder"] if encoder else [])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def _ask(what: Record, root: Path, patience: float) -> dict[str, Any]:
    """Hand the record to the recorder and return its answer."""
    process = _waiting.pop(root, None) or _start(root, what.encoder is not None)
    try:
        told, complaints = process.communicate(json.dumps(dataclasses.asdict(what)), patience)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel, on a file system that hangs
            process.communicate(timeout=5)
        raise _Unrecorded(f"no answer within {patience:g} s") from None
    try:
        return dict(json.loads(told.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        last = (complaints.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise _Unrecorded(last) from None


def _keep(what: Record, root: Path, reason: str) -> str:
    """Keep the record; returns what to tell the user."""
    trouble = (
        f"{what.name} is not recorded in MLflow ({without_secrets(store(root))}): {reason}. Its files are complete"
    )
    try:
        outbox.keep(what, root, reason)
    except (UserError, OSError) as error:
        return f"{trouble}, but the record is lost: {error}"
    command = f"uv run python -m {__name__} {shlex.quote(str(root))} --replay"
    return f"{trouble}, and the record is kept: the next stage writes it, or `{command}`."
