"""The record in MLflow, read back by its own client: written once or twice it is the same."""

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretextbench import track
from pretextbench.track import Record, stage_records

# Both come from MLflow 3.17's own code: its tables, and its chat models, imported with every logged model.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType"),
]


@pytest.fixture(scope="module")
def client_of() -> Any:
    """MLflow's own client, the oracle that reads back what was written."""
    from mlflow.tracking import MlflowClient

    return lambda root: MlflowClient(f"sqlite:///{root}/mlflow.db")


def all_runs(client: Any) -> list[Any]:
    experiment = client.get_experiment_by_name(track.EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store")
def test_written_twice_it_is_the_same(trained: Path, evaluated: Path, tmp_path: Path, client_of: Any) -> None:
    from pretextbench.track.writer import Writer

    subject = stage_records.pretrained(trained, tmp_path)
    judged = replace(stage_records.evaluated(evaluated, trained), encoder=None)  # see the model's own test
    reports = [subject, judged, stage_records.compared(tmp_path, [trained])]
    ids = [[Writer(tmp_path).write(one) for one in reports] for _ in range(2)]
    assert ids[0] == ids[1]
    pretrain, evaluate, compare = ids[0]
    assert pretrain == evaluate != compare

    client = client_of(tmp_path)
    assert len(all_runs(client)) == 2
    run = client.get_run(pretrain)
    assert [(m.step, m.value) for m in client.get_metric_history(pretrain, "Training/Loss")] == [(1, 2.5), (2, 1.5)]
    assert len(client.get_metric_history(pretrain, "k-NN accuracy")) == 1
    assert run.data.tags["mlflow.source.name"] == "pretextbench"
    assert "" not in run.data.tags.values()
    assert run.data.metrics["k-NN accuracy"] == 0.5
    assert run.data.params["params.temperature"] == "0.5"
    assert run.data.tags["mlflow.parentRunId"] == compare
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 12_500
    assert [a.path for a in client.list_artifacts(pretrain, "pretrain")] == ["pretrain/samples.png"]
    assert (tmp_path / "mlruns" / pretrain / "artifacts" / "evaluate" / "metrics.json").is_file()

    # A parameter that changes later becomes a tag, because MLflow cannot change the first; a metric gets a new point.
    Writer(tmp_path).write(
        Record(subject.key, subject.name, {"params.temperature": 0.7}, {"k-NN accuracy": 0.6, "odd": math.nan})
    )
    run = client.get_run(pretrain)
    assert (run.data.params["params.temperature"], run.data.tags["changed.params.temperature"]) == ("0.5", "0.7")
    assert run.data.metrics["k-NN accuracy"] == 0.6


@pytest.mark.slow
def test_several_processes_create_the_store_at_once(tmp_path: Path, client_of: Any) -> None:
    def report(i: int) -> str | None:
        return track.record(Record(f"key-{i % 2}", f"run-{i % 2}", metrics={f"m{i}": i}, stage="abc"[i]), tmp_path)

    with ThreadPoolExecutor(3) as pool:
        ids = list(pool.map(report, range(3)))
    assert None not in ids
    assert len(set(ids)) == 2  # two stages that report one run write one run
    assert len(all_runs(client_of(tmp_path))) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("empty_store")
def test_the_logged_encoder_gives_the_ranked_layer_and_opens_without_this_library(tmp_path: Path) -> None:
    import torch
    from mlflow import search_logged_models

    from pretextbench.encoder import build
    from pretextbench.evaluate.features import pool
    from pretextbench.params import EncoderParams
    from pretextbench.track.writer import Writer
    from pretextbench.train import encoder_folder

    folder = tmp_path / "random"
    folder.mkdir()
    params = EncoderParams(name="resnet10", width=4)
    encoder = build(params, 16, (0.5,) * 3, (0.25,) * 3).eval()
    encoder_folder.save(encoder, card(params), folder)
    writer, home = Writer(tmp_path), tmp_path / "evaluated"
    home.mkdir()
    for layer in ("layer3", "layer2"):  # an evaluation with other settings may choose another one
        chosen = {"best": layer, "layers": {layer: {"test": {"top1": 0.5}}}}
        (home / "metrics.json").write_text(json.dumps({"knn": chosen, "linear": chosen}))
        run_id = writer.write(stage_records.evaluated(home, folder))
    (model,) = search_logged_models(experiment_ids=["1"], output_format="list")
    assert (model.tags["layer"], model.tags["dim"]) == ("layer2", "32")
    images = torch.rand(5, 3, 16, 16)  # another batch size than the example's
    torch.save(images, tmp_path / "images.pt")
    code = f"""
import sys; sys.modules["pretextbench"] = None  # importing it would fail
import mlflow, torch
mlflow.set_tracking_uri("sqlite:///{tmp_path}/mlflow.db")
model = mlflow.search_logged_models(experiment_ids=["1"], output_format="list")[0]
assert model.source_run_id == "{run_id}"
images = torch.load("{tmp_path}/images.pt")
torch.save(mlflow.pytorch.load_model(model.model_uri)(images), "{tmp_path}/features.pt")
loaded = mlflow.pyfunc.load_model(model.model_uri)
torch.save(torch.as_tensor(loaded.predict(images.numpy())), "{tmp_path}/predicted.pt")
assert loaded.metadata.metadata["layer"] == "layer2"
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    with torch.no_grad():
        expected = pool(encoder.stages(images)["layer2"], encoder.dim)
    assert expected.shape == (5, 32)
    name, key = track.EXPERIMENT, stage_records.evaluated(home, folder).key
    models = {name: key, f"{name}-random": key}
    compared = {"members": (key,), "models": models, "stage": "compare", "marks": {key: {"rank": "1", "tie": ""}}}
    for reported in (10.0, 11.0):
        writer.write(
            Record("comparison-1", "Comparison (report)", {"methods": "random"}, reported=reported, **compared)
        )
    for model_name, opening in ((name, "Recommended encoder"), (f"{name}-random", "Encoder")):
        registered = writer.client.get_registered_model(model_name)
        version = writer.client.get_model_version_by_alias(model_name, "best")
        for text in (registered.description, version.description):
            assert text.startswith(f"{opening} of the comparison `{name}`: random, seed 0, ")
            assert "Compared were random." in text
            assert "Features of layer2, the layer that its evaluation chose: 32 numbers per image." in text
            assert "Linear probe accuracy: 50.0 % on test images." in text
        assert (str(version.version), version.tags["layer"]) == ("1", "layer2")
        assert registered.tags == {"pretextbench": "11000"}
    for name in ("features.pt", "predicted.pt"):
        torch.testing.assert_close(torch.load(tmp_path / name), expected, rtol=1e-4, atol=1e-5)


def card(params: Any) -> Any:
    """The card of an encoder of the control `random`, which needs no training."""
    from pretextbench.train import encoder_folder

    return encoder_folder.Card(
        **{"method": "random", "seed": 0, "control": True, "distribution": "pretextbench", "version": "0.1.0"},
        **{"source_hash": "", "params": {}, "encoder": params, "image_size": 16, "mean": (0.5,) * 3},
        **{"std": (0.25,) * 3, "parameters": 1, "images_seen": 0, "steps": 0, "batch_size": 2, "seconds": 0.0},
        **{"images_per_second": 0.0, "peak_memory_bytes": 1, "peak_device_memory_bytes": 0, "device": "cpu"},
        **{"precision": "fp32", "data_sha256": "ef", "versions": {}},
    )
