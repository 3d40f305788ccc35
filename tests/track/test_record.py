"""Records made from the files of the stages."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pretextbench.base.colours import line_colour
from pretextbench.track import fields, stage_records
from tests.track.conftest import WEIGHTS


def test_pretrain_becomes_one_record(trained: Path, tmp_path: Path) -> None:
    subject = stage_records.pretrained(trained, tmp_path / "nothing")
    assert (subject.key, subject.name) == (f"simclr-3-{WEIGHTS}", "simclr-3")
    assert subject.params["params.optimizer.lr"] == 0.01
    assert subject.params["encoder.width"] == 16
    assert subject.metrics["Pretraining seconds"] == 12.5
    assert subject.metrics["Million multiply-adds per image"] == 5e-6
    assert subject.points == (("health/rank", 0, 12.5, 7.5),)
    assert subject.tags["plugin"] == "pretext-simclr==0.1.0"
    assert subject.tags["mlflow.runColor"] == line_colour("simclr"), "as in the report"
    assert not {"source_hash", "data_sha256", "version"} & set(subject.tags), "bookkeeping is in the card"
    assert subject.training is None  # of a card that does not say
    assert subject.files["pretrain"] == [str(trained / "samples.png")]
    assert "augment" not in subject.files  # a missing picture is no reason to fail


def test_evaluate_belongs_to_the_run_of_its_encoder(trained: Path, evaluated: Path, tmp_path: Path) -> None:
    subject = stage_records.evaluated(evaluated, trained)
    assert subject.key == stage_records.pretrained(trained, tmp_path).key
    assert subject.metrics == {"k-NN accuracy": 0.5}  # of the best layer, as validation chose it
    assert subject.tags["knn_layer"] == "layer3"
    assert subject.note is not None
    assert subject.note.endswith(": k-NN 50.0 % on test (layer3)")
    assert (subject.encoder, subject.layer) == (str(trained), ""), "no linear probe has chosen a layer"


def test_the_model_comes_with_the_evaluation_and_gives_the_layer_that_it_chose(
    trained: Path, evaluated: Path, tmp_path: Path
) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    (evaluated / "metrics.json").write_text(json.dumps(metrics | {"linear": metrics["knn"] | {"best": "layer3"}}))
    assert stage_records.pretrained(trained, tmp_path).encoder is None
    subject = stage_records.evaluated(evaluated, trained)
    assert (subject.encoder, subject.layer) == (str(trained), "layer3")
    assert subject.tags["layer"] == "layer3"
    assert subject.metrics == {"Linear probe accuracy": 0.5, "k-NN accuracy": 0.5}


def test_names_are_made_fit_for_mlflow() -> None:
    assert fields.numbers({"recall": {"a:b,c": 1}}) == {"recall.a_b_c": 1.0}


def test_another_training_is_another_run(trained: Path, tmp_path: Path) -> None:
    before = stage_records.pretrained(trained, tmp_path).key
    card = trained / "encoder.json"
    card.write_text(card.read_text().replace(WEIGHTS, "12" * 32))
    assert stage_records.pretrained(trained, tmp_path).key != before


def test_importing_the_record_imports_neither_mlflow_nor_torch() -> None:
    heavy = "{'mlflow', 'torch', 'prefect'}"
    code = f"import sys, pretextbench.track.stage_records; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_telemetry_is_off_once_the_record_is_imported() -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_a_comparison_says_who_is_best_and_which_seed_by_validation(trained: Path, tmp_path: Path) -> None:
    folders = []
    for name, seed, val in (("simclr", 0, 0.5), ("simclr", 1, 0.6), ("rotation", 0, 0.9), ("random", 0, 1.0)):
        folder = tmp_path / f"{name}-{seed}"
        folder.mkdir()
        changed = {"method": name, "seed": seed, "control": name == "random", "weights_sha256": f"{name}{seed}"}
        (folder / "encoder.json").write_text(json.dumps(json.loads((trained / "encoder.json").read_text()) | changed))
        probe = {"best": "layer3", "layers": {"layer3": {"val": val, "test": {"top1": 1 - val}}}}
        (folder / "metrics.json").write_text(json.dumps({"linear": probe}))
        folders.append(folder)
    reports = tmp_path / "reports"
    reports.mkdir()
    board = "name,kind,linear,tie_group,picked\nrandom,control,0.9,,0\nrotation,method,0.8,,0\nsimclr,method,0.7,a,1\n"
    (reports / "leaderboard.csv").write_text(board)
    subject = stage_records.compared(reports, folders, "flowers")
    assert subject.models == {
        "flowers-simclr": "simclr-1-simclr1",
        "flowers-rotation": "rotation-0-rotation0",
        "flowers": "simclr-1-simclr1",
    }
    assert subject.marks["rotation-0-rotation0"] == {"rank": "2", "tie": "", "best": "False"}
    assert subject.marks["simclr-0-simclr0"] == {"rank": "3", "tie": "a", "best": "True"}
    assert subject.tags["recommended"] == "simclr"
    assert subject.metrics == {}, "each would be a chart of one bar; the leaderboard is a table"
    assert subject.tables["leaderboard.json"]["linear"] == [0.9, 0.8, 0.7]
    assert subject.experiment == "flowers"
