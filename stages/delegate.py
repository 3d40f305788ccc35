"""The way of a stage to the host: `python -m stages` lets the process that is ready do the work, where there is one.

It sends its arguments, environment and streams, gets the number of the process that does the work, and passes signals
on to it. See `stages.host`.
"""

import contextlib
import hashlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import pretextbench

LINGER = "PRETEXTBENCH_HOST_LINGER"  # seconds for which the host waits for another run; 0: no host
FOLDER = Path(".scratch/host")  # relative: the address of a socket has 107 characters at most
OWN = (  # of one stage or shell: they change no import
    "DVC_", "PREFECT__", "PREFECT_HOME", "PREFECT_API_URL", "PRETEXTBENCH_RECORDED", "PRETEXTBENCH_STATUS",
    "PWD", "OLDPWD", "SHLVL", "_",
)  # fmt: skip
NUMBER = struct.Struct("!i")  # a message of the host, and the size of a request
SHELLS = 3  # one more than the most between DVC and a stage
INVENTORY = "stages inventory"  # takes less than the start of a host, and runs where nothing is to be done
STARTUP, PAUSE = 60.0, 0.02  # seconds that a host may take to start; between two looks for it
PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def key(environment: Mapping[str, str]) -> str:
    """Name of the host for this code, Python and environment: with another of them, modules would be others."""
    state = hashlib.sha256(repr((sys.version, sys.executable, os.getcwd(), os.nice(0))).encode())
    state.update(repr((sorted(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_AS))).encode())
    state.update(repr(sorted(item for item in environment.items() if not item[0].startswith(OWN))).encode())
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "stages", here / "pipelines", Path(pretextbench.__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            state.update(f"{path} {path.stat().st_mtime_ns} {path.stat().st_size}\n".encode())
    for folder in map(Path, sys.path):
        with contextlib.suppress(OSError):  # an installation changes the time of its folder, and a run that of its own
            state.update(f"{folder} {'' if folder in (here, Path.cwd()) else folder.stat().st_mtime_ns}\n".encode())
    return state.hexdigest()[:16]


def linger_seconds() -> float:
    """Seconds for which a host waits for another run; 0 where there shall be none.

    Also 0 where there are CUDA devices: a process that has used one cannot be copied, and a module might.
    """
    with contextlib.suppress(ValueError):
        return 0.0 if Path("/dev/nvidiactl").exists() else float(os.environ.get(LINGER, "15"))
    return 0.0


def start(stage: str) -> None:
    """Start the host of this environment in the background, if DVC runs the stage and there is none."""
    from pretextbench.project.locks import is_held

    if f"stages {stage}" == INVENTORY or not os.environ.get("DVC_STAGE") or not linger_seconds():
        return
    name = key(os.environ)
    with contextlib.suppress(OSError):
        if is_held(FOLDER / f"{name}.lock"):
            return
    subprocess.Popen(
        [sys.executable, "-m", "stages.host", name, str(_dvc())],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _dvc() -> int:
    """The process of the DVC that has started this stage: the first above it that is no shell. 0 where none has."""
    process = os.getppid()
    with contextlib.suppress(OSError, ValueError):
        for _ in range(SHELLS if os.environ.get("DVC_STAGE") else 0):
            if os.path.basename(Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[0]).startswith(b"python"):
                return process
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def run(arguments: list[str]) -> int | None:
    """Let the host run a stage, `arguments` as in sys.argv; its exit status, or None where there is no host.

    A stage that was killed by a signal ends this process by the same.
    """
    if not FOLDER.is_dir() or not linger_seconds():
        return None
    mask = os.umask(0)
    os.umask(mask)
    request = json.dumps([arguments, dict(os.environ), mask, _dvc()]).encode()
    with socket.socket(socket.AF_UNIX) as host:
        try:
            _connect(host, FOLDER / key(os.environ), 0.0 if arguments[0] == INVENTORY else STARTUP)
            signal.pthread_sigmask(signal.SIG_BLOCK, PASSED)  # until it is known to which process they are passed on
            socket.send_fds(host, [NUMBER.pack(len(request))], [0, 1, 2])
            host.sendall(request)
            if (process := _number(host)) is not None:
                return _wait(host, process)
        except OSError:
            pass
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)
    return None


def _connect(host: socket.socket, place: Path, patience: float) -> None:
    """Connect to the host at `place`; one that starts is waited for, which takes less than to import the same here.

    Raises:
        OSError: there is none.
    """
    from pretextbench.project.locks import is_held

    end = time.monotonic() + patience
    while True:
        try:
            return host.connect(str(place.with_suffix(".sock")))
        except (FileNotFoundError, ConnectionRefusedError):
            if not patience or time.monotonic() > end or not is_held(place.with_suffix(".lock")):
                raise
        time.sleep(PAUSE)


def _wait(host: socket.socket, process: int) -> int:
    def pass_on(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    for number in PASSED:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED)
    status = _number(host)
    if status is None:
        print("error: the host of the stages was killed. Start the stage again.", file=sys.stderr)
        return 1
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _number(stream: socket.socket) -> int | None:
    """The next message; None when the other side has gone."""
    data = stream.recv(NUMBER.size, socket.MSG_WAITALL)
    return NUMBER.unpack(data)[0] if len(data) == NUMBER.size else None
