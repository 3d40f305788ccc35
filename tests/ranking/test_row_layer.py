"""One layer per row: seeds whose own best layers differ are reported at the row's layer in every column."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from pretextbench.params import Compare
from pretextbench.ranking import robustness
from pretextbench.ranking.comparison import compare
from pretextbench.ranking.protocols import CORRUPTED, FEW, LINEAR, Protocol, pictured
from pretextbench.report.output import robustness_csv
from pretextbench.report.panels import confusion, maps
from pretextbench.report.sections import lost
from tests.ranking.fakes import CORRUPTIONS, STAGES, runs

ALL = Protocol(FEW, "100%")
VALIDATION = {  # row -> validation accuracy of the four layers, seed by seed -> the layer of the row
    "simclr": ([0.9, 0.2, 0.8, 0.1], [0.1, 0.2, 0.9, 0.8]),  # best of seed 0: layer1; of seed 1 and of the row: layer3
    "rotation": (
        [0.9, 0.7, 0.1, 0.1],
        [0.1, 0.7, 0.9, 0.1],
    ),  # best of the seeds: layer1 and layer3; of the row: layer2
}
ROW = {"simclr": "layer3", "rotation": "layer2"}


def evaluated(run, folder):
    """The run with the validation accuracies above, as its evaluation would record what is best for this seed alone."""
    values = VALIDATION[run.name][run.seed]
    probe = {
        stage: {**run.metrics["linear"]["layers"][stage], "val": v} for stage, v in zip(STAGES, values, strict=True)
    }
    best = max(probe, key=lambda stage: probe[stage]["val"])
    metrics = json.loads(json.dumps(run.metrics))
    metrics["linear"] = {"best": best, "last": "layer4", "layers": probe}
    metrics["budgets"]["100%"] = {"labels": 6000, "top1": 0.5}
    metrics["confusion"] = np.eye(10, dtype=int).tolist()
    (folder / f"{run.name}-{run.seed}").mkdir()
    line = f"class,pca_x,pca_y,tsne_x,tsne_y\n{best},0,0,0,0\nx,1,1,1,1\n"
    (folder / f"{run.name}-{run.seed}" / "map.csv").write_text(line)
    predicted = {**run.predictions, "budget.100%": run.predictions[f"linear.{best}"][None]}
    return replace(run, metrics=metrics, predictions=predicted, folder=folder / f"{run.name}-{run.seed}")


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    results = [evaluated(run, folder) for run in runs({"simclr": 0.75, "rotation": 0.6}, seeds=2)]
    assert [run.metrics["linear"]["best"] for run in results] == ["layer1", "layer3", "layer1", "layer3"]
    return {name: [run for run in results if run.name == name] for name in ROW}


def at(run, stage, name):
    """Hits of one array of predictions at a layer."""
    key = f"robust.{stage}.{name}" if name in CORRUPTIONS else f"linear.{stage}"
    return run.predictions[key] == run.predictions["robust.label" if name in CORRUPTIONS else "label"]


@pytest.mark.parametrize("name", ROW)
def test_every_column_is_at_the_rows_layer(groups, name):
    results = compare([run for group in groups.values() for run in group], Compare(resamples=200))
    stage, mine = ROW[name], groups[name]
    row = next(row for row in results.rows if row.name == name)
    assert row.layers["linear"] == stage
    clean = np.mean([at(run, stage, "") for run in mine])
    corrupted = np.mean([at(run, stage, corruption) for run in mine for corruption in CORRUPTIONS])
    for protocol, expected in ((LINEAR, clean), (ALL, clean), (CORRUPTED, corrupted)):
        assert results.cell(protocol, name) == pytest.approx(expected), protocol


@pytest.mark.parametrize("name", ROW)
def test_curves_confusion_and_pictures_are_at_the_rows_layer(groups, name):
    stage, mine = ROW[name], groups[name]
    few = [np.isin(run.predictions["index"], run.predictions["robust.index"]) for run in mine]
    clean = np.mean([at(run, stage, "")[same] for run, same in zip(mine, few, strict=True)])
    assert np.mean([part.clean for part in robustness.curves(mine)]) == pytest.approx(clean)
    blur = np.mean([at(run, stage, "blur").mean(1) for run in mine], 0)
    lines = csv.DictReader(io.StringIO(robustness_csv([run for group in groups.values() for run in group])))
    curve = [float(line["accuracy"]) for line in lines if (line["name"], line["corruption"]) == (name, "blur")]
    assert curve == pytest.approx([clean, *blur], abs=1e-5)
    corrupted = np.mean([at(run, stage, corruption).mean() for run in mine for corruption in CORRUPTIONS])
    assert lost(groups)[name][:2] == pytest.approx([clean, corrupted])
    shares = confusion(groups)[name]
    label = mine[0].predictions["label"]
    for actual in range(10):
        hits = np.mean([at(run, stage, "")[label == actual].mean() for run in mine])
        assert shares[actual, actual] == pytest.approx(hits, abs=1e-4)


def test_pictures_are_of_a_seed_whose_layer_is_that_of_the_row(groups):
    assert pictured(groups["simclr"]).seed == 1
    assert pictured(groups["rotation"]).seed == 0, "no seed has it: the first, and its pictures name their layer"
    assert "layer3" in maps({"simclr": groups["simclr"]})["classes"]
