"""Files stay short, functions shorter, and every module says what it is: the limits of this repository."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "stages", "pipelines", "plugins", "tests", "benchmarks")
FILE, FUNCTION = 250, 60  # lines


def breaches(name: str, source: str) -> Iterator[str]:
    """What is over the limits in one module: a message per fault."""
    tree, lines = ast.parse(source), len(source.splitlines())
    if lines > FILE:
        yield f"{name} has {lines} lines; {FILE} are allowed: move a part that has a name of its own"
    if not ast.get_docstring(tree):
        yield f"{name} has no docstring: say in a sentence what the module is"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION:
                yield f"{name}:{node.lineno} {node.name} has {length} lines; {FUNCTION} are allowed: split it"


def test_no_module_is_over_the_limits() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 300, "the folders have moved"
    assert [fault for path in paths for fault in breaches(str(path.relative_to(ROOT)), path.read_text())] == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('"""A module."""\n' + "x = 1\n" * FILE, "m.py has 251 lines; 250 are allowed"),
        ("x = 1\n", "m.py has no docstring"),
        ('"""A module."""\n\n\ndef f():\n' + "    x = 1\n" * FUNCTION, "m.py:4 f has 61 lines; 60 are allowed"),
        ('"""A module."""\n\n\nclass C:\n    async def f(self):\n' + "        x = 1\n" * FUNCTION, "m.py:5 f has 61"),
    ],
)
def test_each_limit_is_held(source: str, message: str) -> None:
    (fault,) = breaches("m.py", source)
    assert fault.startswith(message)


def test_at_the_limits_nothing_is_wrong() -> None:
    function = "def f():\n" + "    x = 1\n" * (FUNCTION - 1)
    assert list(breaches("m.py", '"""A module."""\n' + function + "x = 1\n" * (FILE - FUNCTION - 1))) == []
