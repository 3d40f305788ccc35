"""The record of a comparison in MLflow.

A stage describes one run as a `Record` (plain data) and passes it to `record`. A separate process, the recorder
(`python -m pretextbench.track`), imports MLflow and writes the record. Importing MLflow and opening a store takes 6 s,
so `warm` starts the recorder while the stage imports torch. A store that hangs, fails or crashes affects the recorder
only, never a result.

The files of the stage are the source of truth. A record that cannot be written is saved to the outbox
(`track.records`). It is written after the next record that succeeds, or by
`python -m pretextbench.track ROOT --replay`.
"""

import contextlib
import dataclasses
import json
import logging
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pretextbench.base import quiet
from pretextbench.errors import UserError
from pretextbench.project.addresses import without_secrets
from pretextbench.track import records, store
from pretextbench.track.records import EXPERIMENT, Record, Scalar

__all__ = ["EXPERIMENT", "TIMEOUT", "Record", "Scalar", "follow", "record", "warm"]

quiet.apply()  # MLflow reads its switches when it is imported

TIMEOUT = 120.0  # seconds for one record
log = logging.getLogger(__name__)


class _Unrecorded(Exception):
    """The recorder has not written a record; the message is the reason."""


_recorders: dict[Path, "subprocess.Popen[str]"] = {}  # root of a project -> its recorder, started and not yet used


def warm(root: Path, *, encoder: bool = False) -> None:
    """Start the recorder now, so that a later `record` of this process does not wait for it.

    An unused recorder ends with this process. `encoder`: the record will contain an encoder, so import torch as well.
    """
    root = root.resolve()
    if root not in _recorders:
        with contextlib.suppress(OSError):  # `record` tries again, and warns
            _recorders[root] = _start(root, encoder)


def follow(root: Path, folder: Path) -> None:
    """Let the recorder send the spool in `folder` to MLflow, until `record` is called or this process ends.

    The training that writes the spool runs in this process or in one that it starts. See `track.spool`.
    """
    root = root.resolve()
    warm(root)
    process = _recorders.get(root)
    if process is not None and process.stdin is not None:
        with contextlib.suppress(OSError):  # the recorder has ended: `record` warns
            process.stdin.write(json.dumps({"follow": str(folder.resolve()), "since": time.time()}) + "\n")
            process.stdin.flush()


def record(entry: Record, root: Path, timeout: float = TIMEOUT) -> str | None:
    """Write one run to MLflow and return its run id. When that fails, save the record to the outbox and return None.

    A failure of the store costs one warning and at most `timeout` seconds; it raises nothing.
    """
    root = root.resolve()
    entry = dataclasses.replace(entry, reported=entry.reported or time.time())
    try:
        answer = _ask(entry, root, timeout)
        if "run_id" not in answer:
            raise _Unrecorded(answer.get("error", "no run id"))
    except (_Unrecorded, OSError) as reason:
        log.warning(_save(entry, root, without_secrets(str(reason))))
        return None
    for line in answer.get("notes", ()):
        log.warning(line)
    return str(answer["run_id"])


def _start(root: Path, encoder: bool) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", __name__, str(root), *(["--encoder"] if encoder else [])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def _ask(entry: Record, root: Path, timeout: float) -> dict[str, Any]:
    """The answer of the recorder to a record."""
    process = _recorders.pop(root, None) or _start(root, entry.encoder is not None)
    try:
        output, errors = process.communicate(json.dumps(dataclasses.asdict(entry)), timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel, on a file system that hangs
            process.communicate(timeout=5)
        raise _Unrecorded(f"no answer within {timeout:g} s") from None
    try:
        return dict(json.loads(output.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        last = (errors.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
        raise _Unrecorded(last) from None


def _save(entry: Record, root: Path, reason: str) -> str:
    """Save the record to the outbox; returns the message for the user."""
    address = without_secrets(store.address(root))
    trouble = f"{entry.name} is not recorded in MLflow ({address}): {reason}. Its files are complete"
    try:
        records.save(entry, root, reason)
    except (UserError, OSError) as error:
        return f"{trouble}, but the record is lost: {error}"
    command = f"uv run python -m {__name__} {shlex.quote(str(root))} --replay"
    return f"{trouble}, and the record is kept: the next stage writes it, or `{command}`."
