"""Stores for the tests: what one holds, as data that can be compared, and servers good and bad."""

import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretextbench import track

IGNORED_TAGS = ("mlflow.user", "mlflow.source.", "mlflow.parentRunId", "mlflow.log-model.history")


def contents(uri: str, folder: Path) -> dict[str, Any]:
    """Key of a run -> everything it holds, but for ids; a run that is there twice fails. `folder` is for downloads."""
    from mlflow.tracking import MlflowClient

    from pretextbench.track import run_tags

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(track.EXPERIMENT).experiment_id
    runs = {run.info.run_id: run for run in client.search_runs([experiment])}
    keys = {run_id: run_tags.bookkeeping(run.data.tags)["key"] for run_id, run in runs.items()}
    assert len(set(keys.values())) == len(keys), "one run was created twice"
    return {keys[run_id]: _run(client, run, keys, folder / run_id) for run_id, run in runs.items()}


def _run(client: Any, run: Any, keys: dict[str, str], folder: Path) -> dict[str, Any]:
    run_id, experiment = run.info.run_id, run.info.experiment_id
    folder.mkdir(parents=True)
    models = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    return {
        "name": run.info.run_name,
        "times": (run.info.start_time, run.info.end_time, run.info.status),
        "params": run.data.params,
        "tags": {n: v for n, v in run.data.tags.items() if not n.startswith(IGNORED_TAGS)},
        "parent": keys.get(run.data.tags.get("mlflow.parentRunId", "")),
        "points": {name: _points(client.get_metric_history(run_id, name)) for name in run.data.metrics},
        "files": {name: _digest(client, run_id, name, folder) for name in _names(client, run_id)},
        "models": [str(model.status) for model in models],
    }


def _points(history: Any) -> list[tuple[int, int, float]]:
    return [(point.step, point.timestamp, point.value) for point in history]


def _names(client: Any, run_id: str, place: str | None = None) -> Iterator[str]:
    for item in client.list_artifacts(run_id, place):
        if item.is_dir:
            yield from _names(client, run_id, item.path)
        else:
            yield item.path


def _digest(client: Any, run_id: str, name: str, folder: Path) -> str:
    return hashlib.sha256(Path(client.download_artifacts(run_id, name, str(folder))).read_bytes()).hexdigest()


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """The address of a server that accepts everyone and answers no one."""
    held: list[socket.socket] = []

    def swallow() -> None:
        with contextlib.suppress(OSError):
            while True:
                held.append(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=swallow, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    for one in held:
        one.close()


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[str]:
    """A real MLflow server, up when the block begins and gone when it ends; its store stays in `folder`."""
    arguments = [
        "server",
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder),
    ]
    command = [sys.executable, "-m", "mlflow", *arguments, "--port", str(port), "--workers", "1"]
    env = {**os.environ, "MLFLOW_TRACKING_URI": "", "PYTHONWARNINGS": "ignore"}
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env, start_new_session=True)
    try:
        _until_healthy(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 9)  # as a machine that loses power
        process.wait()


def _until_healthy(address: str, process: Any) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError("the server does not come up")
