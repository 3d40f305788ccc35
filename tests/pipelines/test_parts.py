"""The parts of the orchestration that need neither Prefect nor DVC's processes."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipelines import display, graph_run, server
from pipelines.flow import Once
from pipelines.processes import threads
from pipelines.reproduce import Outcome
from pretextbench.errors import UserError
from pretextbench.project import layout
from pretextbench.project.locks import locked, take
from tests.clock import Clock
from tests.ports import free_port

SH = "/bin/sh"


def test_the_project_is_the_folder_with_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert layout.root(below) == tmp_path


def test_an_experiment_in_a_temporary_copy_belongs_to_the_original(tmp_path: Path) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmpabc"
    copy.mkdir(parents=True)
    (copy / "dvc.yaml").touch()
    assert layout.root(copy) == tmp_path


def test_without_a_pipeline_the_project_is_where_one_is(tmp_path: Path) -> None:
    assert layout.root(tmp_path) == tmp_path


def test_a_lock_with_a_time_limit_is_waited_for_and_not_longer(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = take(path)
    assert held is not None
    with pytest.raises(TimeoutError, match="for more than"), locked(path, 0.1):
        pass
    threading.Timer(0.2, held.close).start()
    with locked(path, 30):
        assert take(path, wait=False) is None
    assert take(path, wait=False) is not None


def test_a_lock_is_exclusive_and_can_be_shared(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    with locked(path):
        assert take(path, wait=False) is None
        assert take(path, shared=True, wait=False) is None
    one, two = take(path, shared=True), take(path, shared=True, wait=False)
    assert one is not None
    assert two is not None
    assert take(path, wait=False) is None


def test_a_lock_ends_with_its_holder_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"from pathlib import Path; from pretextbench.project.locks import take; take(Path({str(path)!r})); "
    code += "import time; print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=server.CODE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert take(path, wait=False) is None
        holder.kill()
    assert take(path, wait=False) is not None


def test_the_server_ends_when_it_has_been_alone_for_long_enough(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = take(tmp_path / "users.lock", shared=True)
    assert user is not None

    def sleep(seconds: float) -> None:
        clock.waits.append(seconds)
        if clock.now == 40:
            user.close()

    monkeypatch.setattr(clock, "sleep", sleep)
    held = server.await_solitude(tmp_path, linger=30, tick=0.5)
    assert 69 <= clock.now <= 71
    assert take(tmp_path / "users.lock", shared=True, wait=False) is None  # newcomers wait for its end
    held.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of `server`."""
    clock = Clock()
    monkeypatch.setattr(server, "time", clock)
    return clock


def test_a_server_that_refuses_is_not_waited_for(clock: Clock) -> None:
    assert not server.ready(f"http://127.0.0.1:{free_port()}/api", patience=20)
    assert clock.now == 0


def test_a_server_that_is_silent_is_asked_for_the_time_that_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        server.prefect_answers(f"http://127.0.0.1:{silent.getsockname()[1]}/api", 0.2)


@pytest.mark.parametrize(
    ("own", "patience", "waited"),
    [(False, 0.5, 0.5), (False, None, 30), (True, None, 120)],
    ids=["as asked", "for the user's", "for the project's"],
)
def test_a_server_that_hangs_is_waited_for_until_patience_ends(
    own: bool, patience: float | None, waited: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the project's own needed more than 30 s, and the flow went on as DVC alone."""

    def hangs(url: str, left: float) -> bool:
        clock.sleep(min(left, 7))
        raise TimeoutError

    monkeypatch.setattr(server, "owned", lambda: own)
    monkeypatch.setattr(server, "prefect_answers", hangs)
    assert not server.ready("http://nowhere.invalid/api", patience)
    assert waited <= clock.now < waited + 0.2


def test_the_users_own_server_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://example.invalid/api")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    assert server.begin(tmp_path) == "http://example.invalid/api"
    assert not server.owned()
    assert not (tmp_path / ".prefect").exists()


def test_work_is_remembered_with_its_error() -> None:
    mistake = UserError("x")

    def work() -> None:
        raise mistake

    once = Once(work)
    assert not once.started
    once()
    assert once.started
    assert once.error is mistake


def test_stages_side_by_side_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    assert [threads(jobs) for jobs in (1, 2, 4, 9)] == [{}, *({"OMP_NUM_THREADS": n} for n in ("3", "1", "1"))]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads(2) == {}, "the user has said"


def test_the_table_is_aligned() -> None:
    rows = [
        Outcome("prepare", "ran", 1.25, where="host"),
        Outcome("pretrain@simclr-0", "failed", 100.0, where="host device 1"),
        Outcome("compare", "not run"),
    ]
    assert display.table(rows).splitlines() == [
        "stage              result   seconds  where",
        "prepare            ran          1.2  host",
        "pretrain@simclr-0  failed     100.0  host device 1",
        "compare            not run      0.0",
    ]
    idle = [Outcome(f"s{i}", "up to date") for i in range(6)]
    assert display.table([*rows, *idle]).splitlines() == [
        "stage              result      seconds  where",
        "prepare            ran             1.2  host",
        "pretrain@simclr-0  failed        100.0  host device 1",
        "compare            not run         0.0",
        "6 stages           up to date",
    ]


RECOMMENDATION = (
    "# Which?\n\n**simclr's encoder did best here.** 60 %.\n\nRandom gets 44 %.\n\n## Cost\n\n- simclr: 27 s\n"
)
BOARD = """\
name,kind,knn,linear,linear_low,linear_high,seconds
simclr,method,0.501,0.6,0.55,0.65,27.4
random,control,,0.44,0.4,0.48,0.0
"""
ENDINGS = [
    (["up to date", "up to date"], RECOMMENDATION, True),  # also where nothing was to be run
    (["up to date", "ran"], RECOMMENDATION, True),
    (["failed", "not run"], RECOMMENDATION, False),
    (["up to date", "ran"], None, False),
]


@pytest.mark.parametrize(("states", "text", "answered"), ENDINGS)
def test_a_finished_comparison_ends_with_its_answer(
    states: list[str],
    text: str | None,
    answered: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "leaderboard.csv").write_text(BOARD)
    if text is not None:
        (tmp_path / "reports" / "recommendation.md").write_text(text)
    monkeypatch.chdir(tmp_path)
    rows = [Outcome(name, state) for name, state in zip(("evaluate@simclr-0", "compare"), states, strict=True)]
    assert (graph_run.finish(rows, [], {}) == 0) == ("failed" not in states)
    printed = capsys.readouterr().out
    expected = [
        "",
        "simclr's encoder did best here. 60 %.",
        "",
        "Random gets 44 %.",
        "",
        "                  linear %      interval  k-NN %  seconds",
        "simclr                60.0  55.0 to 65.0    50.1       27",
        "random (control)      44.0  40.0 to 48.0                0",
        "",
        "report:  reports/report.html",
        "next:    pretextbench report  (opens it in a browser)",
    ]
    assert printed.splitlines()[4:] == (expected if answered else [])
    graph_run.finish(rows[:1], [], {})
    assert "did best" not in capsys.readouterr().out, "a run of other stages compares nothing"
