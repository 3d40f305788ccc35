"""The project is found from anywhere inside it; outside, the message says how to get one."""

import re
from pathlib import Path

import pytest

from pretextbench.command.project import root
from pretextbench.errors import UserError
from stages import inventory


def test_found_from_inside_and_from_below(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert root() == project
    (deep := project / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert root() == project
    assert root(project / "stages") == project


def test_outside_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not inside a project: .* dvc\.yaml\. .*clone it, run `uv sync`"):
        root(tmp_path)


@pytest.mark.parametrize("missing", ["stages", "pipelines"])
def test_another_dvc_project_is_not_taken_for_one(project: Path, missing: str) -> None:
    (project / missing).rmdir()
    with pytest.raises(UserError, match=rf"dvc\.yaml is not pretextbench's: the folder has no {missing}/"):
        root()


@pytest.mark.parametrize(("name", "part"), [("my%20images", "'%20'"), ("is it?", "'?'"), ("a#b", "'#'")])
def test_a_folder_that_is_another_one_in_an_address(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str
) -> None:
    """MLflow wrote to `my images`, and Prefect's server did not start, where the project was in `my%20images`."""
    moved = project.rename(tmp_path / name)
    refusal = rf"The project is in .*{re.escape(name)}: .* read {re.escape(part)} in a path"
    with pytest.raises(UserError, match=refusal):
        root(moved)
    monkeypatch.chdir(moved)
    with pytest.raises(UserError, match=refusal):
        inventory.main()  # the first stage of `dvc repro`


@pytest.mark.parametrize("name", ["50%", "50% zebras", "a b", "größe"])
def test_a_folder_with_another_unusual_name(project: Path, tmp_path: Path, name: str) -> None:
    moved = project.rename(tmp_path / name)
    assert root(moved) == moved


def test_a_working_folder_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UserError, match="working folder has been removed"):
        root()
