"""runs/settings.json: the parameters of the run that is at work, and the versions that DVC and checkpoints know."""

import json
from pathlib import Path

import pytest

from pretextbench.errors import UserError
from pretextbench.params import Params, load
from pretextbench.project import layout
from pretextbench.project import settings as module
from pretextbench.project.settings import check_versions, parameters, parameters_text, public, settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working folder whose inventory has read `width: 8`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / layout.PARAMS).write_text("encoder: {width: 8}  # mine\n")
    return tmp_path


def inventory(project: Path) -> None:
    (project / layout.SETTINGS).parent.mkdir(exist_ok=True)
    (project / layout.SETTINGS).write_text(
        json.dumps(settings((project / layout.PARAMS).read_text(), load(project / layout.PARAMS)))
    )


def test_an_edit_of_the_parameters_waits_for_the_next_run(project: Path) -> None:
    inventory(project)
    (project / layout.PARAMS).write_text("encoder: {width: 64}\n")
    assert parameters().encoder.width == 8
    assert parameters_text() == "encoder: {width: 8}  # mine\n"
    inventory(project)
    assert parameters().encoder.width == 64


def test_a_file_that_is_broken_in_the_meantime_does_not_matter(project: Path) -> None:
    inventory(project)
    (project / layout.PARAMS).write_text("encoder: {wid")
    assert parameters().encoder.width == 8


def test_without_an_inventory_the_file_itself_counts(project: Path) -> None:
    assert parameters() == Params(encoder={"width": 8})
    assert parameters_text() == "encoder: {width: 8}  # mine\n"
    check_versions("pretrain")


def test_a_stage_is_not_run_with_other_versions_than_dvc_would_record(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inventory(project)
    check_versions("pretrain")
    monkeypatch.setattr(module, "installed", lambda name: "1.2.3")
    with pytest.raises(UserError, match=r"other versions: kornia .*, found 1\.2\.3; numpy .*torch .*found 1\.2\.3\."):
        check_versions("pretrain")
    check_versions("inventory")


def test_builds_of_one_version_are_one_version(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "installed", lambda name: "2.11.0+cpu")
    inventory(project)
    monkeypatch.setattr(module, "installed", lambda name: "2.11.0+cu128")
    check_versions("pretrain")
    assert public("2.11.0+cpu") == public("2.11.0") == "2.11.0"
