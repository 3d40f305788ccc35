"""`doctor`: a fault planted in each place is found, named, and has a remedy; nothing planted, nothing found."""

import errno
import json
import os
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Iterable
from pathlib import Path

import pytest

from pretextbench.command import doctor
from pretextbench.command.doctor import Finding
from pretextbench.command.lock_holders import holders
from pretextbench.params import Params
from pretextbench.project.locks import take
from tests.command.conftest import Type
from tests.conftest import Install

Space = namedtuple("Space", "total used free")


def bad(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings if finding.verdict != "ok"}


def test_a_sound_project_has_no_faults(project: Path, typed: Type) -> None:
    said = typed("doctor")
    assert said.code == 0
    assert said.out.endswith("No faults.\n")
    for what in (
        "cores",
        "memory",
        "Python",
        "torch ",
        "device",
        "method simclr",
        "params.yaml",
        "disk",
        "MLflow store",
    ):
        assert any(f"ok       {what}" in line or f"  {what}" in line for line in said.out.splitlines()), what
    assert sorted(path.name for path in project.iterdir()) == ["dvc.yaml", "params.yaml", "pipelines", "stages"]


def test_a_fault_is_status_1_and_has_a_remedy(project: Path, typed: Type) -> None:
    (project / "params.yaml").write_text("prepare: {image_sise: 32}\n")
    said = typed("doctor", "--quick")
    assert said.code == 1
    assert "prepare.image_sise: unknown key" in said.out
    assert "-> correct it, or `pretextbench init" in said.out
    assert said.out.endswith("1 fault(s): mend them before a run.\n")


def test_outside_a_project_the_machine_is_still_looked_at(
    tmp_path: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = typed("doctor", "--quick")
    assert said.code == 1
    assert "cores" in said.out
    assert "is not inside a project" in said.out


# --- one planted fault each ---------------------------------------------------------------------------------------


def test_versions_out_of_bounds_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bad(doctor.versions()) == {}
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "1.0" if name in ("mlflow", "torch") else real(name))
    found = bad(doctor.versions())
    assert found["mlflow"].verdict == "fault"
    assert found["mlflow"].found.startswith("1.0, wanted ")
    assert "uv sync" in found["mlflow"].fix
    assert "torchvision wants torch" in found["torch and torchvision"].found


def test_what_is_not_installed_is_a_fault() -> None:
    (found,) = doctor.installed("no-such-distribution", ">=2")
    assert (found.verdict, found.found) == ("fault", "not installed, wanted >=2")


def test_a_plugin_that_is_broken_is_a_warning_until_a_comparison_names_it(install: Install, project: Path) -> None:
    install("pretext-broken", {"broken": "pretext_broken:X"}, {"pretext_broken.py": "import nothing_like_this"})
    assert bad(doctor.plugins())["method broken"].verdict == "warning"
    assert bad(doctor.parameters(project, quick=False)) == {}
    text = (project / "params.yaml").read_text().replace("[simclr, rotation]", "[broken]")
    (project / "params.yaml").write_text(text)
    assert "nothing_like_this" in bad(doctor.parameters(project, quick=False))["params.yaml"].found


def test_images_that_are_gone_are_a_fault(project: Path) -> None:
    text = (project / "params.yaml").read_text().replace("source: synthetic", "source: folder")
    (project / "params.yaml").write_text(text.replace("path: null  ", "path: /nowhere/x"))
    found = bad(doctor.parameters(project, quick=True))["images"]
    assert (found.verdict, found.found) == ("fault", "prepare.path: /nowhere/x is not a folder")


def test_a_full_disk_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.disk(project, Params()).verdict in ("ok", "fault")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Space(9, 9, 999_999_999))
    assert doctor.disk(project, Params()).verdict == "fault"
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Space(9, 9, 10**12))
    assert doctor.disk(project, Params()).verdict == "ok"


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    memory = psutil.virtual_memory()._replace(available=10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert bad(doctor.machine())["memory"].verdict == "warning"


def test_a_machine_without_git(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "in no commit" in bad(doctor.project(project))["git"].found
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert bad(doctor.project(project))["git"].found.startswith("not installed")


def test_a_folder_that_cannot_be_written_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert bad(doctor.project(project))["project"].verdict == "fault"


def test_a_store_that_is_no_store_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert bad(doctor.store(project)) == {}
    (project / "mlflow.db").write_text("not a data base, but long enough to be looked at " * 100)
    assert "cannot be opened as MLflow's" in bad(doctor.store(project))["MLflow store"].found


def test_a_store_of_another_mlflow_is_a_fault_with_the_command_that_mends_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with sqlite3.connect(project / "mlflow.db") as base:
        base.execute("create table alembic_version (version_num text)")
        base.execute("insert into alembic_version values ('0a8213491aaa')")
    found = bad(doctor.store(project))["MLflow store"]
    assert "has schema 0a8213491aaa, this MLflow wants " in found.found
    assert found.fix == f"`uv run mlflow db upgrade sqlite:///{project}/mlflow.db`"


def test_a_server_that_does_not_answer_is_a_fault(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    found = bad(doctor.store(project))["MLflow store"]
    assert "does not answer" in found.found
    assert "secret" not in found.found


# --- locks --------------------------------------------------------------------------------------------------------


def test_a_lock_without_a_holder_is_no_lock(project: Path) -> None:
    (project / ".prefect").mkdir()
    (project / ".prefect" / "run.lock").write_text("process 1, long ago")
    assert list(holders(project)) == []


@pytest.mark.parametrize("name", [".prefect/run.lock", ".scratch/locks/pretrain-simclr-0.lock"])
@pytest.mark.parametrize(
    ("text", "holder"),
    [
        ("process 12, started at noon", "process 12, started at noon"),
        ("12", "process 12"),
        ("", "a process that has not written its number"),
    ],
)
def test_the_holder_of_a_lock_is_named(project: Path, name: str, text: str, holder: str) -> None:
    lock = take(project / name)
    assert lock is not None
    lock.write(text)
    (held,) = holders(project)
    assert (held.path, held.holder) == (project / name, holder)
    assert "wait until it has ended" in held.advice
    lock.close()
    assert list(holders(project)) == []
    again = take(project / name, wait=False)
    assert again is not None  # looking leaves no lock behind
    again.close()


def test_a_lock_that_cannot_be_opened_is_a_warning(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    (project / ".prefect").mkdir()
    (project / ".prefect" / "run.lock").touch()
    monkeypatch.setattr("pretextbench.command.lock_holders.take", refuse)
    assert "cannot be opened: Permission denied" in bad(doctor.locks(project))["lock"].found


@pytest.mark.parametrize(
    ("content", "holder"),
    [
        ({"a": {"write": {"pid": 2**22 + 1, "cmd": "dvc repro"}}}, f"process {2**22 + 1} (dvc repro), which is gone"),
        ({"a": {"read": [{"pid": os.getpid(), "cmd": "dvc repro"}]}}, f"process {os.getpid()} (dvc repro)"),
        ("{", "half written, as a kill leaves it"),
    ],
    ids=["gone", "alive", "half written"],  # no process number in a name: every worker of pytest must see the same
)
def test_entries_of_dvc_are_named(project: Path, content: object, holder: str) -> None:
    path = project / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (held,) = holders(project)
    assert held.holder == holder
    path.write_text("{}")
    assert list(holders(project)) == []
