"""Folders as the pretrain and evaluate stages leave them, with a store of its own for each test."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pretextbench.project.locks import Lock, take
from pretextbench.track.outbox import Outbox
from tests.clock import Clock

WEIGHTS = "ab" * 32


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # restored at the end, whatever MLflow makes of it
    monkeypatch.setenv("PRETEXTBENCH_RECORDER_LINGER", "1")


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The projects whose recorders this process starts."""
    roots, start = list[Path](), Outbox.start
    monkeypatch.setattr(Outbox, "start", lambda box, lock: (roots.append(box.root), start(box, lock)))
    return roots


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Outbox], object]], list[Lock]]]:
    """`recorder(work)`: the recorder is no process but a thread that calls `work(outbox)` over and over.

    Returns the locks of the recorders that were started.
    """
    ended, locks = threading.Event(), list[Lock]()

    def use(work: Callable[[Outbox], object]) -> list[Lock]:
        def run(outbox: Outbox) -> None:
            while not ended.wait(0.02):
                work(outbox)

        def start(outbox: Outbox, lock: Lock) -> None:
            locks.append(lock)
            threading.Thread(target=run, args=(outbox,), daemon=True).start()

        monkeypatch.setattr(Outbox, "start", start)
        return locks

    yield use
    ended.set()
    for lock in locks:
        lock.close()


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store: MLflow takes seconds to create one."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def empty_store(tables: Path, tmp_path: Path) -> None:
    """A store of this test's own, with tables and nothing in them."""
    os.environ["MLFLOW_TRACKING_URI"] = ""  # MLflow sets it to the store that was opened last
    shutil.copy(tables, tmp_path)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """What a pretrain stage leaves, without the weights."""
    folder = tmp_path / "pretrain"
    folder.mkdir()
    card = {
        **{"method": "simclr", "seed": 3, "control": False, "distribution": "pretext-simclr", "version": "0.1.0"},
        **{"source_hash": "cd", "params": {"temperature": 0.5, "optimizer": {"lr": 0.01}}, "encoder": {"width": 16}},
        **{"image_size": 32, "parameters": 10, "images_seen": 640, "batch_size": 64, "seconds": 12.5},
        **{"images_per_second": 51.2, "peak_memory_bytes": 1, "peak_device_memory_bytes": 0, "device": "cpu"},
        **{"precision": "fp32", "data_sha256": "ef", "weights_sha256": WEIGHTS},
        **{"views": 2, "multiply_adds": 5, "training_multiply_adds": 11},
    }
    (folder / "encoder.json").write_text(json.dumps(card))
    (folder / "history.csv").write_text("step,loss,lr,note\n1,2.5,0.1,\n2,1.5,0.2,x\n")
    (folder / "health.json").write_text('{"measures": {"rank": 7.5}, "symptoms": []}')
    (folder / "samples.png").write_bytes(b"png")
    return folder


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """What an evaluate stage leaves."""
    folder = tmp_path / "evaluate"
    folder.mkdir()
    probe = {"best": "layer3", "layers": {"layer3": {"val": 0.4, "test": {"top1": 0.5}}, "layer4": {"val": 0.3}}}
    (folder / "metrics.json").write_text(json.dumps({"knn": probe, "labelled": True, "classes": ["é", "b"]}))
    (folder / "predictions.npz").write_bytes(b"0")
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of the recorders that `make` makes: it stands still where a test does not move it."""
    from pretextbench.track import recorder

    clock = Clock()
    monkeypatch.setattr(recorder, "time", clock)
    return clock


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Callable[..., Any]]:
    """Makes a recorder of the project at `tmp_path`, which has the writer, in this process."""
    from pretextbench.track import delivery, recorder

    monkeypatch.setattr(delivery, "WAITS", ())
    monkeypatch.setattr(recorder, "PAUSE", 0.02)
    monkeypatch.setattr(recorder.Follower, "_start_monitor", lambda _: None)
    monkeypatch.setattr(recorder, "LINGER", 15)  # seconds of `clock`
    locks: list[Lock] = []

    def make(writer: Any, box: Outbox | None = None) -> Any:
        box = box or Outbox(tmp_path)
        lock = take(box.lock, wait=False)
        assert lock
        locks.append(lock)
        return recorder.Recorder(box, lock, writer, lambda _: None, lambda: writer.done.append("restart"))

    yield make
    for lock in locks:
        lock.close()
