"""Processes that are copies of one: `Popen` for `python -m MODULE`, without the seconds that its imports take.

The zygote has imported what these modules import of other people, and is copied by fork for each process. A copy has
the arguments, environment, streams and working folder of its own, imports the project's modules itself, and Prefect
reads its settings when it is imported, as in a new interpreter. What a start itself does, tests look at in real ones.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

NUMBER = struct.Struct("!q")
OWN = ("pipelines", "pretextbench", "stages")  # they read the environment when they are imported
PRELOADED = ("pipelines.graph_run", "pipelines.graph_flow", "prefect_dask.task_runners", "distributed")


class Popen(subprocess.Popen[str]):
    """`subprocess.Popen` of `[sys.executable, "-m", MODULE, ...]`, of which the zygote at `place` makes the process."""

    def __init__(self, place: Path, module: str, *arguments: str, **options: Any) -> None:
        self._zygote = socket.socket(socket.AF_UNIX)
        self._zygote.connect(str(place))
        super().__init__([module, *arguments], **options)

    def _execute_child(self, args: list[str], *settings: Any) -> None:  # type: ignore[override]
        """In place of fork and exec; `settings` as `subprocess` gives them."""
        cwd, env, pipes = settings[4], settings[5], settings[9:15]  # pipes: both ends of stdin, stdout and stderr
        streams = [end if end != -1 else own for own, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        request = json.dumps([args, str(cwd), dict(env)]).encode()
        socket.send_fds(self._zygote, [NUMBER.pack(len(request))], streams)
        self._zygote.sendall(request)
        self.pid, self._child_created = _number(self._zygote), True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, _deadstate: object = None) -> int | None:  # type: ignore[override]
        if self.returncode is None and (ended := self._try_wait(os.WNOHANG))[0]:
            self._handle_exitstatus(ended[1])
        return self.returncode

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if flags and not select.select([self._zygote], [], [], 0)[0]:
            return 0, 0
        return self.pid, _number(self._zygote)

    def _handle_exitstatus(self, status: int, *rest: Any) -> None:
        super()._handle_exitstatus(status, *rest)
        self._zygote.close()


def _number(stream: socket.socket) -> int:
    return int(NUMBER.unpack(stream.recv(NUMBER.size, socket.MSG_WAITALL))[0])


@contextlib.contextmanager
def zygote(folder: Path, code: Path) -> Iterator[Path]:
    """The place of a zygote for the project in `code`, as long as the context, which removes `folder`."""
    place = folder / "zygote.sock"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    command = [sys.executable, "-m", "tests.zygote", str(place)]
    with subprocess.Popen(command, cwd=code, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline(), "it does not start"
        yield place
        process.communicate()
        place.unlink()
        folder.rmdir()


class PrefectAsNew:
    """Gives Prefect back as it was imported before, with settings that it reads anew."""

    def __init__(self) -> None:
        self.modules = {name: sys.modules.pop(name) for name in sorted(_of("prefect"))}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "prefect":
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        sys.modules.update(self.modules)
        self.modules["prefect.context"].refresh_global_settings_context()
        return ModuleSpec(name, self, origin=self.modules[name].__file__, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        spec.submodule_search_locations = list(self.modules[spec.name].__path__)
        return self.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """It has been."""


def _of(*packages: str) -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in packages]


def _serve(listener: socket.socket) -> list[str] | None:
    """Copy this process for each connection until stdin ends; in a copy the module and its arguments."""
    children: dict[int, socket.socket] = {}
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    while True:
        ready = select.select([listener, 0, ended], [], [])[0]
        if 0 in ready:
            return None
        if ended in ready:
            os.read(ended, 100)
            with contextlib.suppress(ChildProcessError):
                while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                    with children.pop(reaped[0]) as connection, contextlib.suppress(OSError):
                        connection.sendall(NUMBER.pack(reaped[1]))
        if listener in ready:
            connection, _ = listener.accept()
            size, streams, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
            request = connection.recv(NUMBER.unpack(size)[0], socket.MSG_WAITALL)
            if not (child := os.fork()):
                _become(streams, [listener, connection, *children.values()], (ended, wake))
                return _taken(*json.loads(request))
            children[child] = connection
            connection.sendall(NUMBER.pack(child))
            for number in streams:
                os.close(number)


def _become(streams: list[int], sockets: list[socket.socket], pipe: tuple[int, int]) -> None:
    """Be a process of its own session, with these streams and nothing of the zygote's."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for open_socket in sockets:
        open_socket.close()
    for number in (*streams, *pipe):
        os.close(number)


def _taken(arguments: list[str], folder: str, environment: dict[str, str]) -> list[str]:
    """Take over the working folder, the environment and, from it, the search path."""
    own = [str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    theirs = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:] = [*theirs, *(path for path in sys.path if path not in own)]
    importlib.invalidate_caches()
    sys.meta_path.insert(0, PrefectAsNew())  # type: ignore[arg-type]
    return arguments


def main(place: str) -> None:
    """Be the zygote; a copy runs its module to the end of the interpreter."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(8)
    for name in PRELOADED:
        importlib.import_module(name)
    for name in _of(*OWN):
        del sys.modules[name]
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    if arguments := _serve(listener):
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1])
