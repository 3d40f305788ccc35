"""One run in a checkout: who may begin, what a refusal says, and messages of DVC in the words of this project."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines import graph, graph_run
from pipelines.graph_run import CLOCK, lock_checkout, process_number
from pipelines.reproduce import Ending, judge
from pretextbench.errors import UserError
from pretextbench.project import layout, locks
from pretextbench.project.locks import Lock, holder, take, take_soon
from tests.clock import Clock


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def hold(path: Path, text: str) -> Lock:
    lock = take(path, wait=False)
    assert lock is not None
    lock.write(text)
    return lock


def test_a_process_is_the_one_that_took_the_lock(ended: int) -> None:
    now, early = time.strftime(CLOCK), "1999-01-01 00:00:00"
    assert process_number(f"process {os.getpid()}, started {now}") == os.getpid()
    assert process_number(f"process {ended}, started {now}") == 0
    assert process_number(f"process {os.getpid()}, started {early}") == 0, "another process has its number by now"
    assert process_number("") == process_number("process 1, started yesterday") == 0


def test_a_run_at_work_is_named_with_the_command_that_ends_it(tmp_path: Path) -> None:
    """Its terminal may be gone: only `uv` was killed, say."""
    first = lock_checkout(tmp_path)
    with pytest.raises(UserError, match=rf"holds .*: process {os.getpid()}, started .*`kill {os.getpid()}` does"):
        lock_checkout(tmp_path)
    first.close()
    lock_checkout(tmp_path).close()


def test_stages_that_a_killed_run_left_are_named_with_their_numbers(
    tmp_path: Path, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SCRATCH", Path(".scratch"))
    hold(tmp_path / layout.RUN_LOCK, f"process {ended}, started {time.strftime(CLOCK)}")
    hold(tmp_path / layout.stage_lock("pretrain-simclr-0"), "4711")
    hold(tmp_path / layout.stage_lock("evaluate-simclr-0"), "4712").close()
    with pytest.raises(UserError) as refused:
        lock_checkout(tmp_path)
    assert "It was killed, and stages of it are still at work." in str(refused.value)
    assert str(refused.value).endswith("To end them now: `kill 4711`.")


def test_a_look_at_a_lock_refuses_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` holds a lock for an instant: a run that begins in it waits."""
    monkeypatch.setattr(locks, "MOMENT", 60)
    look = take(tmp_path / layout.RUN_LOCK, shared=True)
    assert look is not None
    threading.Timer(0.15, look.close).start()
    lock_checkout(tmp_path).close()
    assert holder(tmp_path / layout.RUN_LOCK) is None


def test_a_lock_that_is_held_is_waited_for_a_moment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(locks, "time", clock)
    monkeypatch.setattr(locks, "MOMENT", 0.1)
    held = hold(tmp_path / "lock", "me")
    assert take_soon(tmp_path / "lock") is None
    assert 0.1 <= clock.now < 0.2
    assert holder(tmp_path / "lock") == "me"
    held.close()
    assert holder(tmp_path / "lock") is None


def test_a_lock_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    for attempt in (take, take_soon, holder):
        with pytest.raises(IsADirectoryError):
            attempt(tmp_path / "lock")


BUSY = """ERROR: '/a/runs/source.json' is busy, it is being blocked by:
  (PID 4711): /a/.venv/bin/dvc repro
  (PID 4712): dvc commit

If there are no processes with such PIDs, you can manually remove '/a/.dvc/tmp/rwlock' and try again.
"""


def test_dvc_is_busy_in_the_words_of_this_project(tmp_path: Path) -> None:
    arguments = graph.explained(BUSY)
    assert arguments.startswith(
        "/a/runs/source.json is in use by process 4711 (/a/.venv/bin/dvc repro) and process 4712 ("
    )
    assert "or end it with `kill 4711 4712`; the next run continues" in arguments
    (tmp_path / "x.log").write_text("Running stage 'x':\n" + BUSY)
    outcome = judge("x", Ending(255, False), tmp_path / "x.log", 1.0)
    assert (outcome.state, outcome.mistake) == ("failed", False), "worth another attempt: that process will end"
    assert outcome.reason.startswith(arguments)


def test_a_copy_without_git_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(UserError, match=r"is not a git repository\. This copy has no \.git, .*`git init` here, or"):
        graph.read([])
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    assert graph.read([]) == []
    assert graph.explained("anything else") == "anything else"


@pytest.mark.parametrize(
    ("outcomes", "came", "status"),
    [
        ([("ran", False), ("up to date", False), ("restored", False)], [], 0),
        ([("ran", False), ("failed", True), ("not run", False)], [], 2),
        ([("failed", True), ("failed", False)], [], 1),
        ([("ran", False), ("not run", False)], [], 1),
        ([("stopped", False)], [15], 143),
        ([("failed", True), ("stopped", False)], [2], 130),
    ],
)
def test_the_exit_status_of_a_run_and_how_a_stopped_one_continues(
    outcomes: list[tuple[str, bool]], came: list[int], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [graph_run.Outcome(f"s{i}", state, mistake=mistake) for i, (state, mistake) in enumerate(outcomes)]
    assert graph_run.finish(made, came, {}) == status
    told = capsys.readouterr().err
    assert told.count("checkpoints of trainings are kept.\n`pretextbench run` continues from there.") == bool(came)
    assert told.count("kept") == bool(came), "said once"
