"""`pretextbench new`: where the files go, what is said to type next, and what is refused."""

from pathlib import Path

import pytest

from tests.command.conftest import Type


def commands(out: str) -> list[str]:
    """What is said to type next."""
    block = out.split("Type next:\n")[1].split("\n\n")[0]
    return [line.split("  # ")[0].strip() for line in block.splitlines()]


def test_in_a_project_it_becomes_a_member_of_the_workspace(typed: Type, project: Path) -> None:
    result = typed("new", "hue-guess")
    assert result.code == 0
    assert (project / "plugins/hue-guess/pretext_hue_guess.py").is_file()
    assert "plugins/hue-guess/README.md" in result.out
    assert "add hue-guess to compare.methods in params.yaml, and type\n  uv run pretextbench run\n" in result.out
    assert commands(result.out) == [
        "uv add --group methods pretext-hue-guess",
        "uv run pretextbench check hue-guess",
        "uv run pytest plugins/hue-guess",
    ]


def test_elsewhere_it_lies_in_the_working_folder(typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = typed("new", "hue-guess")
    assert result.code == 0
    assert (tmp_path / "hue-guess/pyproject.toml").is_file()
    assert commands(result.out)[0] == "uv pip install -e hue-guess"


def test_into_a_folder_of_ones_own(typed: Type, project: Path, tmp_path: Path) -> None:
    result = typed("new", "hue-guess", "--into", tmp_path / "mine")
    assert result.code == 0
    assert (tmp_path / "mine/hue-guess/pyproject.toml").is_file()
    assert not (project / "plugins").exists()
    assert commands(result.out)[0] == f"uv pip install -e {tmp_path / 'mine/hue-guess'}"


def test_with_two_views(typed: Type, project: Path) -> None:
    assert typed("new", "near-far", "--two-views").code == 0
    assert "class Params(PairParams)" in (project / "plugins/near-far/pretext_near_far.py").read_text()


@pytest.mark.parametrize(("name", "result"), [("Hue", "cannot be the name"), ("simclr", "There is a method 'simclr'")])
def test_a_name_that_cannot_be_is_one_message_and_writes_nothing(
    typed: Type, project: Path, name: str, result: str
) -> None:
    answer = typed("new", name)
    assert answer.code == 2
    assert result in answer.message
    assert not (project / "plugins").exists()


def test_a_second_time_is_refused(typed: Type, project: Path) -> None:
    typed("new", "hue-guess")
    mine = project / "plugins/hue-guess/pretext_hue_guess.py"
    mine.write_text("# edited\n")
    answer = typed("new", "hue-guess")
    assert answer.code == 2
    assert "plugins/hue-guess exists already" in answer.message
    assert mine.read_text() == "# edited\n"
