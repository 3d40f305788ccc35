"""A toy DVC project whose stages are one-line shell commands, and one Prefect server for all tests that need one."""

import contextlib
import functools
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pretextbench.project import layout
from tests.zygote import Popen, zygote

CODE = Path(__file__).resolve().parents[2]
Toy = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of stages that a test runs in its own process, and a name for them that is not pytest's arguments."""
    monkeypatch.setattr(layout, "SCRATCH", tmp_path / ".scratch")
    monkeypatch.setattr(sys, "argv", ["stages"])


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """`toy(dvc_yaml)`: a project without git that holds this pipeline; the working folder."""

    def make(dvc_yaml: str) -> Path:
        monkeypatch.chdir(tmp_path)
        lay_out(tmp_path, dvc_yaml)
        return tmp_path

    return make


def lay_out(root: Path, dvc_yaml: str) -> None:
    """Write the files of a DVC project without git."""
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (root / "dvc.yaml").write_text(dvc_yaml)


def start(project: Path, module: str, *arguments: str, **env: str) -> "subprocess.Popen[str]":
    """Start `python -m module` in a project, in a process group of its own, as a terminal does, from the zygote."""
    return Popen(
        place(),
        module,
        *arguments,
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(CODE), "PRETEXTBENCH_SERVER_LINGER": "0.5", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


_open = contextlib.ExitStack()  # what lives as long as the session


@pytest.fixture(autouse=True, scope="session")
def _closed() -> Iterator[None]:
    with _open:
        yield


@functools.cache
def place() -> Path:
    """The place of the zygote of the session, which starts with the first test that needs it."""
    return _open.enter_context(zygote(Path(tempfile.mkdtemp(prefix="zygote-")), CODE))


def pipeline(project: Path, url: str, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run the graph flow to its end."""
    with start(
        project, "pipelines.run", *arguments, PREFECT_API_URL=url, PRETEXTBENCH_BACK_OFF="0.1", **env
    ) as process:
        out, err = process.communicate(timeout=400)  # on a busy machine
    return subprocess.CompletedProcess([], process.returncode, out, err)


@contextlib.contextmanager
def cluster(folder: Path, copies: bool = False) -> Iterator[str]:
    """The address of a Dask scheduler with one worker in `folder`, as a user starts them by hand.

    `copies`: they are of the zygote, and the worker is one process, without the one that looks after it.
    """
    file, log, processes = folder / "scheduler.json", folder / "dask.log", list["subprocess.Popen[str]"]()
    with log.open("w") as stream:
        for arguments in (["scheduler", "--host", "127.0.0.1", "--port", "0"], ["worker", "--nthreads", "2"]):
            words = ["dask", *arguments, "--no-dashboard", "--scheduler-file", str(file)]
            words += ["--no-nanny"] if copies and arguments[0] == "worker" else []
            begin = functools.partial(Popen, place()) if copies else _popen
            env = {**os.environ, "PYTHONPATH": str(CODE)}
            processes.append(begin(*words, cwd=folder, env=env, stdout=stream, stderr=stream, text=True))
            wait_for(file)
    try:
        end = time.monotonic() + 60
        while "Registered to" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield re.findall(r"tcp://[\d.:]+", file.read_text())[0]
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def _popen(*words: str, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-m", *words], **options)


def results(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """Stage -> how it ended, from the printed table."""
    rows = done.stdout.partition("\nstage ")[2].splitlines()[1:]
    return {m[1]: m[2] for row in rows if (m := re.fullmatch(r"(\S+)  +(.+?)  +[\d.]+(  .*)?", row))}


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def server_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the server that all tests of a worker share."""
    return tmp_path_factory.mktemp("server")


def inherit_database(home: Path, project: Path, folder: str = ".prefect") -> None:
    """Give a project the database of another one: creating one takes twice as long as starting on it."""
    (project / folder).mkdir()
    old, new = sqlite3.connect(home / ".prefect" / "prefect.db"), sqlite3.connect(project / folder / "prefect.db")
    old.backup(new)
    old.close()
    new.close()


@pytest.fixture(scope="session")
def server_url(server_home: Path, shared: Path) -> Iterator[str]:
    """The API address of a server that lives as long as the tests; the first worker has its database created."""
    first = shared / "first-server"
    with contextlib.ExitStack() as stack:
        with FileLock(shared / "first-server.lock"):
            if created := first.exists():
                inherit_database(first, server_home)
            url = stack.enter_context(serving(server_home))
            if not created:
                first.mkdir()
                inherit_database(server_home, first)
        yield url


@contextlib.contextmanager
def serving(project: Path) -> Iterator[str]:
    """The API address of the server of a project: found and kept as a stage would."""
    code = "import sys; from pathlib import Path; from pipelines import server; url = server.begin(Path('.')); "
    code += "print(url if server.ready(url, 120) else '', flush=True); sys.stdin.read()"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_API")}
    env |= {"PYTHONPATH": str(CODE), "PRETEXTBENCH_SERVER_LINGER": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, env=env, stdin=pipe, stdout=pipe, text=True
    ) as user:
        assert user.stdout is not None
        url = user.stdout.readline().strip()
        assert url, (project / ".prefect" / "server.log").read_text()
        yield url
        user.communicate("")
