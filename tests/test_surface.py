"""What a plugin may import: the modules at the top of the library and their `__all__`, as the reference lists them."""

import ast
import importlib
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import pretextbench
from tests.checkout import PROJECT

LIBRARY = Path(pretextbench.__file__).parent
REFERENCE = PROJECT / "docs/reference/method.md"
PACKAGES = {"parts"}  # public too, and a folder of modules
BLOCK = re.compile(r"^::: pretextbench\.(\w+)\n((?:    .*\n)+)", re.MULTILINE)


def listed() -> dict[str, list[str]]:
    """Public names by module: the blocks of the reference that name their members."""
    blocks = BLOCK.findall(REFERENCE.read_text(encoding="utf-8"))
    return {name: yaml.safe_load(options)["options"]["members"] for name, options in blocks}


def test_only_public_modules_stand_at_the_top() -> None:
    top = {module.name for module in pkgutil.iter_modules([str(LIBRARY)]) if not module.ispkg}
    assert top == set(listed()) - PACKAGES


@pytest.mark.parametrize("name", listed())
def test_a_public_module_exports_what_the_reference_lists(name: str) -> None:
    module = importlib.import_module(f"pretextbench.{name}")
    assert list(module.__all__) == listed()[name]
    assert all(hasattr(module, exported) for exported in module.__all__)


def test_plugins_import_public_names_only() -> None:
    """Each `from pretextbench.x import y` in the plugins is on the list, tests of plugins aside."""
    sources = [path for path in PROJECT.glob("plugins/*/pretext_*") for path in (path, *path.rglob("*.py"))]
    result = [
        (node.module.removeprefix("pretextbench."), alias.name)
        for path in sources
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pretextbench.")
        for alias in node.names
    ]
    assert result
    public = listed()
    assert [f"{module}.{name}" for module, name in result if name not in public.get(module, ())] == []


def test_type_checkers_find_the_types() -> None:
    """The marker of PEP 561 lies in the folder that the wheel packs whole."""
    wheel = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["src/pretextbench"]}
    assert (LIBRARY / "py.typed").is_file()
