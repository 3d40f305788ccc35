"""What many tests share: repeatable draws, and distributions that exist only while a test runs."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

Install = Callable[..., Path]
torch.set_num_threads(1)  # the networks of the tests are too small to share, and sums keep their order


@pytest.fixture(autouse=True)
def _repeatable() -> None:
    """Tests neither see nor leave a state of torch's global generator."""
    torch.manual_seed(0)


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
