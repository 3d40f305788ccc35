"""Addresses of servers: no password of theirs is printed, and the log that other programs write is private."""

import io
import stat
from pathlib import Path

import pytest

from pretextbench.base.files import private_log
from pretextbench.project import addresses
from pretextbench.project.addresses import Address, split_login, without_secrets


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*addresses.SECRETS, *addresses.VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("http://me:s%40crt@host:5000/a/b", Address("http://host:5000/a/b", "me", "s@crt")),
        ("http://me:a@b@host", Address("http://host", "me", "a@b")),
        ("http://token@host/a", Address("http://host/a", "token", "")),
        ("http://host/a@b", Address("http://host/a@b", "", "")),
        ("sqlite:////a/b@c", Address("sqlite:////a/b@c", "", "")),
        ("me:secret@host", Address("me:secret@host", "", "")),
    ],
)
def test_the_login_of_an_address(address: str, parts: Address) -> None:
    assert split_login(address) == parts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("View run x at: http://me:secret@host/#/runs/1", "View run x at: http://***@host/#/runs/1"),
        ("'postgresql://me:secret@host/db' and more", "'postgresql://***@host/db' and more"),
        ("https://host/x?token=secret) failed", "https://host/x?***) failed"),
        ("no address at all: 1@2", "no address at all: 1@2"),
    ],
)
def test_a_text_without_the_logins_of_its_addresses(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "secret!word"),
        ("MLFLOW_TRACKING_TOKEN", "secret!word"),
        ("PREFECT_API_KEY", "secret!word"),
        ("MLFLOW_TRACKING_URI", "http://me:secret!word@host"),
        ("PREFECT_API_URL", "http://me:secret%21word@host/api"),
    ],
)
def test_passwords_of_the_environment_are_taken_out_wherever_they_stand(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "user me, password secret!word or secret%21word"
    assert "secret" in without_secrets(text)
    monkeypatch.setenv(variable, value)
    assert "secret!word" not in without_secrets(text)


def test_a_short_password_spoils_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a")
    assert without_secrets("a banana") == "a banana"


def test_the_login_of_a_prefect_server_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert addresses._login(Address("http://host/api", "", "")) == {}
    assert addresses._login(Address("http://host/api", "me", "x")) == {"Authorization": "Basic bWU6eA=="}
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:y")
    assert addresses._login(Address("http://host/api", "", "")) == {"Authorization": "Basic bWU6eQ=="}
    monkeypatch.setenv("PREFECT_API_KEY", "key")
    assert addresses._login(Address("http://host/api", "", "")) == {"Authorization": "Bearer key"}


def test_a_log_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "recorder.log"
    path.write_bytes(b"old ")
    path.chmod(0o644)  # as an earlier version made it
    for append, content in ((True, b"old new"), (False, b"new")):
        with private_log(path, append=append) as log:
            log.write(b"new")
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (content, 0o600)


def test_the_recorder_prints_no_password() -> None:
    """Whatever MLflow, a driver of a database or a traceback writes to its output."""
    from pretextbench.track.__main__ import CensoredStream

    shown = io.StringIO()
    print("View run", "at:", "http://me:secret@host/1", file=CensoredStream(shown), flush=True)
    assert shown.getvalue() == "View run at: http://***@host/1\n"
