"""`doctor`: a fault planted in each place is found, named, and has a remedy; nothing planted, nothing found."""

import shutil
import sys
from collections import namedtuple
from collections.abc import Iterable
from pathlib import Path

import pytest

from pretextbench.command import doctor
from pretextbench.command.checkout_state import Finding
from pretextbench.params import Params
from tests.command.conftest import Type
from tests.conftest import Install

Space = namedtuple("Space", "total used free")


def bad(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings if finding.verdict != "ok"}


def test_a_sound_project_has_no_faults(project: Path, typed: Type) -> None:
    result = typed("doctor")
    assert result.code == 0
    assert result.out.endswith("No faults.\n")
    for subject in (
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
        assert any(f"ok       {subject}" in line or f"  {subject}" in line for line in result.out.splitlines()), subject
    assert sorted(path.name for path in project.iterdir()) == [".dvc", "dvc.yaml", "params.yaml", "pipelines", "stages"]


def test_a_fault_is_status_1_and_has_a_remedy(project: Path, typed: Type) -> None:
    (project / "params.yaml").write_text("prepare: {image_sise: 32}\n")
    result = typed("doctor", "--quick")
    assert result.code == 1
    assert "prepare.image_sise: unknown key" in result.out
    assert "-> correct it, or `pretextbench init" in result.out
    assert result.out.endswith("1 fault(s): mend them before a run.\n")


def test_outside_a_project_the_machine_is_still_looked_at(
    tmp_path: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = typed("doctor", "--quick")
    assert result.code == 1
    assert "cores" in result.out
    assert "is not inside a project" in result.out


# --- one planted fault each ---------------------------------------------------------------------------------------


def test_versions_out_of_bounds_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bad(doctor.versions()) == {}
    real = doctor.version
    monkeypatch.setattr(doctor, "version", lambda name: "1.0" if name in ("mlflow", "torch") else real(name))
    actual = bad(doctor.versions())
    assert actual["mlflow"].verdict == "fault"
    assert actual["mlflow"].state.startswith("1.0, wanted ")
    assert "uv sync" in actual["mlflow"].remedy
    assert "torchvision wants torch" in actual["torch and torchvision"].state


def test_what_is_not_installed_is_a_fault() -> None:
    (actual,) = doctor.installed("no-such-distribution", ">=2")
    assert (actual.verdict, actual.state) == ("fault", "not installed, wanted >=2")


def test_a_plugin_that_is_broken_is_a_warning_until_a_comparison_names_it(install: Install, project: Path) -> None:
    install("pretext-broken", {"broken": "pretext_broken:X"}, {"pretext_broken.py": "import nothing_like_this"})
    assert bad(doctor.plugins())["method broken"].verdict == "warning"
    assert bad(doctor.parameters(project, quick=False)) == {}
    text = (project / "params.yaml").read_text().replace("[simclr, colorization]", "[broken]")
    (project / "params.yaml").write_text(text)
    assert "nothing_like_this" in bad(doctor.parameters(project, quick=False))["params.yaml"].state


def test_images_that_are_gone_are_a_fault(project: Path) -> None:
    text = (project / "params.yaml").read_text().replace("source: synthetic", "source: folder")
    (project / "params.yaml").write_text(text.replace("path: null  ", "path: /nowhere/x"))
    actual = bad(doctor.parameters(project, quick=True))["images"]
    assert (actual.verdict, actual.state) == ("fault", "prepare.path: /nowhere/x is not a folder")


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


def test_the_dvc_of_another_installation_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(sys.executable).parent
    for path, verdict in ((str(own / "dvc"), "ok"), ("/opt/other/bin/dvc", "warning"), (None, "warning")):
        monkeypatch.setattr(shutil, "which", lambda name, path=path: path)
        finding = doctor.search_path()
        assert finding.verdict == verdict
        assert verdict == "ok" or f"{own}/dvc" in finding.remedy
