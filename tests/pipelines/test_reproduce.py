"""How a stage ended: what it wrote and DVC's status give the outcome, and DVC itself is asked for each state."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pipelines.processes import Children
from pipelines.reproduce import SHELL, STATUS, Ending, Outcome, judge, reproduce
from tests.pipelines.conftest import Toy

FAILED = 255  # exit status of DVC
DVCS = "ERROR: failed to reproduce 'x': failed to run: train\n"


def judged(ending: Ending, text: str, folder: Path) -> Outcome:
    log = folder / "x.log"
    log.write_text(text)
    return judge("x", ending, log, 1.0)


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending(0, True, 0), "ran"),
        (Ending(0, True, 0, restored=True), "ran"),
        (Ending(0, False, restored=True), "restored"),
        (Ending(0, False), "up to date"),
    ],
)
def test_how_a_stage_ended_well(ending: Ending, state: str, tmp_path: Path) -> None:
    result = judged(ending, "", tmp_path)
    assert result.state == state
    assert result.is_current


def test_a_disk_that_is_full_at_dvcs_commit_is_told_and_not_tried_again(tmp_path: Path) -> None:
    text = "epoch 1\nERROR: failed to reproduce 'x': [Errno 28] No space left on device\n"
    result = judged(Ending(FAILED, True, 0), text, tmp_path)
    assert "[Errno 28] No space left on device; see " in result.reason
    assert result.mistake, "another training would not make room"


def test_a_killed_stage_is_told_with_its_last_words_and_tried_again(tmp_path: Path) -> None:
    for command in (None, 128 + signal.SIGKILL):
        result = judged(Ending(FAILED, True, command), "last words\n" + DVCS, tmp_path)
        assert result.reason.startswith("last words; see ")
        assert (result.state, result.mistake) == ("failed", False)


def test_a_mistake_of_the_user_is_told_apart_and_quoted(tmp_path: Path) -> None:
    result = judged(Ending(FAILED, True, 2), "error: lr must be > 0\n" + DVCS, tmp_path)
    assert (result.state, result.mistake) == ("failed", True)
    assert result.reason.startswith("lr must be > 0; see ")


def test_a_message_of_sentences_and_its_log_are_one_sentence(tmp_path: Path) -> None:
    """And not `.; see`."""
    result = judged(Ending(FAILED, True, 2), "error: lr is -1. Allowed: above 0.\n" + DVCS, tmp_path)
    assert result.reason == f"lr is -1. Allowed: above 0; see {tmp_path / 'x.log'}"


def test_a_fault_is_told_with_its_last_words(tmp_path: Path) -> None:
    result = judged(Ending(FAILED, True, 1), "Traceback\nValueError: boom\n" + DVCS, tmp_path)
    assert (result.state, result.mistake) == ("failed", False)
    assert result.reason.startswith("ValueError: boom")


@pytest.mark.parametrize(
    "ending",
    [Ending(FAILED, True, 130), Ending(FAILED, True, 143), Ending(-2, True), Ending(-15, True), Ending(130, False)],
)
def test_a_stopped_stage_has_not_failed(ending: Ending, tmp_path: Path) -> None:
    assert judged(ending, DVCS, tmp_path).state == "stopped"


def test_a_stage_that_is_at_work_elsewhere_is_tried_again(tmp_path: Path) -> None:
    result = judged(Ending(FAILED, True, 2), "error: x is at work here already, as process 7\n" + DVCS, tmp_path)
    assert (result.state, result.mistake) == ("failed", False)
    assert result.reason.startswith("x is at work here already")


@pytest.mark.parametrize(("command", "status"), [("exit 3", 3), ("true", 0), ("kill -9 $$", 137), ("kill -2 $$", 130)])
def test_the_shell_writes_the_status_of_a_command_and_ends_with_it(command: str, status: int, tmp_path: Path) -> None:
    path = tmp_path / "status"
    command = f"[ -e {path} ] && [ ! -s {path} ] && {command}"  # while it runs the file is there, and empty
    done = subprocess.run([SHELL, "-c", command], env={**os.environ, STATUS: str(path)})
    assert done.returncode == status
    assert path.read_text() == f"{status}\n"


@pytest.mark.slow
def test_every_state_as_dvc_makes_it(toy: Toy) -> None:
    """Ran, up to date, restored to a missing output, restored to earlier inputs, failed, and refused by DVC."""
    root = toy("stages:\n  x:\n    cmd: cat a; cat a > out; exit $(cat a)\n    deps: [a]\n    outs: [out]\n")
    children = Children(root)
    (root / "a").write_text("0\n")

    def state(stale: bool) -> tuple[str, str, bool]:
        result = reproduce(children, "x", stale, {})
        return result.state, result.reason.partition(";")[0], result.mistake

    assert state(True) == ("ran", "", False)
    assert state(False) == ("up to date", "", False)
    (root / "out").unlink()
    assert state(True) == ("restored", "", False)
    (root / "a").write_text("00\n")
    assert state(False) == ("ran", "", False)
    (root / "a").write_text("0\n")
    assert state(False) == ("restored", "", False), "the entry in dvc.lock is another one"
    (root / "a").write_text("2\n")
    assert state(True) == ("failed", "2", True)
    (root / "a").unlink()
    results = state(True)
    assert results[0] == "failed"
    assert str(root / "a") in results[1] or "'a'" in results[1]
    assert not results[2]
