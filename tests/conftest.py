"""What many tests share: repeatable draws, and distributions that exist only while a test runs."""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.checkout import Project

Install = Callable[..., Path]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The networks of the tests are too small to share, and sums keep their order."""
    import torch  # not at the top: the process that only hands out tests need not have it

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_host() -> None:
    """Most tests run a stage or two, and the host of the stages pays for more."""
    os.environ.setdefault("PRETEXTBENCH_HOST_LINGER", "0")


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A stage or a server in this process leaves its handlers: copies of the process would have them."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    """Tests neither see nor leave a state of torch's global generator."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_stage_at_work() -> Iterator[None]:
    """The recorder of a test's project ends soon after the test."""
    yield
    if track := sys.modules.get("pretextbench.track"):
        while track._working:
            track._working.popitem()[1].close()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install(distribution, methods, files)`: a distribution as pip would leave it, importable until the test ends.

    `methods` maps entry-point names to targets, `files` paths to Python source. Returns the folder it lies in.
    """
    before = set(sys.modules)

    def install(
        distribution: str, methods: dict[str, str], files: dict[str, str] | None = None, version: str = "1.2.3"
    ) -> Path:
        site = tmp_path / f"site-{distribution}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        points = "\n".join(f"{name} = {target}" for name, target in methods.items())
        (info / "entry_points.txt").write_text(f"[pretextbench.methods]\n{points}\n")
        for path, source in (files or {}).items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(source)
        monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        return site

    yield install
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of pytest-xdist see."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def finished(shared: Path) -> "Project":
    """The one finished comparison of the session: read it, or work in a copy (`checkout.copied`)."""
    from tests import checkout

    return checkout.finished(shared / "finished")
