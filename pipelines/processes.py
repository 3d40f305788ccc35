"""The processes of a pipeline run: each in a session of its own, all stopped together."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pretextbench.base.files import private_log

TICK = 0.05  # seconds between two looks at what still runs


class Stopping(Exception):
    """The run is being stopped: nothing new is started."""


def threads(jobs: int) -> dict[str, str]:
    """The share of the cores of one of several stages, unless the user has set it.

    Without it the threads of two trainings wait for each other: an eighth of the speed (`benchmarks/NOTES.md`).
    """
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // jobs))}


class Children:
    """Starts processes and stops all of them: Ctrl-C to each group, then, after `grace` seconds, SIGKILL.

    Their output goes to a file and not through a pipe, so that a child outlives the death of this process: a training
    of hours is not lost with the terminal. `keep` are file descriptors that they inherit, such as the lock of the run.
    """

    def __init__(self, root: Path, keep: tuple[int, ...] = (), grace: float = 20.0) -> None:
        self.root, self.keep, self.grace = root, keep, grace
        self.stopping = threading.Event()
        self.stop_remote: Callable[[], None] = lambda: None  # stops stages in other processes
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, command: list[str], log: Path, env: dict[str, str], keep: tuple[int, ...] = ()) -> int:
        """Run `command` to its end with its output in `log`; returns its exit status. It inherits `keep` too.

        When `command` alone is killed, the processes that it has started continue. They are waited for too, so that no
        second process does the same work.

        Raises:
            Stopping: `stop` was called before it could start.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with private_log(log) as stream:
            process = self._start(command, stream.fileno(), env, keep)
        try:
            status = process.wait()
            while self._at_work(process):
                time.sleep(TICK)
            return status
        finally:
            with self._lock:
                self._running.discard(process)

    def _start(
        self, command: list[str], output: int, env: dict[str, str], keep: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self.stopping.is_set():
                raise Stopping
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(*self.keep, *keep),
            )
            self._running.add(process)
            return process

    def stop(self) -> None:
        """Stop everything; returns when nothing runs any more. Called again meanwhile, it kills at once."""
        impatient = self.stopping.is_set()
        with self._lock:
            self.stopping.set()
        self.stop_remote()
        self._signal(signal.SIGKILL if impatient else signal.SIGINT)
        end = time.monotonic() + self.grace
        while self._alive() and time.monotonic() < end:
            time.sleep(TICK)
        self._signal(signal.SIGKILL)

    def _alive(self) -> list[subprocess.Popen[bytes]]:
        with self._lock:
            return [process for process in self._running if self._at_work(process)]

    @staticmethod
    def _at_work(process: "subprocess.Popen[bytes]") -> bool:
        status = process.poll()
        return status is None or (status < 0 and lives(process.pid))

    def _signal(self, number: signal.Signals) -> None:
        for process in self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)


def lives(group: int) -> bool:
    """Whether a process group has a member that runs; one that has ended and has not been reaped does not count."""
    for number in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(number) == group and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                return True
    return False
