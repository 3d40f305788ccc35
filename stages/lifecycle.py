"""Life of every stage: lock, Prefect run, exit status, memory."""

import contextlib
import ctypes
import errno
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from pipelines import flow as prefect_flow
from pretextbench.base.files import REASONS, explain
from pretextbench.base.names import plain
from pretextbench.errors import UserError
from pretextbench.project import layout, locks
from pretextbench.project.environment import recorded
from pretextbench.project.settings import check_versions
from stages import inputs

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
LARGEST = 32 * 2**20  # bytes; glibc refuses a higher M_MMAP_THRESHOLD


def keep_freed() -> bool:
    """Ask glibc to keep freed blocks of up to 32 MiB; False where the allocator is another one."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(TRIM_THRESHOLD, 2**31 - 1) and mallopt(MMAP_THRESHOLD, LARGEST))


MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG}


class Stopped(BaseException):
    """SIGTERM. Not an Exception, so that nothing that handles errors swallows it."""


def run(stage: str, work: Callable[[], None], *, flow: bool = True) -> int:
    """Do the work of `stage` as a Prefect flow and return the exit status of the process.

    `flow=False` is for a stage that runs on every `dvc repro`, also when nothing is to be done: importing Prefect
    alone would cost 2 s of the 6 s that a run without work may take.
    """

    def stoppable() -> None:
        _on_sigterm()  # inside the flow: Prefect has a handler of its own, which would end the run its own way
        check_versions(stage)
        work()
        inputs.check()

    name = run_name(stage, sys.argv[1:])
    try:
        inputs.begin()
        with single_process(name):
            if flow and not recorded():
                prefect_flow.recorded(stage, name, stoppable, layout.root())
            else:
                stoppable()
    except BaseException as error:
        return exit_status(error)
    return 0


@contextlib.contextmanager
def single_process(name: str) -> Iterator[None]:
    """Keep a second process from writing what this one writes: a killed `dvc repro` leaves its stage at work.

    Raises:
        UserError: there is one (named), or the project's folder cannot be written.
    """
    path = layout.stage_lock(re.sub(r"[^\w-]+", "-", name))
    try:
        lock = locks.take_soon(path)
    except OSError as error:
        raise explain(error, path) from error
    if lock is None:
        raise UserError(
            f"{name} is at work here already, as process {path.read_text() or 'unknown'}, perhaps left behind by a "
            "`dvc repro` that was killed. Wait until it is done, or end it with `kill` and that number."
        )
    lock.write(str(os.getpid()))
    try:
        yield
    finally:
        lock.close()


def run_name(stage: str, arguments: list[str]) -> str:
    """`pretrain simclr-0`: after the DVC stage `pretrain@simclr-0` where DVC runs it, else after the arguments."""
    _, _, item = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")
    return f"{stage} {item or '-'.join(argument for argument in arguments if not argument.startswith('-'))}".strip()


def exit_status(error: BaseException) -> int:
    """Print the message for the error that ended a stage, and return its exit status."""
    if isinstance(error, UserError):
        return _say(str(error), 2)
    if isinstance(error, OSError) and error.errno in MACHINE:
        return _say(f"{error.filename or 'writing'}: {REASONS[error.errno]}.", 2)
    if isinstance(error, KeyboardInterrupt):
        return _say("stopped by Ctrl-C. `dvc repro` goes on from here.", 130)
    if isinstance(error, Stopped):
        return _say("stopped by SIGTERM. `dvc repro` goes on from here.", 143)
    if isinstance(error, SystemExit):  # argparse has printed its message
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    traceback.print_exception(error)
    return 1


def _say(message: str, code: int) -> int:
    print(f"error: {plain(message)}", file=sys.stderr)
    return code


def _on_sigterm() -> None:
    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        raise Stopped

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)
