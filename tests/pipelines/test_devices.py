"""Who gets which accelerator, on a machine that need not have any: a device is never in two hands, unless asked."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines import devices, graph, runner, server
from pipelines.graph import Node
from pipelines.processes import Children
from pipelines.reproduce import Outcome
from pipelines.runner import Order, Site
from tests.pipelines.conftest import Toy

GOES = lambda: True  # noqa: E731  # nobody has pressed Ctrl-C


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of this test alone."""
    monkeypatch.setattr(devices, "_folder", lambda: tmp_path / "locks")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"PRETEXTBENCH_DEVICES": "0, 1"}, ["0", "1"]),
        ({"PRETEXTBENCH_DEVICES": "0,0", "CUDA_VISIBLE_DEVICES": "3"}, ["0", "0"]),
        ({"PRETEXTBENCH_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "2,GPU-1f"}, ["2", "GPU-1f"]),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
    ],
)
def test_the_user_names_the_devices_before_the_machine_does(env: dict[str, str], expected: list[str]) -> None:
    assert devices.available(env) == expected


def test_else_the_machine_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.available({}) == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 0; echo 1\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert devices.available({}) == ["0", "1"]
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho no driver; exit 9\n")
    assert devices.available({}) == []


@pytest.mark.parametrize(
    ("cores", "names", "jobs"), [(1, 0, 1), (2, 0, 2), (8, 0, 2), (64, 0, 16), (64, 4, 16), (8, 4, 4)]
)
def test_jobs_follow_cores_and_devices(cores: int, names: int, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cores", lambda: cores)
    assert devices.jobs(["0"] * names) == jobs


def test_a_device_is_held_alone_and_several_all_at_once() -> None:
    with devices.share(1, ["0", "1"], GOES) as (one, _), devices.share(1, ["0", "1"], GOES) as (two, _):
        assert [one, two] == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
        with devices.share(1, ["0", "1"], lambda: False) as (none, held):
            assert (none, held) == ({}, [])
    with devices.share(2, ["0", "1"], GOES) as (both, held):
        assert both == {"CUDA_VISIBLE_DEVICES": "0,1"}
        assert len(held) == 2
        assert devices._all(1, ["0", "1"]) == {}
    with devices.share(1, ["0", "1"], GOES), devices.share(1, ["1"], GOES):
        assert devices._all(2, ["0", "1"]) == {}, "and the free one is not kept"


def test_two_may_use_a_device_that_is_named_twice() -> None:
    with devices.share(1, ["0", "0"], GOES) as (one, _), devices.share(1, ["0", "0"], GOES) as (two, _):
        assert one == two == {"CUDA_VISIBLE_DEVICES": "0"}
        assert devices._all(1, ["0", "0"]) == {}
    with devices.share(2, ["0", "0", "1"], GOES) as (both, _):
        assert both == {"CUDA_VISIBLE_DEVICES": "0,1"}, "two processes of one training need two devices"


def test_more_than_there_are_is_all_and_none_is_none() -> None:
    with devices.share(4, ["0", "1"], GOES) as (all_of_them, _):
        assert all_of_them == {"CUDA_VISIBLE_DEVICES": "0,1"}
    with devices.share(1, [], GOES) as (nothing, held):
        assert (nothing, held) == ({}, [])


def test_a_device_stays_with_the_process_that_has_inherited_it() -> None:
    with devices.share(1, ["0"], GOES) as (_, held):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=held)
    assert devices._all(1, ["0"]) == {}, "the flow has let go, as when it is killed"
    child.communicate(b"\n")
    with devices.share(1, ["0"], GOES) as (mine, _):
        assert mine


def test_trainings_side_by_side_get_different_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four on two devices: each writes down which it has, and none begins with a device before another has ended."""
    monkeypatch.setenv("PRETEXTBENCH_DEVICES", "0,1")
    script = (
        'd=$CUDA_VISIBLE_DEVICES; mkdir "busy$d" || echo "$d" >> twice; sleep 0.3; echo "$d" >> used; rmdir "busy$d"'
    )
    monkeypatch.setattr(graph, "DVC", ["/bin/sh", "-c", script])
    site = Site(Children(tmp_path), {}, jobs=4)
    orders = [Order("run", Node(f"pretrain@{i}", (), False, devices=1), stale=True) for i in range(4)]
    result: list[str] = []
    crowd = [
        threading.Thread(target=lambda order=order: result.append(site.repro(order, []).where)) for order in orders
    ]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(60)
    assert not (tmp_path / "twice").exists()
    assert sorted((tmp_path / "used").read_text().split()) == sorted(where.split()[-1] for where in result)
    assert set((tmp_path / "used").read_text().split()) == {"0", "1"}


def test_waiting_for_a_device_ends_when_the_run_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRETEXTBENCH_DEVICES", "0")
    site, ended = Site(Children(tmp_path), {}), []
    order = Order("run", Node("pretrain@a", (), False, devices=1), stale=True)
    with devices.share(1, ["0"], GOES):
        thread = threading.Thread(target=lambda: ended.append(site.repro(order, []).state))
        thread.start()
        time.sleep(0.1)
        site.children.stop()
        thread.join(60)
    assert ended == ["stopped"]


def test_a_stage_that_ctrl_c_stopped_has_no_message_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where it was killed before it could write its exit status: the summary says once what is kept."""
    site = Site(Children(tmp_path), {})

    def stopped(children: Children, stage: str, *rest: object) -> Outcome:
        children.stopping.set()
        return Outcome(stage, "failed", 1.0, "stopped by Ctrl-C. `dvc repro` goes on from here; see log")

    monkeypatch.setattr(runner, "reproduce", stopped)
    result = site.repro(Order("run", Node("evaluate@a", (), False), stale=True), [])
    assert (result.state, result.reason) == ("stopped", "")


@pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise")  # from pygtrie, which DVC uses
def test_the_pipeline_says_what_needs_devices(toy: Toy) -> None:
    root = toy((server.CODE / "dvc.yaml").read_text())
    (root / "runs").mkdir()
    (root / "runs/methods.json").write_text('{"simclr": {}, "random": {}}')
    params = "compare: {methods: [simclr], controls: [random], references: [], seeds: [0], budgets: []}\n"
    params += "prepare: {}\naugment: {}\nencoder: {}\n"
    for training, expected in (
        ("devices: 3", 3),
        ("images: 5", 1),
        ("devices: 3, accelerator: cpu", 0),
        ("devices: x", 1),
    ):
        (root / "params.yaml").write_text(params + f"pretrain: {{{training}}}\n")
        result = {node.name: node.devices for node in graph.read([])}
        assert {result["pretrain@simclr-0"], result["pretrain-control@random-0"]} == {expected}
        assert {result[f"{name}"] for name in ("augment@simclr", "evaluate@simclr-0", "evaluate-control@random-0")} == {
            1
        }
        assert {result[name] for name in ("inventory", "prepare", "audit", "views", "transfer", "compare")} == {0}
