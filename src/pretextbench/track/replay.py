"""Writing the records that were kept: by hand, or beside the stages in a process that none of them waits for."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from pretextbench.track import PATIENCE, kept

LOG = "replay.log"  # beside the kept records: what the replays that nobody watches have said
Say = Callable[[str], None]


def follow(root: Path) -> list[str]:
    """Start a replay when there is something kept; returns a line about it.

    A process of its own, so that the recorder can end, for which the stage waits.
    """
    count, log = len(kept.waiting(root)), kept.folder(root) / LOG
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
    if not kept.waiting(root):
        say("no record is kept")
        return 0
    try:
        with filelock.FileLock(kept.folder(root) / ".lock", timeout=0), _bounded(say) as again:
            from pretextbench.track.deliver import deliver_kept  # MLflow takes 4 s, and the lock may be another's

            deliver_kept(root, say, again)
    except filelock.Timeout:
        say(f"another replay is at work here: see {kept.folder(root) / LOG}")
    return len(kept.waiting(root))


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
