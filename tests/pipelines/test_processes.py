"""Processes that a run starts: stopped with all they have started, waited for, and holding its lock."""

import os
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from pipelines.processes import Children, Stopping, lives
from pretextbench.project.locks import take

SH = "/bin/sh"


def test_stopping_ends_the_whole_group_of_a_child(tmp_path: Path) -> None:
    children = Children(tmp_path, grace=0.3)
    script = "trap '' INT; sleep 60 & echo $! > grandchild; wait; sleep 60"  # ignores Ctrl-C
    thread = threading.Thread(target=children.run, args=([SH, "-c", script], tmp_path / "log", {}))
    thread.start()
    while not (tmp_path / "grandchild").exists() or not (tmp_path / "grandchild").read_text().strip():
        time.sleep(0.01)
    children.stop()
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(ProcessLookupError):
        _wait_gone(int((tmp_path / "grandchild").read_text()))
    with pytest.raises(Stopping):
        children.run([SH, "-c", "true"], tmp_path / "log", {})


def _wait_gone(pid: int) -> None:
    for _ in range(3000):
        os.kill(pid, 0)
        try:
            zombie = ") Z" in Path(f"/proc/{pid}/stat").read_text()  # nobody has reaped it
        except FileNotFoundError:
            zombie = True
        if zombie:
            raise ProcessLookupError
        time.sleep(0.02)


def test_a_polite_child_gets_ctrl_c_first(tmp_path: Path) -> None:
    children = Children(tmp_path, grace=10)
    script = "trap 'echo bye; exit 130' INT; echo ready; while :; do sleep 0.05; done"
    codes: list[int] = []
    thread = threading.Thread(
        target=lambda: codes.append(children.run([SH, "-c", script], tmp_path / "log", {})),
    )
    thread.start()
    while "ready" not in ((tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""):
        time.sleep(0.01)
    children.stop()
    thread.join(60)
    assert codes == [130]
    assert "bye" in (tmp_path / "log").read_text()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600, "stages may print what is not for everybody"


def test_what_a_killed_child_has_started_is_waited_for(tmp_path: Path) -> None:
    """As DVC is killed alone and its stage goes on: to try again at once would meet it at work."""
    children = Children(tmp_path)
    script = "(sleep 1; echo done > end) & echo $$ > leader; wait"
    ended: list[tuple[int, bool]] = []

    def run() -> None:
        status = children.run([SH, "-c", script], tmp_path / "log", {})
        ended.append((status, (tmp_path / "end").exists()))

    thread = threading.Thread(target=run)
    thread.start()
    os.kill(leader(tmp_path), signal.SIGKILL)
    thread.join(60)
    assert ended == [(-signal.SIGKILL, True)]


def test_what_a_killed_child_has_started_is_stopped_with_the_run(tmp_path: Path) -> None:
    children = Children(tmp_path, grace=0.2)
    thread = threading.Thread(
        target=children.run, args=([SH, "-c", "sleep 60 & echo $$ > leader; wait"], tmp_path / "log", {})
    )
    thread.start()
    group = leader(tmp_path)
    os.kill(group, signal.SIGKILL)
    time.sleep(0.2)
    assert thread.is_alive()
    children.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert not lives(group)


def leader(folder: Path) -> int:
    """The number that a script has written into `leader`."""
    path, end = folder / "leader", time.monotonic() + 60
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return int(path.read_text())


def test_children_inherit_the_lock_of_the_run(tmp_path: Path) -> None:
    lock = take(tmp_path / "lock")
    assert lock is not None
    process = Children(tmp_path, (lock.descriptor,))._start([SH, "-c", "exec sleep 60"], 1, {})
    lock.close()
    assert take(tmp_path / "lock", wait=False) is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert take(tmp_path / "lock", wait=False) is not None
