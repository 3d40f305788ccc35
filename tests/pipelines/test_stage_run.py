"""How a stage starts and ends: one message for a mistake, an exit status, a record that never costs a result."""

import errno
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines import flow, server
from pretextbench.errors import UserError
from pretextbench.project.environment import RECORDED
from stages import lifecycle as stage
from tests.pipelines.conftest import inherit_database, start

# A stage for subprocesses: waits for the file `go` if told so, leaves a trace of every time it works.
SCRIPT = """
import sys, time
from pathlib import Path
from pretextbench.errors import UserError
from stages.lifecycle import run

def main():
    with open("worked", "a") as trace:
        trace.write("x")
    how = sys.argv[1]
    if how == "wait":
        while not Path("go").exists():
            time.sleep(0.02)
    if how == "mistake":
        raise UserError("lr is -1. Allowed: above 0.")

if __name__ == "__main__":
    raise SystemExit(run("toy", main))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "toy.py").write_text(SCRIPT)
    return tmp_path


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("lr is -1. Allowed: above 0."), 2, "error: lr is -1. Allowed: above 0.\n"),
        (OSError(errno.ENOSPC, "x", "/a/b"), 2, "error: /a/b: no space left on the device"),
        (OSError(errno.EROFS, "x"), 2, "error: writing: the file system is read-only"),
        (KeyboardInterrupt(), 130, "error: stopped by Ctrl-C."),
        (stage.Stopped(), 143, "error: stopped by SIGTERM."),
        (SystemExit(2), 2, ""),
        (SystemExit("words"), 1, ""),
        (SystemExit(), 0, ""),
    ],
)
def test_what_ends_a_stage_is_told_in_one_message(error: BaseException, code: int, message: str, capsys: Any) -> None:
    assert stage.run("toy", raising(error), flow=False) == code
    shown = capsys.readouterr().err
    assert shown.startswith(message)
    assert shown.count("\n") == (1 if message else 0)


def test_a_stage_is_not_run_twice_at_once(capsys: Any) -> None:
    second: list[int] = []
    assert stage.run("toy", lambda: second.append(stage.run("toy", lambda: None, flow=False)), flow=False) == 0
    assert second == [2]
    assert f"error: toy is at work here already, as process {os.getpid()}" in capsys.readouterr().err
    assert stage.run("toy", lambda: None, flow=False) == 0, "nothing is held any more"


def test_a_fault_of_ours_shows_where_it_is(capsys: Any) -> None:
    assert stage.run("toy", raising(FileNotFoundError("x")), flow=False) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_stage_is_named_after_its_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert stage.run_name("pretrain", ["simclr", "0"]) == "pretrain simclr-0"
    assert stage.run_name("prepare", []) == "prepare"
    monkeypatch.setenv("DVC_STAGE", "pretrain-control@supervised-0")
    assert stage.run_name("pretrain", ["x"]) == "pretrain supervised-0"
    monkeypatch.setenv("DVC_STAGE", "sub/dvc.yaml:prepare")
    assert stage.run_name("prepare", []) == "prepare"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is found and answers, without any."""
    monkeypatch.delenv(RECORDED, raising=False)
    monkeypatch.setattr(server, "begin", lambda root: "http://x/api")
    monkeypatch.setattr(server, "ready", lambda url: True)


@pytest.mark.usefixtures("quick")
def test_work_is_done_when_prefect_fails_before_it(monkeypatch: Any, capsys: Any) -> None:
    def broken(name: str, run: str, once: flow.Once) -> None:
        raise RuntimeError("Body() got an unexpected keyword")

    done: list[int] = []
    monkeypatch.setattr(flow, "_as_flow", broken)
    assert stage.run("toy", lambda: done.append(1)) == 0
    assert done == [1]
    assert capsys.readouterr().err == (
        "warning: this run is not recorded in Prefect: Prefect: RuntimeError: Body() got an unexpected keyword\n"
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("error", "code"), [(None, 0), (UserError("no"), 2), (KeyboardInterrupt(), 130)])
def test_work_is_not_done_twice_when_prefect_fails_after_it(error: Any, code: int, monkeypatch: Any) -> None:
    def late(name: str, run: str, once: flow.Once) -> None:
        once()
        raise ConnectionError("gone")

    done: list[int] = []

    def work() -> None:
        done.append(1)
        if error:
            raise error

    monkeypatch.setattr(flow, "_as_flow", late)
    assert stage.run("toy", work) == code
    assert done == [1]


@pytest.mark.usefixtures("quick")
def test_work_is_done_when_no_server_answers(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(server, "ready", lambda url: False)
    done: list[int] = []
    assert stage.run("toy", lambda: done.append(1)) == 0
    assert done == [1]
    assert capsys.readouterr().err.count("warning:") == 1


def test_below_the_graph_flow_prefect_is_not_imported(project: Path) -> None:
    code = "import sys; sys.argv = ['toy', '']; import runpy\ntry: runpy.run_path('toy.py', run_name='__main__')\n"
    code += "except SystemExit as end: sys.exit(end.code or 'prefect' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(server.CODE), RECORDED: "yes"}
    assert subprocess.run([sys.executable, "-c", code], cwd=project, env=env).returncode == 0
    assert not (project / ".prefect").exists()


def test_an_unknown_stage_is_refused_with_the_nearest(project: Path) -> None:
    process = start(project, "stages", "pretrian")
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.startswith("error: There is no stage 'pretrian'. Did you mean 'pretrain'? Stages: inventory, ")


def flow_runs(url: str) -> list[tuple[str, str, str]]:
    """Name, state and message of every flow run, from the server itself."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
    connection.request("POST", "/api/flow_runs/filter", "{}", {"content-type": "application/json"})
    result = json.load(connection.getresponse())
    connection.close()
    return [(run["name"], run["state"]["type"], run["state"]["message"]) for run in result]


def alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_a_stage_is_a_flow_run(project: Path, server_url: str) -> None:
    """Also the test that Prefect's server starts at all with the installed FastAPI."""
    ends = {"fine": 0, "mistake": 2}
    for how, code in ends.items():
        process = start(project, "toy", how, PREFECT_API_URL=server_url)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, err
        assert (out, err) == ("", "error: lr is -1. Allowed: above 0.\n" if code else "")
    stopped = start(project, "toy", "wait", PREFECT_API_URL=server_url)
    while (project / "worked").read_text() != "xxx":
        time.sleep(0.02)
    stopped.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in stopped.communicate(timeout=60)[1]
    assert stopped.returncode == 143
    runs = flow_runs(server_url)
    assert ("toy fine", "COMPLETED", "done") in runs
    assert ("toy mistake", "FAILED", "UserError: lr is -1. Allowed: above 0.") in runs
    assert "CANCELLED" in [state for name, state, _ in runs if name == "toy wait"]


@pytest.mark.slow
@pytest.mark.usefixtures("server_url")
def test_two_stages_share_one_server_and_outlive_it(project: Path, server_home: Path) -> None:
    """Started by the first, found by the second; killed, it costs a warning; nothing of it is left."""
    inherit_database(server_home, project)
    env = {"PREFECT_API_URL": "", "PRETEXTBENCH_SERVER_LINGER": "1"}
    stages = [start(project, "toy", "wait", item, **env) for item in "ab"]
    while not (project / "worked").exists() or (project / "worked").read_text() != "xx":
        assert all(process.poll() is None for process in stages)
        time.sleep(0.05)
    servers = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if serves(pid, project)]
    assert len(servers) == 1
    os.kill(servers[0], signal.SIGKILL)
    (project / "go").touch()
    for process in stages:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0
        assert err.count("warning: this run is not recorded in Prefect") == 1
        assert "Traceback" not in err
    assert (project / "worked").read_text() == "xx"


def serves(pid: int, project: Path) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"pipelines.server" in arguments and str(project / ".prefect").encode() in arguments


@pytest.mark.slow
@pytest.mark.usefixtures("server_url")
def test_the_server_ends_after_its_last_user(project: Path, server_home: Path) -> None:
    inherit_database(server_home, project)
    process = start(project, "toy", "fine", PREFECT_API_URL="", PRETEXTBENCH_SERVER_LINGER="1")
    process.communicate(timeout=120)
    assert process.returncode == 0
    end = time.monotonic() + 60
    while any(serves(pid, project) for pid in map(int, filter(str.isdigit, os.listdir("/proc")))):
        assert time.monotonic() < end, "the server outlived its users"
        time.sleep(0.1)
