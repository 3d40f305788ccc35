"""The record: told once or twice it says the same, and it never costs a result."""

import json
import logging
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.track import Record, runs

# Both come from MLflow 3.17's own code: its tables, and its chat models, imported with every logged model.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType"),
]
WEIGHTS = "ab" * 32


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # restored at the end, whatever MLflow makes of it


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


def test_pretrain_becomes_one_record(trained: Path, tmp_path: Path) -> None:
    what = runs.pretrained(trained, tmp_path / "nothing")
    assert (what.key, what.name) == (f"simclr-3-{WEIGHTS}", "simclr-3")
    assert what.params["params.optimizer.lr"] == 0.01
    assert what.params["encoder.width"] == 16
    assert what.metrics["health.rank"] == 7.5
    assert what.tags["plugin"] == "pretext-simclr==0.1.0"
    assert what.tags["data_sha256"] == "ef"
    assert what.files["pretrain"] == [str(trained / "samples.png")]
    assert "augment" not in what.files  # a missing picture is no reason to fail


def test_evaluate_belongs_to_the_run_of_its_encoder(trained: Path, evaluated: Path, tmp_path: Path) -> None:
    what = runs.evaluated(evaluated, trained)
    assert what.key == runs.pretrained(trained, tmp_path).key
    assert what.metrics["knn"] == 0.5  # of the best layer, as validation chose it
    assert what.metrics["knn.layers.layer4.val"] == 0.3
    assert "labelled" not in what.metrics  # a truth value is no number
    assert what.tags["knn_layer"] == "layer3"


def test_names_are_made_fit_for_mlflow() -> None:
    assert runs.numbers({"recall": {"a:b,c": 1}}) == {"recall.a_b_c": 1.0}


def test_another_training_is_another_run(trained: Path, tmp_path: Path) -> None:
    before = runs.pretrained(trained, tmp_path).key
    card = trained / "encoder.json"
    card.write_text(card.read_text().replace(WEIGHTS, "12" * 32))
    assert runs.pretrained(trained, tmp_path).key != before


def test_importing_the_record_imports_neither_mlflow_nor_torch() -> None:
    code = (
        "import sys, pretextbench.track.runs; sys.exit(any(m in sys.modules for m in ('mlflow', 'torch', 'prefect')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_telemetry_is_off_once_the_record_is_imported() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_a_recorder_that_hangs_costs_a_warning(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    hanging = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(track, "_start", lambda root, encoder: _popen(hanging))
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert track.record(Record("k", "simclr-0"), tmp_path, patience=0.3) is None
    assert time.monotonic() - start < 3
    assert "simclr-0 is not recorded in MLflow" in caplog.text
    assert "no answer within 0.3 s" in caplog.text
    assert len(caplog.records) == 1


def test_a_recorder_that_crashes_costs_a_warning(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    crashing = [sys.executable, "-c", "import sys; print('half', flush=True); sys.exit('the disk is on fire')"]
    monkeypatch.setattr(track, "_start", lambda root, encoder: _popen(crashing))
    assert track.record(Record("k", "simclr-0"), tmp_path) is None
    assert "the disk is on fire" in caplog.text


@pytest.mark.slow
def test_a_recorder_with_nothing_to_tell_ends_with_its_stage(tmp_path: Path) -> None:
    code = "from pathlib import Path; from pretextbench import track; track.warm(Path('.')); "
    code += "print(track._waiting.popitem()[1].pid, flush=True); import os; os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    end = time.monotonic() + 60
    while Path(f"/proc/{int(done.stdout)}").exists() and "Z" not in _state(int(done.stdout)):
        assert time.monotonic() < end, "the recorder outlived its stage"
        time.sleep(0.1)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return "Z"


def _popen(command: list[str]) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture(scope="module")
def client_of() -> Any:
    """MLflow's own client, the oracle that reads back what was written."""
    from mlflow.tracking import MlflowClient

    return lambda root: MlflowClient(f"sqlite:///{root}/mlflow.db")


def all_runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name(track.EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.slow
def test_told_twice_it_says_the_same(trained: Path, evaluated: Path, tmp_path: Path, client_of: Any) -> None:
    from pretextbench.track.writer import Writer

    what = runs.pretrained(trained, tmp_path)
    what = Record(**{**what.__dict__, "encoder": None})  # without torch: see the model's own test
    told = [what, runs.evaluated(evaluated, trained), runs.compared(tmp_path, [trained])]
    ids = [[Writer(tmp_path).write(one) for one in told] for _ in range(2)]
    assert ids[0] == ids[1]
    pretrain, evaluate, compare = ids[0]
    assert pretrain == evaluate != compare

    client = client_of(tmp_path)
    assert len(all_runs(client)) == 2
    run = client.get_run(pretrain)
    assert [(m.step, m.value) for m in client.get_metric_history(pretrain, "train/loss")] == [(1, 2.5), (2, 1.5)]
    assert len(client.get_metric_history(pretrain, "knn")) == 1
    assert run.data.metrics["knn"] == 0.5
    assert run.data.params["params.temperature"] == "0.5"
    assert run.data.tags["mlflow.parentRunId"] == compare
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 12_500
    assert [a.path for a in client.list_artifacts(pretrain, "pretrain")] == ["pretrain/samples.png"]
    assert (tmp_path / "mlruns" / pretrain / "artifacts" / "evaluate" / "metrics.json").is_file()

    # A parameter that changes later is told beside the first, which MLflow cannot change; a metric gets a new point.
    Writer(tmp_path).write(Record(what.key, what.name, {"params.temperature": 0.7}, {"knn": 0.6, "odd": math.nan}))
    run = client.get_run(pretrain)
    assert (run.data.params["params.temperature"], run.data.tags["changed.params.temperature"]) == ("0.5", "0.7")
    assert run.data.metrics["knn"] == 0.6


@pytest.mark.slow
def test_several_processes_create_the_store_at_once(tmp_path: Path, client_of: Any) -> None:
    def tell(i: int) -> str | None:
        return track.record(Record(f"key-{i % 2}", f"run-{i % 2}", metrics={f"m{i}": i}), tmp_path)

    with ThreadPoolExecutor(3) as pool:
        ids = list(pool.map(tell, range(3)))
    assert None not in ids
    assert len(set(ids)) == 2  # two stages that tell of one run tell of one run
    assert len(all_runs(client_of(tmp_path))) == 2


@pytest.mark.slow
def test_a_dead_server_costs_a_warning_and_little_time(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody listens
    start = time.monotonic()
    assert track.record(Record("k", "simclr-0"), tmp_path) is None
    assert time.monotonic() - start < 40
    assert "simclr-0 is not recorded in MLflow (http://127.0.0.1:9)" in caplog.text


@pytest.mark.slow
def test_the_logged_encoder_opens_without_this_library(tmp_path: Path) -> None:
    import torch

    from pretextbench import saved
    from pretextbench.encoder import build
    from pretextbench.params import EncoderParams
    from pretextbench.track.writer import Writer

    folder = tmp_path / "random"
    folder.mkdir()
    params = EncoderParams(name="resnet10", width=4)
    encoder = build(params, 16, (0.5,) * 3, (0.25,) * 3).eval()
    saved.save(encoder, card(params), folder)
    run_id = Writer(tmp_path).write(runs.pretrained(folder, tmp_path))
    images = torch.rand(5, 3, 16, 16)  # another batch size than the example's
    torch.save(images, tmp_path / "images.pt")
    code = f"""
import sys; sys.modules["pretextbench"] = None  # importing it would fail
import mlflow, torch
mlflow.set_tracking_uri("sqlite:///{tmp_path}/mlflow.db")
model = mlflow.search_logged_models(experiment_ids=["1"], output_format="list")[0]
assert model.source_run_id == "{run_id}"
torch.save(mlflow.pytorch.load_model(model.model_uri)(torch.load("{tmp_path}/images.pt")), "{tmp_path}/features.pt")
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "features.pt"), encoder(images), rtol=1e-4, atol=1e-5)


def card(params: Any) -> Any:
    """The card of an encoder of the control `random`, which needs no training."""
    from pretextbench import saved

    return saved.Card(
        **{"method": "random", "seed": 0, "control": True, "distribution": "pretextbench", "version": "0.1.0"},
        **{"source_hash": "", "params": {}, "encoder": params, "image_size": 16, "mean": (0.5,) * 3},
        **{"std": (0.25,) * 3, "parameters": 1, "images_seen": 0, "steps": 0, "batch_size": 2, "seconds": 0.0},
        **{"images_per_second": 0.0, "peak_memory_bytes": 1, "peak_device_memory_bytes": 0, "device": "cpu"},
        **{"precision": "fp32", "data_sha256": "ef", "versions": {}},
    )
