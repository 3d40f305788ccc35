"""A dvc.lock that a kill has cut off where YAML can still read it loses no stage."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines import graph
from pipelines.graph_run import mend
from pretextbench.project import lockfile
from tests.pipelines.conftest import CODE, Toy

OUT = "    - path: o{0}\n      hash: md5\n      md5: {0}0ff\n      size: 2\n"
ENTRY = "  s{0}:\n    cmd: echo {0} > o{0}\n    outs:\n" + OUT
LOCK = "schema: '2.0'\nstages:\n" + "".join(map(ENTRY.format, range(9)))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Its dvc.lock is whole, and has been kept."""
    (tmp_path / "dvc.lock").write_text(LOCK)
    lockfile.keep(tmp_path)
    return tmp_path


def test_a_whole_file_is_left_alone(project: Path) -> None:
    assert lockfile.complete(project, again=0) == []
    assert (project / "dvc.lock").read_text() == LOCK
    (project / "dvc.lock").write_text(LOCK[: LOCK.index("  s8")])  # a stage less: somebody has removed it
    assert lockfile.complete(project, again=0) == []


def test_wherever_it_is_cut_no_stage_is_lost(project: Path) -> None:
    completed = 0
    for length in range(60, len(LOCK) - 1, 23):
        (project / "dvc.lock").write_text(LOCK[:length])
        lost = lockfile.complete(project, again=0)
        if lost:
            assert yaml.safe_load((project / "dvc.lock").read_text()) == yaml.safe_load(LOCK)
            completed += 1
    assert completed > 10


def test_what_the_killed_run_has_made_before_the_cut_stays(project: Path) -> None:
    newer = LOCK.replace("md5: 30ff", "md5: new")
    (project / "dvc.lock").write_text(newer[: newer.index("md5: 70ff") + 6])
    assert lockfile.complete(project, again=0) == ["s7", "s8"]
    assert yaml.safe_load((project / "dvc.lock").read_text()) == yaml.safe_load(newer)


def test_a_torn_file_is_not_kept(project: Path) -> None:
    (project / "dvc.lock").write_text(LOCK[:100])
    lockfile.keep(project)
    assert (project / ".scratch/dvc.lock").read_text() == LOCK


def test_a_write_that_is_under_way_is_no_damage(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "dvc.lock").write_text(LOCK[:100])
    monkeypatch.setattr("time.sleep", lambda seconds: (project / "dvc.lock").write_text(LOCK))
    assert lockfile.complete(project) == []
    assert (project / "dvc.lock").read_text() == LOCK


def test_without_files_there_is_nothing_to_do(tmp_path: Path) -> None:
    lockfile.keep(tmp_path)
    assert lockfile.complete(tmp_path, again=0) == []
    (tmp_path / "dvc.lock").write_text(LOCK[:100])
    assert lockfile.complete(tmp_path, again=0) == [], "nothing was kept"
    assert not (tmp_path / ".scratch").exists()


def test_a_file_that_cannot_be_read_is_replaced_by_the_copy(project: Path) -> None:
    (project / "dvc.lock").write_text(LOCK[: LOCK.index("hash: md5") + 3])
    assert len(mend(project, again=0)) == 1
    assert (project / "dvc.lock").read_text() == LOCK
    assert (project / "dvc.lock.torn").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")  # from pygtrie, which DVC uses
def test_dvc_keeps_what_is_put_back_while_it_runs(toy: Toy) -> None:
    """It has read dvc.lock by then, and reads it again before it writes."""
    code = "import pathlib, pretextbench.project.lockfile as f; p = pathlib.Path(); f.complete(p, 0); f.keep(p)"
    first = {"cmd": f'PYTHONPATH={CODE} {sys.executable} -c "{code}"; echo 1 > i', "outs": ["i"]}
    others = {f"s{n}": {"cmd": f"cat i > o{n}", "deps": ["i"], "outs": [f"o{n}"]} for n in range(4)}
    project = toy(json.dumps({"stages": {"inventory": {**first, "always_changed": True}, **others}}))
    for target in ([], ["inventory"]):
        subprocess.run([sys.executable, "-m", "dvc", "repro", *target], check=True, capture_output=True)
    path = project / "dvc.lock"
    path.write_text(path.read_text()[: path.read_text().index("  s2:") + 25])
    assert {"s2", "s3"} <= graph.stale(list(others))
    subprocess.run([sys.executable, "-m", "dvc", "repro", "s0"], check=True, capture_output=True)
    assert graph.stale(list(others)) == set()
