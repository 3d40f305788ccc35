"""docs/own-images.md: every command of the page is typed, on folders like those it speaks of."""

import re
import shlex
from pathlib import Path

import pytest

from tests.command.conftest import CHECKOUT, Type
from tests.command.photographs import classes, photograph

PAGE = (CHECKOUT / "docs" / "own-images.md").read_text()
COMMANDS = re.findall(r"^pretextbench .*$", PAGE, re.M)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_does_what_the_page_says(
    line: str, tmp_path: Path, project: Path, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, arguments: begun.append(arguments))
    monkeypatch.setattr("webbrowser.open", lambda address: True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("pretextbench.command.project._trouble", lambda port: "")
    (project / "mlflow.db").touch()
    (project / "reports").mkdir()
    (project / "reports" / "report.html").touch()
    name, *arguments = shlex.split(line)[1:]
    if "--labels" in arguments:
        (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(20)))
        for i in range(20):
            photograph(tmp_path / "photos" / f"{i}.png", i)
    else:
        classes(tmp_path / "photos", 12)
    arguments = [term.replace("~", str(tmp_path)) for term in arguments]
    result = typed(
        name, *arguments, *(["--no-measure"] if name == "init" else []), *(["--quick"] if name == "doctor" else [])
    )
    if name == "doctor":  # an empty file is no store
        assert "MLflow store" in result.out
        return
    assert (result.code, result.error) == (0, "")
    assert len(begun) == (name in ("run", "ui"))


def test_the_page_has_commands() -> None:
    assert {line.split()[1] for line in COMMANDS} == {"init", "run", "report", "doctor", "ui"}


def test_the_profiles_of_the_page_are_those_of_the_code() -> None:
    from pretextbench.command.choose import PLANS

    for profile, plan in PLANS.items():
        (row,) = re.findall(rf"^\| `{profile.value}` \|.*$", PAGE, re.M)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2:4] == [str(plan.side), f"{plan.images:,}"]
        assert cells[4].endswith(f"; {len(plan.seeds)}")
        assert cells[5] == f"`{plan.encoder[0]}`, width {plan.encoder[1]}"
