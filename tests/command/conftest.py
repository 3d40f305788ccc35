"""What the tests of the commands share: a project, and a way to type a command in it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pretextbench.command import main

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    error: str

    @property
    def message(self) -> str:
        """The one message of a command that was refused: `error: ...`, nothing else on either stream."""
        assert self.out == ""
        assert self.error.count("error:") == 1
        assert "Traceback" not in self.error
        return self.error.removeprefix("error: ").strip()


Type = Callable[..., Said]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout, with the shipped params.yaml, as the working folder."""
    folder = tmp_path / "project"
    for name in ("stages", "pipelines"):
        (folder / name).mkdir(parents=True)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_bytes((CHECKOUT / "params.yaml").read_bytes())
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str]) -> Type:
    """`typed("run", "--jobs", 2)`: the exit status, and what was printed."""

    def typed(*words: object) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Said(code, *capfd.readouterr())

    return typed
