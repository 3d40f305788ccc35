"""What DVC has committed: the judge is DVC."""

import subprocess
import sys
from pathlib import Path

import pytest

from pretextbench.project.lockfile import committed
from tests.pipelines.conftest import Toy

CMD = "mkdir -p runs/x-0 && echo 1 > runs/x-0/b && echo é > runs/x-0/a.json"
YAML = f"stages:\n  one:\n    cmd: {CMD}\n    outs: [runs/x-0]\n"
OUT = Path("runs/x-0")


@pytest.mark.slow
def test_what_dvc_has_committed_is_known_by_its_files_alone(toy: Toy) -> None:
    toy(YAML)
    assert not committed(OUT, Path("nothing"))
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert committed(OUT, OUT)
    assert not committed(Path("runs/x-1"), OUT)
    copy = Path("copy")
    copy.mkdir()
    for name in ("a.json", "b"):
        (copy / name).write_bytes((OUT / name).read_bytes())
    assert committed(OUT, copy)
    (copy / "b").write_text("2\n")
    assert not committed(OUT, copy)


@pytest.mark.parametrize(
    "text", ["", "schema: '2.0'", "stages: [1]", "stages: {a: {outs: [{path: runs/x-0}]}}", "a: ["]
)
def test_a_lock_file_that_says_nothing_has_committed_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(text)
    (tmp_path / "out").mkdir()
    assert not committed(OUT, tmp_path / "out", tmp_path / "lock")
