"""The graph flow as a Prefect deployment: server, work pool, worker and run, all on the loopback interface."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import server
from tests.pipelines.conftest import CODE, Toy, inherit_database, place
from tests.ports import free_port
from tests.zygote import Popen

PIPELINE = """
stages:
  one:
    cmd: echo x >> ran; echo 1 > one
    deps: [seed]
    outs: [one]
  two:
    cmd: "[ ! -e broken ] || { echo 'error: it is broken' >&2; exit 2; }; cat one > two"
    deps: [one, seed]
    outs: [two]
"""


class Prefect:
    """A project with the deployment, and the processes that serve it."""

    def __init__(self, root: Path) -> None:
        shutil.copy(CODE / "prefect.yaml", root)
        (root / "pipelines").symlink_to(CODE / "pipelines")
        (root / "seed").touch()
        self.port = free_port()
        self.root, self.processes = root, list[subprocess.Popen[bytes]]()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.env = {
            **os.environ,
            "PYTHONPATH": str(CODE),
            "PWD": str(root),
            "PREFECT_HOME": str(root / "home"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_PROMPT": "false",
        }

    def start(self, *arguments: str) -> Path:
        log = self.root / f"{arguments[0]}.log"
        with log.open("w") as stream:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "prefect", *arguments],
                    cwd=self.root,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                )
            )
        return log

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command of Prefect's, from the zygote."""
        pipe = subprocess.PIPE
        with Popen(
            place(), "prefect", *arguments, cwd=self.root, env=self.env, stdout=pipe, stderr=pipe,
            stdin=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            out, err = process.communicate(timeout=200)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)


@pytest.fixture
def prefect(toy: Toy, server_home: Path, server_url: str) -> Iterator[Prefect]:
    """Served on a copy of the database of the tests' server; no test here uses that server itself."""
    made = Prefect(toy(PIPELINE))
    inherit_database(server_home, made.root, "home")
    try:
        log = made.start("server", "start", "--host", "127.0.0.1", "--port", str(made.port), "--no-ui")
        end = time.monotonic() + 180
        while not server.ready(made.url, 5):  # false at once while it refuses
            assert time.monotonic() < end, log.read_text()
            assert made.processes[0].poll() is None, log.read_text()
            time.sleep(0.2)
        yield made
    finally:
        made.stop()


@pytest.mark.slow
def test_it_is_imported_without_a_server() -> None:
    code = "from pipelines.deployment import comparison; print(sorted(comparison.parameters.properties))"
    env = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    env |= {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = subprocess.run([sys.executable, "-c", code], cwd=CODE, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "['dask', 'jobs', 'remote', 'retries', 'targets']", done.stderr


@pytest.mark.slow
def test_a_worker_runs_the_graph_and_tells_how_it_ended(prefect: Prefect) -> None:
    for arguments in (["work-pool", "create", "pretextbench", "--type", "process"], ["deploy", "--all"]):
        done = prefect.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    worker = prefect.start("worker", "start", "--pool", "pretextbench", "--name", "here")
    run = ["deployment", "run", "comparison/graph", "--watch", "--watch-timeout", "170"]
    done = prefect.run(*run)
    assert done.returncode == 0, done.stdout + done.stderr + worker.read_text()
    assert (prefect.root / "two").read_text() == "1\n"
    (prefect.root / "broken").touch()
    (prefect.root / "seed").write_text("other")
    done = prefect.run(*run, "--param", 'targets=["two"]', "--param", "jobs=1")
    assert done.returncode != 0
    assert "it is broken" in worker.read_text()
    assert (prefect.root / "ran").read_text() == "x\nx\n", "the mistake was not tried again"
