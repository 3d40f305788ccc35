"""What docs/security.md promises of our own source: no shell, no eval, no unpickling, no archives."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

CODE = Path(__file__).resolve().parents[1]
SOURCES = [path for top in ("src", "stages", "pipelines", "plugins") for path in sorted((CODE / top).rglob("*.py"))]
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *("importlib.import_module", "runpy.run_path", "runpy.run_module", "EntryPoint.load"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all", "yaml.dump"),
    *("torch.jit.load", "torch.hub.load", "torch.export.load", "torch.package.PackageImporter", "pandas.read_pickle"),
    *("tarfile.open", "tarfile.TarFile", "zipfile.ZipFile", "shutil.unpack_archive", "numpy.lib.format.read_array"),
}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
ALLOWED = {
    ("stages/start.py", "importlib.import_module"): "a stage by name, and the name is one of STAGES",
    ("stages/host.py", "importlib.import_module"): "names that the file itself lists",
    ("src/pretextbench/registry.py", "EntryPoint.load"): "a plugin is code: it was installed, and is wanted by name",
    (
        "src/pretextbench/project/lockfile.py",
        "yaml.load",
    ): "with yaml's own safe loaders, of which it takes the fast one",
    ("src/pretextbench/export/write.py", "exec"): "the lines that export prints, which are its own, to compare by them",
    ("src/pretextbench/testing/machines.py", "importlib.import_module"): "the tested method, in a second process",
}


def dangers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of every use of something dangerous."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= imported(node)
            for alias in node.names:
                module = node.module if isinstance(node, ast.ImportFrom) else alias.name
                if (module or "").split(".")[0] in UNSAFE_MODULES:
                    yield node.lineno, f"import {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (subject := called(node, names)):
            yield node.lineno, subject
        elif used(node) and full(node, names) in FORBIDDEN:  # also where it is only handed on
            yield node.lineno, full(node, names)


def used(node: ast.AST) -> TypeGuard[ast.expr]:
    """A name that is read: a field may be called like a builtin."""
    return isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load)


def imported(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Local name -> what it stands for."""
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {alias.asname: alias.name for alias in node.names if alias.asname}


def full(node: ast.expr, names: dict[str, str]) -> str:
    """`np.load` -> `numpy.load`; the result of a call counts as what was called."""
    if isinstance(node, ast.Attribute):
        return f"{full(node.value, names)}.{node.attr}".replace("importlib.metadata.EntryPoint", "EntryPoint")
    if isinstance(node, ast.Call):
        return full(node.func, names)
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def called(node: ast.Call, names: dict[str, str]) -> str | None:
    """What is dangerous by its arguments."""
    name, arguments = full(node.func, names), {term.arg: ast.unparse(term.value) for term in node.keywords}
    if arguments.get("shell", "False") != "False" or (name.startswith("subprocess.") and None in arguments):
        return f"{name} with a shell"
    if name == "torch.load" and arguments.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if arguments.get("allow_pickle", "False") != "False":
        return f"{name} with allow_pickle"
    if name == "yaml.load" and (arguments.get("Loader") or ast.unparse(node.args[-1])) not in (
        "SafeLoader",
        "yaml.SafeLoader",
    ):
        return name
    return name if name.endswith(".extractall") else None


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "import builtins\nx = exec",
        "import os\nos.system('x')",
        "from os import system as s\ns('x')",
        "import subprocess as sp\nsp.run('x', shell=True)",
        "import subprocess\nsubprocess.run('x', shell=bool(1))",
        "import subprocess\nsubprocess.run('x', **more)",
        "import subprocess\nsubprocess.getoutput('x')",
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "from torch import load\nload('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import yaml\nyaml.load('x', yaml.UnsafeLoader)",
        "import yaml\nyaml.load('x', Loader=yaml.Loader)",
        "from yaml import unsafe_load\nunsafe_load('x')",
        "import importlib\nimportlib.import_module(name)",
        "from importlib.metadata import EntryPoint\nEntryPoint('a', 'b', 'c').load()",
        "import tarfile\ntarfile.open('x').extractall()",
        "from zipfile import ZipFile\nZipFile('x')",
    ],
)
def test_dangers_are_seen(text: str) -> None:
    assert list(dangers(ast.parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "import torch\ntorch.load('x', map_location='cpu', weights_only=True)\ntorch.compile(m)",
        "import numpy as np\nnp.load('x')\nnp.load('x', allow_pickle=False)",
        "import subprocess\nsubprocess.run(['x'], check=True)",
        "import re\nre.compile('x')",
        "import yaml\nyaml.load('x', yaml.SafeLoader)\nyaml.safe_load('x')",
    ],
)
def test_what_is_harmless_is_not(text: str) -> None:
    assert not list(dangers(ast.parse(text)))


def test_the_source_has_none_but_the_allowed() -> None:
    assert len(SOURCES) > 100
    result = {}
    for path in SOURCES:
        if path.name.startswith("test_"):
            continue
        for line, subject in dangers(ast.parse(path.read_text(encoding="utf-8"))):
            result[str(path.relative_to(CODE)), subject] = line
    assert result.keys() - ALLOWED.keys() == set(), result
    assert ALLOWED.keys() <= result.keys(), "an exception that is no longer used"
