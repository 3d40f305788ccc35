"""`ui` and `report`: the right store, the right page, and a clear word where there is nothing to open."""

import contextlib
import os
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from pretextbench.command.project import free
from pretextbench.errors import UserError
from tests.command.conftest import Type
from tests.ports import free_port


@pytest.fixture
def listener() -> socket.socket:
    """Somebody who listens on a port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the command would have turned into."""
    seen: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, arguments: seen.append(arguments))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return seen


# --- ui -----------------------------------------------------------------------------------------------------------


def test_mlflow_is_started_on_the_store_of_the_project(project: Path, typed: Type, begun: list[list[str]]) -> None:
    (project / "mlflow.db").touch()
    (project / "below").mkdir()
    port = free_port()
    result = typed("ui", "--port", port)
    assert result.code == 0
    assert result.out.startswith(f"http://127.0.0.1:{port}\n")
    options = ["--host", "127.0.0.1", "--port", str(port)]
    assert begun == [[sys.executable, "-m", "pretextbench.track.web", *options, "--browser"]]
    assert Path.cwd() == project, "its store is the one of the working folder"
    begun.clear()
    assert typed("ui", "--port", port, "--no-browser").code == 0
    assert begun == [[sys.executable, "-m", "pretextbench.track.web", *options]]


def test_a_server_that_has_the_record_is_named_and_nothing_started(
    project: Path, typed: Type, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@record.example/")
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    result = typed("ui")
    assert result.code == 0
    assert result.out.endswith("https://***@record.example/#/experiments?workflowType=machine_learning\n")
    assert "secret" not in result.out
    assert begun == []
    assert opened == ["https://record.example/#/experiments?workflowType=machine_learning"], "the browser asks itself"
    assert typed("ui", "--no-browser").code == 0
    assert len(opened) == 1
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert typed("ui").out.endswith("No browser is found here. Open the address yourself.\n")


@pytest.mark.usefixtures("project")
def test_the_password_of_a_database_is_on_no_command_line(
    typed: Type, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@host/db")  # which the server reads
    result = typed("ui", "--port", free_port())
    assert result.code == 0
    assert "secret" not in result.out + result.error + " ".join(begun[0])


def test_a_store_of_another_mlflow_is_told_before_a_server_starts(
    project: Path, typed: Type, begun: list[list[str]]
) -> None:
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as base, base:
        base.execute("create table alembic_version (version_num)")
        base.execute("insert into alembic_version values ('cbc13b556ace')")
    result = typed("ui")
    assert result.code == 2
    assert result.message.startswith(f"{project}/mlflow.db is of another MLflow: it has schema cbc13b556ace, not ")
    assert result.message.endswith(f"Copy the file, then run `uv run mlflow db upgrade sqlite:///{project}/mlflow.db`.")
    assert begun == []


@pytest.mark.usefixtures("project")
def test_an_address_that_mlflow_refuses_is_refused_before_it_starts(
    typed: Type, begun: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "ftp://me:secret@host/x")
    result = typed("ui")
    assert result.code == 2
    assert result.message.startswith(
        "MLFLOW_TRACKING_URI is ftp://***@host/x: it is of a kind that MLflow does not know"
    )
    assert begun == []


def test_without_a_record_it_says_what_makes_one(project: Path, typed: Type, begun: list[list[str]]) -> None:
    result = typed("ui")
    assert result.code == 2
    assert result.message == f"There is no record yet: {project}/mlflow.db. `pretextbench run` makes it."
    assert begun == []


def test_a_port_in_use_is_told_and_another_offered(
    project: Path, typed: Type, begun: list[list[str]], listener: socket.socket
) -> None:
    (project / "mlflow.db").touch()
    port = listener.getsockname()[1]
    result = typed("ui", "--port", port)
    assert result.code == 2
    assert result.message.startswith(f"Port {port} of 127.0.0.1 is in use by another program. Port ")
    assert begun == []
    offered = int(result.message.rpartition("--port ")[2].rstrip("`."))
    free(offered)
    assert offered != port


def test_a_port_of_the_administrator_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: tuple[str, int]) -> None:
        if address[1] < 1024:
            raise PermissionError

    monkeypatch.setattr("socket.socket.bind", bind)
    with pytest.raises(UserError, match=r"Port 80 .* may be used by the administrator alone\. Port 5000 is free"):
        free(80)


# --- report -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("browser", "name"), [(True, "opened "), (False, "No browser is found here")])
def test_the_report_is_opened_or_its_place_told(
    browser: bool, name: str, project: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or browser)
    (project / "reports").mkdir()
    (project / "reports" / "report.html").touch()
    result = typed("report")
    assert result.code == 0
    assert result.out.startswith(name)
    assert str(project / "reports" / "report.html") in result.out
    assert opened == [(project / "reports" / "report.html").as_uri()]
    result = typed("report", "--path")
    assert result.out == f"{project / 'reports' / 'report.html'}\n"
    assert len(opened) == 1


@pytest.mark.parametrize("arguments", [[], ["--path"]])
def test_without_a_report_it_says_what_makes_one(arguments: list[str], project: Path, typed: Type) -> None:
    result = typed("report", *arguments)
    assert result.code == 2
    assert result.message == f"There is no report yet: {project}/reports/report.html. `pretextbench run` makes it."


@pytest.mark.parametrize("arguments", [["ui"], ["report"], ["init", "--images", "."]])
def test_outside_a_project(arguments: list[str], tmp_path: Path, typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = typed(*arguments)
    assert result.code == 2
    assert "is not inside a project" in result.message


@pytest.mark.slow
def test_mlflow_really_answers_and_ends_with_ctrl_c(project: Path) -> None:
    """The real server, started by the real command, on an empty store."""
    import signal
    import subprocess
    import time
    import urllib.error
    import urllib.request

    port = free_port()
    (project / "mlflow.db").touch()  # an empty file is an empty data base, in which MLflow makes its tables
    command = [sys.executable, "-m", "pretextbench.command", "ui", "--port", str(port), "--browser"]
    environment = {**os.environ, "BROWSER": "/no/such/browser", "DISPLAY": "", "PATH": str(project)}  # it finds none
    process = subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        end = time.monotonic() + 240
        answered = 0
        while not answered and time.monotonic() < end and process.poll() is None:
            try:
                answered = urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        assert answered == 200, process.communicate(timeout=60)
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read().decode()
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]  # the last is of the browser that is not there
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        assert "".join([*lines, out]).splitlines() == [
            f"http://127.0.0.1:{port}",
            "(answers in some seconds; Ctrl-C ends it)",
            "No browser is found here. Open the address yourself.",
        ]
        assert error == "", "MLflow's messages and warnings for its authors"
        assert process.returncode == 0
        assert page.count("#/experiments?workflowType=machine_learning") == 1
        assert page.index('"mlflow.workflowType_v1"') < page.index("/static-files/"), "before MLflow's own script"
    finally:
        process.kill()
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as base, base:
        assert base.execute("select name from experiments").fetchall() == [("Default",)]
