"""Host of the stages: one process that has imported what stages import, and is copied for each of them by fork.

Importing torch, Fabric, Kornia and Prefect takes longer than the work of most stages, and a run has about twenty. The
first stage that DVC starts also starts the host; later ones find it ready (`stages.delegate`). A stage that finds none
imports for itself, so that the host saves time and nothing depends on it. It ends some seconds after the last run: a
stage that does not use the host may take minutes, and the next one would start another host.

The host tells `python -m stages` how its process has ended, and kills the process when `python -m stages` was killed.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

from stages.delegate import FOLDER, NUMBER, PASSED, key, linger_seconds

PRELOADED = (
    "torch", "prefect", "kornia", "sklearn.manifold", "sklearn.decomposition",
    "stages.start", "stages.prepare", "stages.views", "stages.augment", "stages.pretrain", "stages.evaluate",
    "stages.compare",
)  # fmt: skip
FREED = ("lightning_fabric",)  # imports triton, which prints a list of what is not freed at the end
TICK, PATIENCE = 0.05, 5.0  # seconds between two looks at the children; for a request that has begun


class Request(NamedTuple):
    """A stage that is to be run."""

    connection: socket.socket
    streams: list[int]  # stdin, stdout, stderr
    arguments: list[str]
    environment: dict[str, str]
    mask: int
    run: int  # the process of DVC; 0: unknown

    @classmethod
    def of(cls, connection: socket.socket) -> "Request":
        """Receive it.

        Raises:
            OSError, ValueError, struct.error: the other side has gone.
        """
        connection.settimeout(PATIENCE)
        size, streams, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
        data = connection.recv(NUMBER.unpack(size)[0], socket.MSG_WAITALL)
        return cls(connection, streams, *json.loads(data))

    def take_over(self) -> None:
        """Take over its arguments, environment and streams."""
        os.setpgid(0, 0)  # a group, to be killed with all that the stage starts
        self.connection.close()
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
        sys.argv = self.arguments
        os.environ.clear()
        os.environ.update(self.environment)
        os.umask(self.mask)
        sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]

    def close(self) -> None:
        """Close the streams."""
        for stream in self.streams:
            os.close(stream)


class Host:
    """The host with its listening socket; each child has the connection of its stage.

    `runs`: by process of DVC, a descriptor that can be read when it has ended.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.children: dict[int, socket.socket] = {}
        self.runs: dict[int, int] = {}

    def follow(self, run: int) -> None:
        """Stay at least as long as the process `run`; one that is unknown or has ended is not followed."""
        if run and run not in self.runs:
            with contextlib.suppress(OSError):
                self.runs[run] = os.pidfd_open(run)

    def serve(self, linger: float) -> bool:
        """Serve until no run or stage was there for `linger` seconds; True in a copy that is to run a stage."""
        end = time.monotonic() + linger
        while self.children or self.runs or time.monotonic() < end:
            watched: list[socket.socket | int] = [self.listener, *self.children.values(), *self.runs.values()]
            ready, _, _ = select.select(watched, [], [], TICK)
            if self.listener in ready and self._fork():
                return True
            for process in [number for number, connection in self.children.items() if connection in ready]:
                with contextlib.suppress(ProcessLookupError):  # the process that waits for it was killed
                    os.killpg(process, signal.SIGKILL)
            if self._reap() or self._left(ready) or self.children:
                end = time.monotonic() + linger
        return False

    def _left(self, ready: "list[socket.socket | int]") -> int:
        """Forget the runs that have ended; returns their number."""
        ended = [run for run, descriptor in self.runs.items() if descriptor in ready]
        for run in ended:
            os.close(self.runs.pop(run))
        return len(ended)

    def _reap(self) -> int:
        """Report the children that have ended; returns their number."""
        count = len(self.children)
        for process in list(self.children):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                with contextlib.suppress(OSError), self.children.pop(process) as connection:
                    connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
        return count - len(self.children)

    def _fork(self) -> bool:
        """Fork for the next request; True in the copy."""
        try:
            request = Request.of(self.listener.accept()[0])
        except (OSError, ValueError, struct.error):
            return False
        signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)  # in the copy until `work`, which answers them
        process = os.fork()
        if not process:
            self.listener.close()
            for connection in self.children.values():
                connection.close()
            for descriptor in self.runs.values():
                os.close(descriptor)
            request.take_over()
        request.close()
        if process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)
            self.children[process] = request.connection
            self.follow(request.run)
            with contextlib.suppress(OSError):
                request.connection.sendall(NUMBER.pack(process))
        return not process


def main(name: str, run: int = 0) -> int:
    """Be the host `name` for the DVC of process `run`, and in its copies a stage; returns the exit status."""
    from pipelines import server
    from pretextbench.project.locks import take

    lock, environment = take(FOLDER / f"{name}.lock", wait=False), dict(os.environ)
    if lock is None or key(environment) != name:
        return 0
    os.environ.setdefault("PREFECT_HOME", str(server.folder(Path())))
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()
    for module in FREED:
        importlib.import_module(module)
    if key(environment) != name:  # a file was edited meanwhile
        return 0
    address = FOLDER / f"{name}.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        mask = os.umask(0o177)
        listener.bind(str(address))
        os.umask(mask)
        listener.listen(64)
        host = Host(listener)
        host.follow(run)
        is_copy = host.serve(linger_seconds())
    if not is_copy:
        address.unlink(missing_ok=True)
        return 0
    lock.close()
    return work()


def work() -> int:
    """Run the stage that sys.argv names, in this process; returns its exit status."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)
        from stages.start import main as run_stage  # here: Ctrl-C may come while this is imported

        return run_stage(sys.argv[0].removeprefix("stages "))
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C. `dvc repro` goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    gc.disable()
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
