"""Folders as the pretrain and evaluate stages leave them, with a store of its own for each test."""

import json
import os
import shutil
from pathlib import Path

import pytest

WEIGHTS = "ab" * 32


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # restored at the end, whatever MLflow makes of it


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
