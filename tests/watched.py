"""Which code a stage runs: the closure of its imports, as far as that code can change what the stage writes."""

import ast
import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.checkout import PROJECT

SOURCES = {"pretextbench": PROJECT / "src/pretextbench", "stages": PROJECT / "stages"}
PLUGIN_API = (
    "method",
    "recipe",
    "params",
    "encoder",
    "distributed",
    "measures",
    "parts",
    "errors",
)  # that any method imports
NEUTRAL = {  # module or package -> why an edit of it cannot change a number; the closure does not go on from here
    "pretextbench.errors": "messages of mistakes",
    "pretextbench.base.encoder_params": "checks parameters; their values are watched through runs/settings.json",
    "pretextbench.base.files": "writes bytes whole and reads them, and does not choose them",
    "pretextbench.base.training_params": "checks parameters; their values are watched through runs/settings.json",
    "pretextbench.base.section": "checks parameters; their values are watched through runs/settings.json",
    "pretextbench.base.yaml_file": "reads parameters; their values are watched through runs/settings.json",
    "pretextbench.base.source_params": "checks parameters; their values are watched through runs/settings.json",
    "pretextbench.params": "checks parameters; their values are watched through runs/settings.json",
    "pretextbench.registry": "finds plugins; their code is watched through runs/methods.json",
    "pretextbench.project": "where files lie, and locks",
    "pretextbench.track": "the record in MLflow, written after the files",
    "pretextbench.watch": "observes a training and changes nothing (tests/watch holds this)",
    "stages.lifecycle": "locks, the Prefect run and exit statuses",
    "stages.inputs": "refuses to commit what was made of changed inputs",
    "stages.arguments": "reads the command line; the method's parameters come from runs/methods.json",
    "stages.agent": "starts the processes of a training; their number is a parameter",
}
PICTURES = {"pretextbench.base.picture": "draws pictures of results: an old picture is not worth a training"}
DECISIVE = {"pretextbench.project.search_space"}  # in a package that is neutral, and is not
NEUTRAL_IN = {  # the same for one stage
    "augment": {
        "pretextbench.encoder": "no network is built",
        "pretextbench.encoders": "no network is built",
        "pretextbench.distributed": "no network is built",
        "pretextbench.measures": "no network is built",
    },
    "tune": PICTURES,
    "pretrain": PICTURES,
    "reference": PICTURES,
    "evaluate": {
        **PICTURES,
        "pretextbench.method": "the class that controls derive from; nothing of it runs",
        "pretextbench.train.checkpoint": "removes what a finished training has kept",
    },
}
PACKAGES = {  # import name -> distribution, of what can change a number; the others check, draw, write or show
    "kornia": "kornia",
    "lightning_fabric": "lightning-fabric",
    "numpy": "numpy",
    "PIL": "pillow",
    "pandas": "pandas",
    "scipy": "scipy",
    "timm": "timm",
    "torch": "torch",
}
HARMLESS = {  # import name -> why another version of it changes no number
    "jinja2": "the report's frame",
    "markdown_it": "the report's frame",
    "markupsafe": "the report's frame",
    "matplotlib": "draws pictures of results",
    "pydantic": "checks values",
    "safetensors": "writes bytes, and does not choose them",
    "sklearn": "t-SNE, for a picture",
    "threadpoolctl": "numbers of threads",
    "torchvision": "unpacks public data sets",
    "tqdm": "a progress bar",
    "vl_convert": "scripts for the page of DVC's plots",
}


def modules() -> dict[str, Path]:
    """Every module of the library and the stages, by name."""
    return {
        ".".join([name, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for name, folder in SOURCES.items()
        for path in folder.rglob("*.py")
    }


def imports(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Modules of `known` that a file imports, also inside functions; not what only type checkers see."""
    for node in _statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from [name] if name in known else [node.module] if node.module in known else []


@functools.cache
def _tree(path: Path) -> ast.Module:
    """A file, parsed once for all tests."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _statements(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The import statements of a file."""
    return [node for node in _run(_tree(path)) if isinstance(node, ast.Import | ast.ImportFrom)]


def _run(tree: ast.AST) -> Iterator[ast.AST]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            waiting += ast.iter_child_nodes(node)


def packages(stage: str, known: Mapping[str, Path]) -> set[str]:
    """Distributions of other people whose version can change what a stage writes; an unknown import is a KeyError."""
    paths = [path for path in closure(stage, known) if not _draws(path)]
    names = {name.partition(".")[0] for path in paths for name in _imported(path)}
    foreign = names - sys.stdlib_module_names - SOURCES.keys() - HARMLESS.keys()
    return {PACKAGES[name] for name in foreign}


def _draws(path: Path) -> bool:
    return path in {modules()[name] for name in PICTURES}


def _imported(path: Path) -> Iterator[str]:
    for node in _statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif node.module:
            yield node.module


def is_neutral(module: str, stage: str) -> bool:
    """Whether the module, or a package that holds it, is listed above."""
    parts = module.split(".")
    names = {".".join(parts[: i + 1]) for i in range(len(parts))}
    return module not in DECISIVE and bool(names & (NEUTRAL.keys() | NEUTRAL_IN.get(stage, {}).keys()))


def closure(stage: str, known: Mapping[str, Path]) -> set[Path]:
    """The files whose edit can change what a stage writes."""
    waiting, seen = [f"stages.{stage}"], set[str]()
    if stage in ("pretrain", "tune"):
        waiting += [f"pretextbench.{name}" for name in PLUGIN_API]
    elif stage == "augment":
        waiting.append("pretextbench.parts")  # has the recipe of two views
    while waiting:
        module = waiting.pop()
        if module not in seen and not is_neutral(module, stage):
            seen.add(module)
            waiting += imports(known[module], known)
    return {known[module] for module in seen} - _docstrings(known)


def _docstrings(known: Mapping[str, Path]) -> set[Path]:
    """Modules without code."""
    return {path for path in known.values() if len(_tree(path).body) < 2}


def watched(deps: list[str], known: Mapping[str, Path]) -> set[Path]:
    """The modules below the paths that a stage of dvc.yaml depends on."""
    roots = [PROJECT / dep for dep in deps]
    below = {path for path in known.values() if any(path.is_relative_to(root) for root in roots)}
    return below - _docstrings(known)
