"""What a stage left, as one record."""

import os
import subprocess
import sys
from pathlib import Path

from pretextbench.track import runs
from tests.track.conftest import WEIGHTS


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
