"""`doctor` on the checkout: every fault of owner, git, servers and locks has its line and its remedy."""

import contextlib
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pretextbench.command import checkout_state
from pretextbench.project.locks import take
from tests.command.test_doctor import bad


def test_a_machine_without_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert checkout_state.git(project).state.startswith("not installed: records will not name the commit")


NOT_ONE = "fatal: not a git repository (or any of the parent directories): .git"
NOT_TRUSTED = "fatal: detected dubious ownership in repository at '/x'"


@pytest.mark.parametrize(
    ("code", "answer", "no_scm", "verdict", "remedy"),
    [
        (0, "abc1234", True, "ok", ""),
        (128, NOT_ONE, False, "fault", "`git init`, or `dvc config --local core.no_scm true`"),
        (128, NOT_ONE, True, "warning", "git commit"),
        (128, NOT_TRUSTED, False, "warning", "`git config --global --add safe.directory"),
        (128, "fatal: ambiguous argument 'HEAD': unknown revision", False, "warning", "git commit"),
        (128, "fatal: bad config line 1 in file .git/config", False, "fault", "status`, and mend it"),
    ],
)
def test_every_state_of_git_has_its_remedy(
    code: int, answer: str, no_scm: bool, verdict: str, remedy: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not no_scm:
        (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    done = subprocess.CompletedProcess([], code, answer if code == 0 else "", answer)
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: done)
    finding = checkout_state.git(project)
    assert finding.verdict == verdict
    assert remedy in finding.remedy


def test_git_itself_is_asked(project: Path) -> None:
    (project / ".dvc" / "config").write_text("")
    assert "this copy has no .git" in checkout_state.git(project).state
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    assert "in no commit" in checkout_state.git(project).state
    (project / ".git" / "config").write_text("[[")
    assert "git cannot read this repository: bad config line 1" in checkout_state.git(project).state


def test_a_checkout_that_another_user_owns_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkout_state.owner(project).verdict == "ok"
    (project / "runs").mkdir()
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != project / "runs" and real(path, mode))
    finding = checkout_state.owner(project)
    assert finding.verdict == "fault"
    assert "you cannot write project/runs, which belongs to the user" in finding.state
    assert "a folder of your own" in finding.remedy


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:9/api", "localhost:4200/api", "http://127.0.0.1:x/api"])
def test_a_prefect_server_that_does_not_answer_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)
    (finding,) = checkout_state.prefect()
    assert finding.verdict == "fault"
    assert finding.state.startswith(f"PREFECT_API_URL is {url.replace('me:secret', '***')}, which does not answer: ")
    assert "unset PREFECT_API_URL" in finding.remedy
    monkeypatch.delenv("PREFECT_API_URL")
    assert list(checkout_state.prefect()) == []


def test_without_the_packages_of_the_pipeline_the_store_is_not_examined(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "requests", None)
    assert "cannot be examined without requests" in bad(checkout_state.store(project))["MLflow store"].state


def test_a_store_that_is_no_store_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert bad(checkout_state.store(project)) == {}
    (project / "mlflow.db").write_text("not a data base, but long enough to be looked at " * 100)
    assert "cannot be opened as MLflow's" in bad(checkout_state.store(project))["MLflow store"].state


def test_a_store_of_another_mlflow_is_a_fault_with_the_command_that_mends_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as base, base:
        base.execute("create table alembic_version (version_num text)")
        base.execute("insert into alembic_version values ('0a8213491aaa')")
    result = bad(checkout_state.store(project))["MLflow store"]
    assert "has schema 0a8213491aaa, this MLflow wants " in result.state
    assert result.remedy == f"`uv run mlflow db upgrade sqlite:///{project}/mlflow.db`"


def test_a_server_that_does_not_answer_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    result = bad(checkout_state.store(project))["MLflow store"]
    assert "does not answer" in result.state
    assert "secret" not in result.state


def states(project: Path) -> list[str]:
    return [finding.state for finding in checkout_state.locks(project)]


NOBODY = ["no process is at work here"]


def test_a_lock_without_a_holder_is_no_lock(project: Path) -> None:
    (project / ".prefect").mkdir()
    (project / ".prefect" / "run.lock").write_text("process 1, long ago")
    assert states(project) == NOBODY


@pytest.mark.parametrize("name", [".prefect/run.lock", ".scratch/locks/pretrain-simclr-0.lock"])
@pytest.mark.parametrize(
    ("text", "process"),
    [
        ("process 12, started at noon", "process 12, started at noon"),
        ("12", "process 12"),
        ("", "a process that has not written its number"),
    ],
)
def test_the_holder_of_a_lock_is_named(project: Path, name: str, text: str, process: str) -> None:
    lock = take(project / name)
    assert lock is not None
    lock.write(text)
    (finding,) = checkout_state.locks(project)
    assert (finding.verdict, finding.state) == ("warning", f"{name}: {process}")
    assert "`kill` and its number" in finding.remedy
    lock.close()
    assert states(project) == NOBODY
    again = take(project / name, wait=False)
    assert again is not None  # looking leaves no lock behind
    again.close()


def test_a_lock_that_cannot_be_opened_is_a_warning(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (project / ".prefect").mkdir()
    (project / ".prefect" / "run.lock").touch()
    monkeypatch.setattr(os, "open", refuse)
    finding = bad(checkout_state.locks(project))["lock"]
    assert finding.state == ".prefect/run.lock: cannot be opened: Permission denied"
    assert "change the owner" in finding.remedy


@pytest.mark.parametrize(
    ("content", "state", "remedy"),
    [
        (
            {"a": {"write": {"pid": 2**22 + 1, "cmd": "dvc repro"}}},
            f"process {2**22 + 1} (dvc repro), which is gone",
            "nothing to do",
        ),
        ({"a": {"read": [{"pid": os.getpid(), "cmd": "dvc repro"}]}}, f"process {os.getpid()} (dvc repro)", "wait"),
        ("{", "half written, as a kill leaves it", "sets it aside"),
    ],
    ids=["gone", "alive", "half written"],  # no process number in a name: every worker of pytest must see the same
)
def test_entries_of_dvc_are_named(project: Path, content: object, state: str, remedy: str) -> None:
    path = project / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (finding,) = checkout_state.locks(project)
    assert finding.state == f".dvc/tmp/rwlock: {state}"
    assert remedy in finding.remedy
    for strange in ("{}", '{"a": {"read": [{"cmd": "x"}, null, {"pid": "x"}]}}'):
        path.write_text(strange)
        assert states(project) == NOBODY
