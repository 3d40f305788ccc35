"""A new method is written whole or not at all, passes the kit as it is, and has a name that can be one."""

import importlib
import tomllib
from pathlib import Path

import pytest

from pretextbench import registry, scaffold, testing
from pretextbench.errors import UserError
from tests.conftest import Install

FILES = ["README.md", "pretext_hue_guess.py", "pyproject.toml", "test_hue_guess.py"]


def test_the_files_of_a_distribution_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "hue-guess"
    written = scaffold.write("hue-guess", folder)
    assert sorted(path.name for path in written) == sorted(path.name for path in folder.iterdir()) == FILES
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "pretext-hue-guess"
    assert project["project"]["entry-points"] == {registry.GROUP: {"hue-guess": "pretext_hue_guess:HueGuess"}}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == ["pretext_hue_guess.py"]
    assert all("{{" not in path.read_text() for path in written)


@pytest.fixture
def untouched(tmp_path: Path, install: Install) -> None:
    """The method hue-guess, written and installed, not edited."""
    source = scaffold.write("hue-guess", tmp_path / "hue-guess")[2].read_text()
    install("pretext-hue-guess", {"hue-guess": "pretext_hue_guess:HueGuess"}, {"pretext_hue_guess.py": source})


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("check", testing.CHECKS)
def test_untouched_it_passes_the_kit(check: str) -> None:
    testing.CHECKS[check](registry.load("hue-guess"))


@pytest.mark.usefixtures("untouched")
def test_its_own_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / "hue-guess"))
    own = importlib.import_module("test_hue_guess")
    own.test_a_network_that_says_grey_is_wrong_by_the_distance_to_grey()


@pytest.mark.parametrize("test", ["of_two_opposite_images_whose_views_are_equal", "of_views_at_a_right_angle"])
def test_the_tests_of_a_method_with_two_views_pass(
    test: str, tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/test_guide.py holds the method itself to the kit: the page shows it."""
    source = scaffold.write("near-far", tmp_path / "near-far", two_views=True)[2].read_text()
    install("pretext-near-far", {"near-far": "pretext_near_far:NearFar"}, {"pretext_near_far.py": source})
    monkeypatch.syspath_prepend(str(tmp_path / "near-far"))
    getattr(importlib.import_module("test_near_far"), f"test_terms_{test}")()
    assert "Wang & Isola" in (tmp_path / "near-far/README.md").read_text()


@pytest.mark.usefixtures("untouched")
def test_a_name_that_is_installed_is_refused_and_so_is_its_distribution(tmp_path: Path, install: Install) -> None:
    with pytest.raises(UserError, match="There is a method 'hue-guess' already: method 'hue-guess' \\(pretext_hue"):
        scaffold.write("hue-guess", tmp_path / "again")
    install("pretext-other", {}, {})
    with pytest.raises(UserError, match="A distribution 'pretext-other' is installed already"):
        scaffold.write("other", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Hue", "cannot be the name of a method"),
        ("hue_guess", "cannot be the name"),
        ("hue--guess", "cannot be the name"),
        ("-hue", "cannot be the name"),
        ("2hue", "cannot be the name"),
        ("../hue", "cannot be the name"),
        ("hue guess", "cannot be the name"),
        ("", "cannot be the name"),
        ("farbe\n", "cannot be the name"),
        ("x" * 41, "at most 40"),
        ("import", "is a word of Python"),
        ("none", "is a word of Python"),
        ("pretext-hue", "named without 'pretext-'.*Try 'hue'"),
        ("random", "There is a method 'random' already"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scaffold.write(name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hue-guess", "HueGuess"), ("moco2", "Moco2"), ("pair-method", "PairMethodMethod"), ("f", "FMethod")],
)
def test_the_class_is_called_after_the_method_and_hides_nothing(name: str, expected: str) -> None:
    assert scaffold.class_name(name) == expected


def test_every_name_that_the_module_uses_is_taken() -> None:
    """A class of one of these names would hide what the template imports."""
    for template in scaffold.TEMPLATES.glob("*.py.j2"):
        for line in template.read_text().splitlines():
            arguments = line.replace(",", "").split()
            if arguments[:1] == ["from"] and "{{" not in arguments:
                imported = arguments[arguments.index("import") + 1 :]
                assert "(" not in imported, f"{template.name}: names on lines of their own are not looked at"
                assert {term for term in imported if term[0].isupper() and "_" not in term} <= scaffold.TAKEN, line


def test_the_method_with_two_views_is_of_60_lines() -> None:
    assert len((scaffold.TEMPLATES / "two_views_module.py.j2").read_text().splitlines()) <= 60


@pytest.mark.parametrize("there", ["folder", "file", "dangling link"])
def test_what_exists_is_refused_and_left_alone(tmp_path: Path, there: str) -> None:
    target = tmp_path / "hue-guess"
    if there == "folder":
        target.mkdir()
    elif there == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="exists already"):
        scaffold.write("hue-guess", target)
    assert [path.name for path in tmp_path.iterdir()] == ["hue-guess"]


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full(path: Path, text: str, **_: str) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="no space left"):
        scaffold.write("hue-guess", tmp_path / "hue-guess")
    assert list(tmp_path.iterdir()) == []
