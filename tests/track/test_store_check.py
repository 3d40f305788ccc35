"""The state of a store before anything is written: kinds that MLflow refuses, logins, servers that are none."""

import base64
import contextlib
import importlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pretextbench.track import store

OWN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_ALLOW_FILE_STORE")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in OWN:
        monkeypatch.setenv(name, "")  # restored at the end, whatever `without_login` makes of it
        monkeypatch.delenv(name)


def problem(uri: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    state = store.check(Path())
    assert "secret" not in state.address + state.problem + state.remedy
    return state.problem, state.remedy


KINDS = [
    ("ftp://me:secret@host/x", "is of a kind that MLflow does not know (ftp)"),
    ("databricks-uc", "is of a kind that MLflow does not know (databricks-uc)"),
    ("file:///tmp/mlruns", "is a folder, and this MLflow keeps no records in folders"),
    ("./mlruns", "is a folder, and this MLflow keeps no records in folders"),
    ("sqlite://mlflow.db", "is no address of SQLite: sqlite:///PATH has three slashes"),
    ("databricks", ""),
    ("sqlite:///:memory:x", ""),
    ("http://host", ""),
    ("https://host", ""),
    ("postgresql+psycopg2://me:secret@host/db", ""),
]


@pytest.mark.parametrize(("uri", "reason"), KINDS)
def test_a_kind_that_mlflow_refuses_is_named(uri: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.refusal(uri) == reason
    if reason:
        assert problem(uri, monkeypatch) == (reason, store.ALLOWED)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_itself_refuses_the_same_kinds() -> None:
    utils = importlib.import_module("mlflow.tracking._tracking_service.utils")
    for uri, reason in KINDS:
        known = utils._get_tracking_scheme_with_resolved_uri(uri)
        builder = utils._tracking_store_registry._registry.get(known)
        refused = builder is None or builder.__name__ in ("_get_file_store", "_get_databricks_uc_rest_store")
        assert refused == bool(reason) or uri.startswith("sqlite://"), uri


def test_folders_are_allowed_where_mlflow_allows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert store.refusal("file:///tmp/mlruns") == ""


def test_a_database_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "MySQLdb", None)
    assert problem("mysql://me:secret@host/db", monkeypatch)[0] == "needs a driver that is not installed: MySQLdb"
    result, remedy = problem("mysql+nonsense://me:secret@host/db", monkeypatch)
    assert result.startswith("is no address of a database: ")
    assert remedy == store.ALLOWED


class Server(BaseHTTPRequestHandler):
    """An MLflow server behind a proxy that asks for a login; `state` says how it answers."""

    state: dict[str, Any]

    def do_GET(self) -> None:
        login = "Basic " + base64.b64encode(b"me:secret").decode()
        wanted = (login, "Bearer secret")
        status = self.state["status"] if self.headers["Authorization"] in wanted else 401
        self.send_response(status)
        self.send_header("Content-Type", self.state["type"])
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    state: dict[str, Any] = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Server,), {"state": state})) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"127.0.0.1:{serving.server_port}", state
        serving.shutdown()
        thread.join()


@pytest.mark.parametrize("way", ["address", "environment", "file", "token"])
def test_a_login_is_sent_as_mlflow_sends_it(way: str, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host, state = server
    state |= {"status": 200, "type": "application/json"}
    assert problem(f"http://{host}", monkeypatch) == (
        "wants another user or password (status 401)",
        "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    )
    if way == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    if way == "file":
        (Path.home() / ".mlflow").mkdir()
        (Path.home() / ".mlflow" / "credentials").write_text(
            "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = secret\n"
        )
    if way == "token":
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    assert problem(f"http://me:secret@{host}/" if way == "address" else f"http://{host}", monkeypatch) == ("", "")


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (200, "text/html", "answers, but is no MLflow server"),
        (404, "application/json", "answers with status 404"),
        (503, "text/html", "answers with status 503"),
    ],
)
def test_a_server_that_is_none(
    status: int, kind: str, reason: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, state = server
    state |= {"status": status, "type": kind}
    assert problem(f"http://me:secret@{host}", monkeypatch)[0] == reason


@pytest.mark.parametrize("uri", ["http://me:secret@127.0.0.1:9", "http://me:secret@[::1", "http://me:secret@host:x/"])
def test_an_address_that_leads_nowhere(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reason, remedy = problem(uri, monkeypatch)
    assert reason.startswith("does not answer: ")
    assert "MLFLOW_TRACKING_URI" in remedy


def test_a_login_goes_into_the_variables_that_mlflow_reads() -> None:
    """So MLflow, which prints the addresses of runs, never has it in one."""
    assert store.without_login("http://me:s%40crt@host:5000/x") == "http://host:5000/x"
    assert [os.environ[name] for name in OWN[:2]] == ["me", "s@crt"]
    for uri in ("http://host", "http://token@host", "postgresql://me:secret@host/db", "sqlite:////a/b"):
        assert store.without_login(uri) == uri


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("cbc13b556ace", ". Copy the file, then run `uv run mlflow db upgrade {uri}`."),
        ("0a82", ". It is newer: install that MLflow, or move the file away, and the next run starts a new one."),
        (store.schema(), None),
    ],
)
def test_a_store_of_another_mlflow_is_one_sentence(schema: str, advice: str | None, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert store.other_schema(uri) == "", "there is none"
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as base, base:
        base.execute("create table alembic_version (version_num)")
        base.execute("insert into alembic_version values (?)", (schema,))
    start = f"{tmp_path}/mlflow.db is of another MLflow: it has schema {schema}, not {store.schema()}"
    assert store.other_schema(uri) == (start + advice.format(uri=uri) if advice else "")
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    assert store.other_schema(uri) == ""
    assert store.other_schema("postgresql://host/db") == ""


def test_a_database_that_cannot_be_made_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found, remedy = problem(f"sqlite:///{tmp_path}/file/x.db", monkeypatch)
    assert found == f"cannot be made: you cannot write {tmp_path}/file"
    assert remedy == "correct MLFLOW_TRACKING_URI, or unset it"
    assert problem(f"sqlite:///{tmp_path}/new/folder/x.db", monkeypatch) == ("", "")  # MLflow makes the folders
