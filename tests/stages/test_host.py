"""The host of the stages: a stage that it runs behaves as one that runs by itself."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.reproduce import STATUS
from pretextbench.project.environment import RECORDED
from stages import delegate

CODE = Path(__file__).resolve().parents[2]
HOST = """
import os, sys, time, types
sys.path[0] = os.getcwd()
from stages import delegate, host

def stage(name):
    print(name, sys.argv[1:], os.environ.get("COLOUR"), os.getcwd(), oct(os.umask(0)), flush=True)
    print("a warning", file=sys.stderr, flush=True)
    open("pid", "w").write(str(os.getpid()))
    open("ready", "w").close()
    time.sleep(60 if name == "long" else 0)
    return 3

host.PRELOADED = ("late",) if os.path.exists("late.py") else ()
host.FREED, sys.modules["stages.start"] = (), types.SimpleNamespace(main=stage)
sys.exit(host.main(delegate.key(os.environ), int(sys.argv[1])))
"""
Stage = Callable[..., subprocess.Popen[str]]


def environment() -> dict[str, str]:
    """That of this test, without the name of its phase."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def wait_for(fact: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder and environment of a host and its stages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(CODE))
    monkeypatch.setenv(delegate.LINGER, "4")
    return tmp_path


@contextlib.contextmanager
def started(run: int = 0) -> Iterator["subprocess.Popen[str]"]:
    """A host of the run with this process number, which holds its lock."""
    command = [sys.executable, "-c", HOST, str(run)]
    process = subprocess.Popen(command, env=environment(), text=True, start_new_session=True)
    wait_for(lambda: list(Path().glob(".scratch/host/*.lock")))
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def host(place: Path) -> Iterator["subprocess.Popen[str]"]:
    with started() as process:
        wait_for(lambda: list(place.glob(".scratch/host/*.sock")))
        yield process


def start(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    env = {**environment(), **variables}
    return subprocess.Popen([sys.executable, "-m", "stages", *arguments], env=env, text=True, umask=0o27, **pipes)


@pytest.fixture
def stage(host: "subprocess.Popen[str]") -> Stage:
    return start


def test_a_stage_has_its_own_arguments_environment_and_streams(stage: Stage, tmp_path: Path) -> None:
    for seed in ("0", "1"):
        process = stage("toy", "simclr", seed, DVC_STAGE=f"toy@{seed}")
        out, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (3, "a warning\n")
        assert out == f"toy ['simclr', '{seed}'] None {tmp_path} 0o27\n"
        assert process.pid != int(Path("pid").read_text()), "the host has run it"


def test_another_environment_has_no_host(stage: Stage) -> None:
    out, error = stage("toy", COLOUR="red").communicate(timeout=60)
    assert "There is no stage 'toy'" in error
    assert not out


def test_the_host_of_other_code_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "pretextbench"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(delegate.pretextbench, "__file__", str(package / "__init__.py"))
    before = delegate.key(os.environ)
    of_another_stage = {"DVC_STAGE": "another", RECORDED: "run", STATUS: "/another.status"}
    assert delegate.key({**os.environ, **of_another_stage}) == before, "each stage of a run would start a host"
    (package / "__init__.py").write_text("1")
    assert delegate.key(os.environ) != before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_stage(stage: Stage, number: signal.Signals) -> None:
    process = stage("long")
    wait_for(Path("ready").exists)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert ("stopped by Ctrl-C" in error) == (number == signal.SIGINT)


def test_a_stage_that_is_killed_ends_its_command_alike(stage: Stage) -> None:
    process = stage("long")
    wait_for(Path("ready").exists)
    os.kill(int(Path("pid").read_text()), signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_a_command_that_is_killed_ends_its_stage(stage: Stage) -> None:
    process = stage("long")
    wait_for(Path("ready").exists)
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not Path("/proc", Path("pid").read_text()).exists())


def test_a_host_that_is_killed_leaves_an_error(stage: Stage, host: "subprocess.Popen[str]") -> None:
    process = stage("long")
    wait_for(Path("ready").exists)
    host.kill()
    process.wait(timeout=60)
    os.kill(int(Path("pid").read_text()), signal.SIGKILL)  # it has the streams
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error.splitlines()[-1][:30]) == (1, "error: the host of the stages ")


@pytest.mark.slow
def test_the_host_ends_after_the_last_stage(stage: Stage, host: "subprocess.Popen[str]") -> None:
    stage("toy").communicate(timeout=60)
    assert host.wait(timeout=60) == 0
    assert not list(Path(".scratch/host").glob("*.sock"))
    assert "There is no stage 'toy'" in stage("toy").communicate(timeout=60)[1]


def test_a_host_that_starts_is_waited_for_but_by_the_inventory(place: Path) -> None:
    (place / "late.py").write_text("import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\n")
    with started():
        inventory = start("inventory", PRETEXTBENCH_RECORDED="1")
        inventory.communicate(timeout=60)
        assert inventory.returncode == 2, "there is no params.yaml"
        process = start("toy")
        time.sleep(1)
        assert process.poll() is None
        (place / "go").touch()
        process.communicate(timeout=60)
        assert process.returncode == 3, "the host has run it"


RUN = """
import subprocess, sys, time
subprocess.run([sys.executable, "-m", "stages", "toy"])
open("ended", "w").close()
time.sleep(60)
"""


@pytest.mark.slow
def test_the_host_stays_as_long_as_the_runs_that_use_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that has started it, and another one of which it has run a stage."""
    monkeypatch.setenv(delegate.LINGER, "0.2")
    with subprocess.Popen(["sleep", "60"]) as first, started(first.pid) as host:
        wait_for(lambda: list(place.glob(".scratch/host/*.sock")))
        time.sleep(1)
        with subprocess.Popen([sys.executable, "-c", RUN], env={**environment(), "DVC_STAGE": "toy"}) as second:
            wait_for(Path("ended").exists)
            first.kill()
            time.sleep(1)
            assert host.poll() is None, "the second run is there"
            second.kill()
        assert host.wait(timeout=60) == 0


def test_the_process_of_dvc_is_the_first_that_is_no_shell() -> None:
    code = "from stages import delegate; print(delegate._dvc())"
    shells = ["sh", "-c", f'sh -c "{sys.executable} -c \\"{code}\\"; :"; :']
    for stage, expected in (("toy", os.getpid()), ("", 0)):
        env = {**os.environ, "DVC_STAGE": stage}
        done = subprocess.run(shells, cwd=CODE, env=env, capture_output=True, text=True, check=True)
        assert int(done.stdout) == expected
