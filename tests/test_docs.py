"""README and guides: links lead somewhere, and the pages are built without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def outside_of_code(page: Path) -> str:
    """The text of a page without its code, where brackets mean something else."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    links = [link for link in LINK.findall(outside_of_code(page)) if not link.startswith(("http", "mailto"))]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_readme_is_short_and_its_first_command_comes_soon():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 200
    assert lines.index("```") < 25


@pytest.mark.slow
def test_pages_are_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    reference = (tmp_path / "site" / "reference" / "method" / "index.html").read_text()
    assert "pretextbench.method.PretextMethod" in reference
