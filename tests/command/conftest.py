"""What the tests of the commands share: a project, and a way to type a command in it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pretextbench.command import main
from tests import encoder_files
from tests.embedding.test_gather import paint

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Output:
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


Type = Callable[..., Output]


def away_from_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches of weights below a folder, and no server that is asked for some."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(folder / "hugging"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout, with the shipped params.yaml, as the working folder.

    The caches of weights are empty, and no server is asked.
    """
    away_from_weights(tmp_path, monkeypatch)
    folder = tmp_path / "project"
    for name in ("stages", "pipelines", ".dvc"):
        (folder / name).mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_bytes((CHECKOUT / "params.yaml").read_bytes())
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str]) -> Type:
    """`typed("run", "--jobs", 2)`: the exit status, and what was printed."""

    def typed(*arguments: object) -> Output:
        capfd.readouterr()
        code = main([str(term) for term in arguments])
        return Output(code, *capfd.readouterr())

    return typed


BOARD = """\
name,kind,linear,linear_layer,picked
random,control,0.9,,0
rotation,method,0.85,,0
simclr,method,0.8,,1
"""


@pytest.fixture
def trained(project: Path) -> Path:
    """A project with encoders of two methods, a control, an evaluation and a leaderboard; and photos/, two broken."""
    for run in ("simclr-1", "simclr-0", "rotation-2", "random-0"):
        folder = encoder_files.write(project / "runs" / "pretrain" / run)
        card = json.loads((folder / "encoder.json").read_text())
        name, _, seed = run.rpartition("-")  # the method stays "random", which can be built here
        (folder / "encoder.json").write_text(json.dumps(card | {"seed": int(seed), "control": name == "random"}))
    evaluated = project / "runs" / "evaluate" / "simclr-0"
    evaluated.mkdir(parents=True)
    (evaluated / "metrics.json").write_text(json.dumps({"linear": {"best": "layer2"}}))
    (project / "reports").mkdir()
    (project / "reports" / "leaderboard.csv").write_text(BOARD)
    for i in range(6):
        paint(project / "photos" / f"{i}.png", (i * 40, 255 - 40 * i, 9))
    (project / "photos" / "4.png").write_bytes(b"")
    (project / "photos" / "5.png").write_bytes(b"GIF89a")
    return project
