"""How the tests are spread over processes: pytest-xdist, a file to a process, the files with slow tests first."""

import gc
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Fixtures of the plugins' tests. They are not in plugins/, whose folders are all members of uv's workspace: a
# `__pycache__` there would stop every `uv run`. A copy of the project may have no tests/.
pytest_plugins = ("tests.pair_fixtures",) if (Path(__file__).parent / "tests").is_dir() else ()
MOST = 8  # workers: more would start more servers than they save time
SPREAD = "tests/test_contract.py"  # nothing is shared
KIT = "tests/testing/test_testing.py"
CALLERS = (  # variables of the caller that would change what is tested; some are read at the first import
    *("PYTHONDONTWRITEBYTECODE", "GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "NO_COLOR", "TERMINAL_WIDTH"),
    *("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_TRACKING_URI", "PREFECT_API_URL"),
)
FIRST = ("test_pipeline", "test_guide", "test_agent", "test_docs_commands", "test_outage")  # the longest files


class ByFile(LoadScopeScheduling):
    """The tests of a file share fixtures, so they go to one worker; those of `SPREAD` go to any.

    Checks in two processes go with those of `KIT`: to start the two costs as much as thirty other checks.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # the order is that of `pytest_collection_modifyitems`
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if nodeid.endswith("two_processes]"):
            return KIT
        return nodeid if path == SPREAD else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers for a core, for whole folders: many tests wait for processes that they start.

    None for a plugin, files or tests by name, which start sooner without.
    """
    named = any(".py" in word or word.startswith("plugins/") for word in config.invocation_params.args)
    return 0 if named else min(2 * len(os.sched_getaffinity(0)), MOST)


def pytest_configure(config: pytest.Config) -> None:
    """What processes that are started inherit: nothing of the caller's, a worker has no terminal, Ctrl-C ends them.

    Readline, which pytest imports, gives the size of pytest's terminal to the workers as theirs.
    """
    gc.disable()  # while the tests are imported: see `pytest_collection_finish`
    for name in CALLERS:
        os.environ.pop(name, None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGINT, signal.default_int_handler)
    here = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{here},127.0.0.1" if here else "127.0.0.1"
    if hasattr(config, "workerinput"):
        os.environ.pop("COLUMNS", None)
        os.environ.pop("LINES", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, then those with slow tests, so that no worker ends long after the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: _rank(item.path, slow))


def _rank(path: Path, slow: "set[Path]") -> int:
    order: Sequence[str] = FIRST
    return order.index(path.stem) if path.stem in order else len(order) + (path not in slow)


def pytest_collection_finish() -> None:
    """Collect garbage of the tests alone: imported modules and collected tests, a million objects, stay to the end."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Let the interpreter end as without `pytest_collection_finish`: libraries count what is left at its end."""
    gc.unfreeze()
