"""The graph flow on Dask workers: whatever holds with threads holds in processes elsewhere."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from pipelines.dask_cluster import Cluster
from pretextbench.errors import UserError
from pretextbench.project import run_options
from tests.pipelines.conftest import Toy, cluster, pipeline, results, start, wait_for
from tests.pipelines.test_graph import BRANCHES, DIAMOND, MEET

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")  # from pygtrie, which DVC uses
LONG = "stages:\n  long:\n    cmd: echo $$ > pid; exec sleep 600\n    outs: [out]\n"


def test_without_the_extra_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(UserError, match=r"not installed here \(prefect_dask\)\. Run `uv sync --extra dask`"):
        Cluster("local", 1, tmp_path)


@pytest.mark.slow
def test_an_address_without_a_scheduler_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pipelines.dask_cluster.PATIENCE", 0.3)
    with pytest.raises(UserError, match=r"No Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        Cluster("tcp://127.0.0.1:9", 1, tmp_path)


def test_a_target_that_is_taken_for_an_address_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_options.arguments(["compare", "--dask"]).dask == "local"
    assert run_options.arguments(["--dask", "tcp://h:8786", "compare"]).targets == ["compare"]
    with pytest.raises(SystemExit):
        run_options.arguments(["--dask", "compare"])
    assert "found 'compare'; name targets before it" in capsys.readouterr().err


@pytest.mark.slow
def test_branches_run_side_by_side_failures_stay_in_theirs_and_a_second_run_does_nothing(
    toy: Toy, server_url: str
) -> None:
    project = toy(DIAMOND.replace("PRETRAIN", MEET) + BRANCHES)
    first = pipeline(project, server_url, "--jobs", "2", "--dask", OMP_NUM_THREADS="3")
    done = {name: state for name, state in results(first).items() if state != "ran"}
    assert (len(results(first)), done) == (9, {"mistake": "failed", "after-mistake": "not run"})
    assert first.returncode == 2
    assert "mistake: lr is -1, allowed are values above 0; see " in first.stderr
    assert "Traceback" not in first.stderr
    assert len(re.findall(r"^pretrain@\S+ +ran +[\d.]+  \S+$", first.stdout, re.M)) == 2, "where it ran"
    assert (project / "report").read_text() == "x\nx\n"
    assert (project / "mistaken").read_text() == "x\n"
    assert (project / "tried").read_text() == "x\n" * 3
    assert (project / "threads").read_text() == "3\n", "Dask would have set 1"
    second = pipeline(project, server_url, "--dask", "local", "compare")
    assert (second.returncode, second.stderr) == (0, "")
    assert set(results(second).items()) == {("inventory", "ran")} | {
        (name, "up to date") for name in ("prepare", "pretrain@a-0", "pretrain@b-0", "compare")
    }


@pytest.mark.slow
@pytest.mark.parametrize("everybody", [False, True], ids=["the flow", "the terminal"])
def test_ctrl_c_ends_stages_in_workers(toy: Toy, server_url: str, everybody: bool) -> None:
    project = toy(LONG)
    process = start(project, "pipelines.run", "--dask", "--jobs", "1", PREFECT_API_URL=server_url)
    wait_for(project / "pid")
    time.sleep(0.2)
    child = int((project / "pid").read_text())
    (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert re.search(r"^long +stopped", out, re.M)
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.slow
def test_stages_that_outlive_a_killed_flow_are_told_to_the_next(toy: Toy, server_url: str) -> None:
    project = toy(LONG)
    process = start(project, "pipelines.run", "--dask", "--jobs", "1", PREFECT_API_URL=server_url)
    wait_for(project / "pid")
    process.kill()
    process.communicate(timeout=60)
    try:
        second = pipeline(project, server_url)
        assert second.returncode == 2
        assert "It was killed, and stages of it are still at work." in second.stderr
    finally:
        os.kill(int((project / "pid").read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_a_cluster_at_an_address(toy: Toy, server_url: str) -> None:
    project = toy("stages:\n  one:\n    cmd: cat seed > out\n    deps: [seed]\n    outs: [out]\n")
    (project / "seed").write_text("x\n")
    with cluster(project) as address:
        for expected in ("ran", "restored"):  # the worker serves one run after another
            (project / "out").unlink(missing_ok=True)
            done = pipeline(project, server_url, "--dask", address)
            assert done.returncode == 0, done.stderr
            assert results(done) == {"one": expected}
