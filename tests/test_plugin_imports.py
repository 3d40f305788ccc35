"""A plugin imports the public modules of the library and nothing else of this repository."""

from pathlib import Path

import pytest

from tests.checkout import PROJECT
from tests.watched import PLUGIN_API, imports, modules

KNOWN = {**modules(), **{f"pipelines.{path.stem}": path for path in (PROJECT / "pipelines").glob("*.py")}}
PUBLIC = {f"pretextbench.{name}" for name in PLUGIN_API}
FILES = [path for path in (PROJECT / "plugins").rglob("*.py") if not path.name.startswith(("test_", "conftest"))]


def private(path: Path) -> set[str]:
    """Modules that a file imports although a plugin must not."""
    return set(imports(path, KNOWN)) - PUBLIC


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROJECT / "plugins")))
def test_a_plugin_imports_public_modules_alone(path: Path) -> None:
    assert private(path) == set()


def test_all_plugins_are_read() -> None:
    assert {path.relative_to(PROJECT / "plugins").parts[0] for path in FILES} == {
        path.name for path in (PROJECT / "plugins").iterdir() if (path / "pyproject.toml").is_file()
    }


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("from pretextbench.train.loop import train", "pretextbench.train.loop"),
        ("import pretextbench.registry", "pretextbench.registry"),
        ("from stages import worker", "stages.worker"),
        ("def late():\n    from pipelines.graph import read", "pipelines.graph"),
    ],
)
def test_a_private_import_is_seen(line: str, module: str, tmp_path: Path) -> None:
    """The planted fault."""
    planted = tmp_path / "pretext_odd.py"
    planted.write_text(f"from pretextbench.method import PretextMethod\n{line}\n")
    assert private(planted) == {module}
