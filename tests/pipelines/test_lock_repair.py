"""Files of DVC that a kill left half written: set aside, and nothing is run twice for it."""

import json
from pathlib import Path

import pytest
import yaml

from pipelines import graph
from pipelines.graph_run import mend
from tests.pipelines.conftest import Toy, start

PIPELINE = """
stages:
  one: {cmd: echo 1 > one, outs: [one]}
  two: {cmd: cat one > two, deps: [one], outs: [two]}
"""
LOCK = """schema: '2.0'
stages:
  one:
    cmd: echo 1 > one
    outs:
    - path: one
      hash: md5
      md5: b026324c6904b2a9cb4b88d6d61c81d1
      size: 2
  two:
    cmd: cat one > two
    deps:
    - path: one
      hash: md5
      md5: b026324c6904b2a9cb4b88d6d61c81d1
      size: 2
"""


def test_what_is_whole_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/tmp/rwlock").write_text('{"read": {}, "write": {}}')
    for content in (LOCK, "schema: '2.0'\n", LOCK.replace("  two:", "<<<<<<< ours\n  two:")):
        (tmp_path / "dvc.lock").write_text(content)
        assert mend(tmp_path, again=0) == []
        assert (tmp_path / "dvc.lock").read_text() == content
    assert mend(tmp_path / "nowhere") == []


@pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")  # from pygtrie, which DVC uses
def test_wherever_a_lock_file_is_cut_dvc_can_read_what_is_left(toy: Toy) -> None:
    path, mended = toy(PIPELINE) / "dvc.lock", 0
    for length in range(0, len(LOCK), 29):
        path.write_text(LOCK[:length])
        messages = mend(path.parent, again=0)
        assert bool(messages) is not path.exists()
        assert [node.name for node in graph.read([])] == ["one", "two"]
        mended += bool(messages)
        if messages:
            assert messages[0].startswith("dvc.lock was half written, as a kill leaves it, and is now dvc.lock.torn.")
            assert (path.parent / "dvc.lock.torn").read_text() == LOCK[:length]
    assert 0 < mended < len(LOCK) / 29


@pytest.mark.parametrize("content", ["", '{"read": {}, "wri'])
def test_a_torn_rwlock_is_set_aside(tmp_path: Path, content: str) -> None:
    path = tmp_path / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert len(mend(tmp_path, again=0)) == 1
    assert not path.exists()


def test_a_write_that_is_under_way_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text("")
    monkeypatch.setattr("time.sleep", lambda seconds: path.write_text(LOCK))
    assert mend(tmp_path) == []
    assert path.read_text() == LOCK


@pytest.mark.slow
def test_the_next_flow_finishes_and_runs_nothing_twice(toy: Toy, server_url: str) -> None:
    stages = {
        f"s{i}": {"cmd": f"echo x >> ran{i}; echo {i} > out{i}", "deps": ["seed"], "outs": [f"out{i}"]}
        for i in range(2)
    }
    project = toy(json.dumps({"stages": stages}))
    (project / "seed").touch()  # DVC's run cache keeps what was made of something

    def flow() -> str:
        with start(project, "pipelines.run", PREFECT_API_URL=server_url) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        return err

    assert flow() == ""
    (project / "dvc.lock").write_text((project / "dvc.lock").read_text()[:-150])
    (project / ".dvc/tmp/rwlock").write_text("")
    messages = flow()
    assert ".dvc/tmp/rwlock was half written" in messages
    assert set(yaml.safe_load((project / "dvc.lock").read_text())["stages"]) == set(stages)
    assert [(project / f"ran{i}").read_text() for i in range(2)] == ["x\n"] * 2
