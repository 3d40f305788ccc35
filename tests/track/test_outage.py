"""Stores that die, hang and come back, and recorders in each other's way: real processes, a real server."""

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.track import Record, outbox
from pretextbench.track.outbox import Outbox
from tests.ports import free_port
from tests.track.stores import black_hole, contents, server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


@pytest.mark.parametrize("message", ["[Errno 111] Connection refused", "Read timed out"])
def test_a_store_that_is_away_costs_a_bounded_time(message: str, tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    with black_hole() as hole:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", hole if "timed" in message else f"http://127.0.0.1:{free_port()}")
        assert track.record(Record("k", "simclr-0"), tmp_path) is None
    assert "the record is kept" in caplog.text
    assert f"the server does not answer: {message}" in caplog.text  # and not: no answer within the time limit
    assert len(outbox.waiting(tmp_path)) == 1


def until(condition: Callable[[], Any], root: Path) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, Outbox(root).log.read_text()
        time.sleep(0.2)


def test_a_server_that_goes_and_comes_back_has_everything(
    tmp_path: Path, monkeypatch: Any, caplog: Any, starts: list[Path]
) -> None:
    port, root = free_port(), tmp_path / "project"
    root.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    history = "step,loss\n" + "".join(f"{i},{1 / i}\n" for i in range(1, 1201))  # three requests
    reports = [
        Record(f"key-{i}", f"run-{i}", {"i": i}, {"m": float(i)}, history=history, stage="pretrain") for i in range(3)
    ]
    with server(tmp_path, port):
        first = track.record(reports[0], root)
    assert track.record(reports[1], root) is None
    with server(tmp_path, port) as uri:
        until(lambda: not outbox.waiting(root), root)  # the recorder goes on trying
        last = track.record(reports[2], root)
        store = contents(uri, tmp_path / "read")
    assert first
    assert last
    assert len(starts) == 1
    assert sorted(store) == ["key-0", "key-1", "key-2"]
    log = Outbox(root).log
    assert "secret" not in caplog.text + log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for i, run in enumerate(store[key] for key in sorted(store)):
        assert run["params"] == {"i": str(i)}
        assert [point[::2] for point in run["points"]["m"]] == [(0, float(i))]
        assert [point[::2] for point in run["points"]["Training/Loss"]] == [(j, 1 / j) for j in range(1, 1201)]


STAGE = """
import time
from pathlib import Path
from pretextbench import track
print("begun", flush=True)
track.record(track.Record("k", "simclr-0"), Path("."))
"""


def test_ctrl_c_ends_the_stage_and_not_its_record_and_no_pipe_is_held(
    tmp_path: Path, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRETEXTBENCH_RECORDER_LINGER", "10")  # it is looked at after its stage has ended
    shutil.copy(tables, tmp_path)
    pipe = subprocess.PIPE
    stage = subprocess.Popen(
        [sys.executable, "-c", STAGE], cwd=tmp_path, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    until(lambda: outbox.waiting(tmp_path) and list(tmp_path.glob(".scratch/records/*.lock")), tmp_path)
    until(lambda: recorders(tmp_path), tmp_path)
    os.killpg(stage.pid, signal.SIGINT)
    stage.communicate(timeout=60)  # the recorder, which lives, would keep these pipes open
    (process,) = recorders(tmp_path)
    assert stage.returncode not in (0, None)
    files = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a module that it imports, read meanwhile
            files.add(os.readlink(path))
    assert not [name for name in files if name.startswith(("pipe:", "/dev/pts", "/dev/tty"))]
    until(lambda: not outbox.waiting(tmp_path), tmp_path)
    assert "simclr-0 (): written to run" in Outbox(tmp_path).log.read_text()
    until(lambda: not recorders(tmp_path), tmp_path)
    assert not list(Outbox(tmp_path).folder.glob("*.answer"))


def recorders(root: Path) -> list[int]:
    """Numbers of the recorders of a project."""
    store = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"pretextbench.track\0{root}\0".encode() in (folder / "cmdline").read_bytes():
                store.append(int(folder.name))
    return store


def test_recorders_and_replays_at_once_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    history = "step,loss\n1,2.0\n2,1.0\n"
    reports = [
        Record(f"key-{i}", f"run-{i}", {"i": i}, {stage: 1.0}, history=history, stage=stage)
        for i in range(3)
        for stage in ("pretrain", "evaluate")
    ]
    for one in reports[:4]:
        outbox.save(Record(**{**one.__dict__, "reported": time.time()}), tmp_path)
    command = [sys.executable, "-m", "pretextbench.track", str(tmp_path), "--replay"]
    with ThreadPoolExecutor(4) as pool:
        replays = [pool.submit(subprocess.run, command, capture_output=True, text=True) for _ in range(2)]
        direct = [
            pool.submit(track.record, one, tmp_path) for one in (reports[4], reports[0])
        ]  # reports[0] is in the outbox as well
    assert all(record.result() for record in direct), [r.result() for r in replays]
    done = subprocess.run(command, capture_output=True, text=True)  # what the last to look has not seen
    assert (done.returncode, outbox.waiting(tmp_path)) == (0, []), done.stdout
    store = contents(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "read")
    assert {key: sorted(run["points"]) for key, run in store.items()} == {
        "key-0": ["Training/Loss", "evaluate", "pretrain"],
        "key-1": ["Training/Loss", "evaluate", "pretrain"],
        "key-2": ["Training/Loss", "pretrain"],
    }
    points = {name: len(points) for run in store.values() for name, points in run["points"].items()}
    assert points == {"pretrain": 1, "evaluate": 1, "Training/Loss": 2}
