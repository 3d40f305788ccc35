"""README and guides: links and named files exist. tests/test_site.py builds the pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
PLACEHOLDER = re.compile(r"NAME|mean-colour")  # a name that the reader chooses
SOURCE = re.compile(r"`((?:src|stages|pipelines|plugins|tests|benchmarks|docs)/[\w./*-]*)(?:::[\w\[\]-]+)*`")


def outside_of_code(page: Path) -> str:
    """The text of a page without its code, where brackets mean something else."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    links = [link for link in LINK.findall(outside_of_code(page)) if not link.startswith(("http", "mailto"))]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    names = [name for name in SOURCE.findall(page.read_text()) if not PLACEHOLDER.search(name)]
    missing = [name for name in names if not list(ROOT.glob(name))]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_headings_are_selectors(page):
    """An id such as `#1-first` is none: the script that marks the place on the page stops at it, and all after it."""
    assert re.findall(r"^#+ [^A-Za-z`\[].*", outside_of_code(page), flags=re.M) == []


def fidelity_tests():
    """(file, test) of every test that fidelity.md names, with the letters of each section replaced by their files."""
    for section in (ROOT / "docs" / "fidelity.md").read_text().split("\n## "):
        files = dict(re.findall(r"`(\w+)`\s=\s`([^`]+)`", section))
        for folder in re.findall(r"all in `([^`]+/)`|both in `([^`]+/)`", section):
            files = {letter: file if "::" in file[:4] else "".join(folder) + file for letter, file in files.items()}
        for place, name in re.findall(r"`([\w./-]+(?:::\w+)?)::(test_\w+)", section):
            first = place.partition("::")[0]
            file = files.get(first, first).partition("::")[0]
            yield files.get(file, file), name


def test_tests_that_fidelity_names_exist():
    named = list(fidelity_tests())
    texts = {file: (ROOT / file).read_text() for file, _ in named}
    assert len(named) > 100
    assert not [(file, name) for file, name in named if f"def {name}(" not in texts[file]]


def test_readme_is_short_and_its_first_command_comes_soon():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 200
    assert lines.index("```") < 25
