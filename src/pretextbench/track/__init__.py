"""The record of a comparison in MLflow.

A stage describes one run as a `Record` (plain data) and passes it to `record`, which saves it to the outbox
(`track.outbox`) and waits until the recorder has written it. The recorder (`track.recorder`) is one process for all
stages of a project: importing MLflow and opening a store takes 5 s. `start_recorder` starts it while the stage imports
torch. A store that hangs, fails or crashes affects the recorder only, never a result.

The files of the stage are the source of truth. A record that cannot be written stays in the outbox. It is written when
the store answers again and a stage is at work, or by `python -m pretextbench.track ROOT --replay`.
"""

import contextlib
import dataclasses
import logging
import shlex
import time
from pathlib import Path
from typing import Any

from pretextbench.errors import UserError
from pretextbench.project.addresses import without_secrets
from pretextbench.project.environment import quiet_tools
from pretextbench.project.locks import Lock, is_held, take
from pretextbench.track import store
from pretextbench.track.outbox import TIMEOUT, Outbox, keep, save
from pretextbench.track.records import EXPERIMENT, Record, Scalar

__all__ = ["EXPERIMENT", "TIMEOUT", "Record", "Scalar", "follow", "keep_recorder", "record", "start_recorder"]

quiet_tools()  # MLflow reads its switches when it is imported

PAUSE = 0.05  # seconds between two looks for an answer
log = logging.getLogger(__name__)


class _Unrecorded(Exception):
    """The recorder has not written a record; the message is the reason."""


_working: dict[Path, Lock] = {}  # file `users` of an outbox -> lock of this process
_following: dict[Path, tuple[Path, Lock]] = {}  # root of a project -> file `follow` and lock of this process


def keep_recorder(root: Path) -> None:
    """Keep the recorder of this project alive until this process ends, if there is one."""
    outbox = Outbox(root)
    if outbox.users not in _working:
        with contextlib.suppress(OSError):  # `record` warns
            lock = take(outbox.users, shared=True)
            assert lock is not None
            _working[outbox.users] = lock


def start_recorder(root: Path) -> None:
    """Start the recorder if there is none, so that a later `record` does not wait for it."""
    keep_recorder(root)
    with contextlib.suppress(OSError):  # `record` tries again, and warns
        _start(Outbox(root))


def follow(root: Path, folder: Path) -> None:
    """Let the recorder send the spool in `folder` to MLflow, until `record` is called or this process ends.

    The training that writes the spool runs in this process or in one that it starts. See `track.spool`.
    """
    start_recorder(root)
    with contextlib.suppress(OSError):  # as above
        _following[root.resolve()] = Outbox(root).follow(folder.resolve())


def record(entry: Record, root: Path, timeout: float = TIMEOUT) -> str | None:
    """Write one run to MLflow and return its run id. When that fails, keep the record in the outbox and return None.

    The run id is empty where another process has written it.
    A failure of the store costs one warning and at most `timeout` seconds; it raises nothing.
    """
    keep_recorder(root)
    outbox = Outbox(root)
    entry = dataclasses.replace(entry, reported=entry.reported or time.time())
    trouble = f"{entry.name} is not recorded in MLflow ({without_secrets(store.address(root))})"
    if following := _following.pop(outbox.root, None):
        following[0].unlink(missing_ok=True)
        following[1].close()
    try:
        path = save(entry, root, outbox.identity)
    except (UserError, OSError) as error:
        log.warning(f"{trouble}. Its files are complete, but the record is lost: {error}")
        return None
    try:
        answer = _answer(outbox, path, timeout)
    except (_Unrecorded, OSError) as error:
        keep(path)
        command = f"uv run python -m {__name__} {shlex.quote(str(outbox.root))} --replay"
        log.warning(
            f"{trouble}: {without_secrets(str(error))}. Its files are complete, and the record is kept: the next stage "
            f"writes it, or `{command}`."
        )
        return None
    for line in answer["notes"]:
        log.warning(line)
    return str(answer["run_id"])


def _start(outbox: Outbox) -> bool:
    """Start the recorder; False if it is at work."""
    lock = take(outbox.lock, wait=False)
    if lock is not None:
        outbox.start(lock)
    return lock is not None


def _answer(outbox: Outbox, path: Path, timeout: float) -> dict[str, Any]:
    """The answer of the recorder to the record in `path`.

    Raises:
        _Unrecorded: the record is not written, or a recorder that was started here has ended.
    """
    earlier_outage, log_size, started = outbox.outage(), outbox.log_size(), False
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        recorder_ended, removed = started and not is_held(outbox.lock), not path.exists()
        if answer := outbox.take_answer(path):
            if "error" in answer:
                raise _Unrecorded(answer["error"])
            path.unlink(missing_ok=True)
            return answer
        if removed:  # another process has written it
            return {"run_id": "", "notes": []}
        if recorder_ended:
            raise _Unrecorded(outbox.last_line(log_size))
        started = _start(outbox) or started
        if reason := earlier_outage or outbox.outage():
            raise _Unrecorded(reason)
        time.sleep(PAUSE)
    reason = f"no answer within {timeout:g} s"
    outbox.note_outage(reason)
    raise _Unrecorded(reason)
