"""What is read from DVC, and the whole graph as a flow, on a toy project with shell commands for stages."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pretextbench.errors import UserError
from tests.pipelines.conftest import CODE, Toy, pipeline, results, start, wait_for

# From pygtrie, by which DVC looks up who makes a file.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")
DIAMOND = """
stages:
  inventory:
    always_changed: true
    cmd: echo '{"a":1,"b":2}' > inventory.json
    outs: [inventory.json]
  prepare:
    cmd: echo p > prepared
    outs: [prepared]
  pretrain:
    matrix: {method: [a, b], seed: [0]}
    cmd: PRETRAIN
    params: [inventory.json: ["${item.method}"]]
    deps: [prepared]
    outs: ["${item.method}.out"]
  compare:
    cmd: cat a.out b.out > report
    deps: [a.out, b.out]
    outs: [report]
"""
# Each waits until the other has started: the pipeline ends only if the two run side by side.
MEET = (
    "touch ${item.method}.here; until [ -e a.here ] && [ -e b.here ]; do sleep 0.05; done; echo x > ${item.method}.out"
)
# Below them in the same file: a mistake, something transient, and a stage after each.
BRANCHES = """\
  mistake:
    cmd: "echo x >> mistaken; echo 'error: lr is -1, allowed are values above 0' >&2; exit 2"
    outs: [mistake.out]
  after-mistake:
    cmd: cp mistake.out after-mistake.out
    deps: [mistake.out]
    outs: [after-mistake.out]
  flaky:
    cmd: echo x >> tried; [ $(wc -l < tried) -gt 2 ] && echo x > flaky.out
    outs: [flaky.out]
  after-flaky:
    cmd: cp flaky.out after-flaky.out; echo $OMP_NUM_THREADS > threads
    deps: [flaky.out]
    outs: [after-flaky.out]
"""


@pytest.fixture(scope="module")
def graph():  # type: ignore[no-untyped-def]
    """Imports DVC, which takes a second."""
    from pipelines import graph

    return graph


def test_every_stage_comes_after_those_it_needs(toy: Toy, graph) -> None:  # type: ignore[no-untyped-def]
    toy(DIAMOND.replace("PRETRAIN", "echo x"))
    nodes = graph.read([])
    names = [node.name for node in nodes]
    assert sorted(names) == ["compare", "inventory", "prepare", "pretrain@a-0", "pretrain@b-0"]
    assert {node.name: set(node.needs) for node in nodes}["compare"] == {"pretrain@a-0", "pretrain@b-0"}
    assert {node.name: set(node.needs) for node in nodes}["pretrain@a-0"] == {"prepare", "inventory"}
    assert all(names.index(need) < names.index(node.name) for node in nodes for need in node.needs)
    assert [node.name for node in nodes if node.always] == ["inventory"]


def test_a_target_brings_what_leads_to_it_and_no_more(toy: Toy, graph) -> None:  # type: ignore[no-untyped-def]
    toy(DIAMOND.replace("PRETRAIN", "echo x"))
    assert {node.name for node in graph.read(["pretrain@b-0"])} == {"inventory", "prepare", "pretrain@b-0"}
    assert len(graph.read(["pretrain"])) == 4  # all of the matrix


def test_an_unknown_target_is_refused(toy: Toy, graph) -> None:  # type: ignore[no-untyped-def]
    toy(DIAMOND.replace("PRETRAIN", "echo x"))
    with pytest.raises(UserError, match=r"no stage 'pretrian'\. Did you mean 'pretrain'\?"):
        graph.read(["pretrian"])


def test_a_pipeline_with_a_mistake_is_refused(toy: Toy, graph) -> None:  # type: ignore[no-untyped-def]
    toy("stages: [1]")
    with pytest.raises(UserError, match=r"dvc\.yaml.*expected a dictionary"):
        graph.read([])


@pytest.mark.slow
def test_a_parameter_that_the_graph_needs_is_named(toy: Toy, graph) -> None:  # type: ignore[no-untyped-def]
    """A params.yaml written before `compare.references` was there."""
    toy(DIAMOND.replace("[a, b]", '"${compare.references}"'))
    with pytest.raises(UserError, match=r"'compare.references'.* Add it to params\.yaml; an empty list is `\[\]`"):
        graph.read([])


@pytest.mark.slow
def test_branches_run_side_by_side_failures_stay_in_theirs_and_a_second_run_does_nothing(
    toy: Toy, server_url: str
) -> None:
    """A mistake is not tried again, something transient is, what depends on a failure is not run, the rest is."""
    project = toy(DIAMOND.replace("PRETRAIN", MEET) + BRANCHES)
    first = pipeline(project, server_url, "--jobs", "2")
    done = {name: state for name, state in results(first).items() if state != "ran"}
    assert (len(results(first)), done) == (9, {"mistake": "failed", "after-mistake": "not run"})
    assert first.returncode == 2
    assert "mistake: lr is -1, allowed are values above 0; see " in first.stderr
    assert "Traceback" not in first.stderr
    assert (project / "report").read_text() == "x\nx\n"
    assert (project / "mistaken").read_text() == "x\n"
    assert (project / "tried").read_text() == "x\n" * 3
    second = pipeline(project, server_url, "compare")
    assert (second.returncode, second.stderr) == (0, "")
    assert set(results(second).items()) == {("inventory", "ran")} | {
        (name, "up to date") for name in ("prepare", "pretrain@a-0", "pretrain@b-0", "compare")
    }
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "compare"], cwd=project, capture_output=True, text=True
    )
    assert status.stdout.strip() == "Data and pipelines are up to date."


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_leaves_no_process(toy: Toy, server_url: str, number: signal.Signals, code: int) -> None:
    project = toy("stages:\n  long:\n    cmd: echo $$ > pid; exec sleep 600\n    outs: [out]\n")
    process = start(project, "pipelines.run", PREFECT_API_URL=server_url, PRETEXTBENCH_GRACE="3")
    wait_for(project / "pid")
    time.sleep(0.2)
    child = int((project / "pid").read_text())
    if number == signal.SIGINT:  # once is enough
        second = pipeline(project, server_url)
        assert second.returncode == 2
        assert f"process {process.pid}, started " in second.stderr
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "stopped" in out
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.slow
def test_when_dvc_alone_is_killed_its_stage_is_waited_for_and_the_work_is_done(toy: Toy, server_url: str) -> None:
    """A second one beside it would end as a mistake, as a stage does that finds itself at work."""
    script = "cut -d ' ' -f 4 /proc/$PPID/stat > dvc.pid; mkdir busy || exit 2; echo x >> ran; "
    script += "sleep 2; rmdir busy; echo x > out"
    project = toy(json.dumps({"stages": {"long": {"cmd": script, "outs": ["out"]}}}))
    process = start(project, "pipelines.run", PREFECT_API_URL=server_url, PRETEXTBENCH_BACK_OFF="0.1")
    wait_for(project / "ran")
    os.kill(int((project / "dvc.pid").read_text()), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert (project / "ran").read_text() == "x\n" * 2


@pytest.mark.slow
def test_beside_somebodys_dvc_the_flow_says_who_is_at_work(toy: Toy, server_url: str) -> None:
    project = toy(DIAMOND.replace("PRETRAIN", "echo x > ${item.method}.out"))
    (project / ".dvc/tmp").mkdir()
    held = {str(project / "inventory.json"): {"pid": os.getpid(), "cmd": "dvc repro"}}
    (project / ".dvc/tmp/rwlock").write_text(json.dumps({"read": {}, "write": held}))
    done = pipeline(project, server_url)
    assert done.returncode == 2
    assert f"inventory.json is in use by process {os.getpid()} (dvc repro)" in done.stderr
    assert f"`kill {os.getpid()}`" in done.stderr
    assert "KeyError" not in done.stderr
    assert "not recorded in Prefect" not in done.stderr


@pytest.mark.slow
def test_without_a_reader_of_its_output_a_run_goes_on(toy: Toy, server_url: str) -> None:
    """The parent, a pager or the terminal is gone."""
    project = toy("stages:\n  one:\n    cmd: echo x > out\n    outs: [out]\n")
    read, write = os.pipe()
    os.close(read)
    env = {**os.environ, "PYTHONPATH": str(CODE), "PREFECT_API_URL": server_url}
    command = [sys.executable, "-m", "pipelines.run"]
    done = subprocess.run(command, cwd=project, env=env, stdout=write, stderr=subprocess.PIPE, text=True, timeout=400)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert (project / "out").exists()


@pytest.mark.slow
def test_without_a_server_dvc_does_the_work(toy: Toy) -> None:
    project = toy("stages:\n  one:\n    cmd: echo x > out\n    outs: [out]\n")
    done = pipeline(project, "http://127.0.0.1:9/api")
    assert done.returncode == 0
    assert done.stderr.count("warning: this run is not recorded in Prefect") == 1
    assert (project / "out").exists()
