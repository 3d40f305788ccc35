"""From runs to a ranking: order, refusals, and cells that are empty rather than zero."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from pretextbench.errors import UserError
from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.ranking.runs import read
from pretextbench.report.output import write
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import align, leaderboard_csv, leaderboard_md, row_metrics
from tests.ranking.fakes import on_disk, run, runs, unlabelled

PARAMS = Compare(resamples=1000)
PLAIN = {"simclr": 0.75, "rotation": 0.64, "random": 0.52, "supervised": 0.85}


@pytest.fixture(scope="module")
def plain():
    return runs(PLAIN)


@pytest.fixture(scope="module")
def comparison(plain):
    return compare(plain, PARAMS)


def table(comparison):
    return {line["name"]: line for line in csv.DictReader(io.StringIO(leaderboard_csv(comparison)))}


def test_the_best_row_comes_first_with_the_numbers_of_its_predictions(plain, comparison):
    assert [row.name for row in comparison.rows] == ["supervised", "simclr", "rotation", "random"]
    assert [row.letters for row in comparison.rows] == ["", "a", "", ""]
    every = compare(plain, PARAMS.model_copy(update={"pairs": "all"}))
    assert [row.letters for row in every.rows] == ["a", "b", "c", "d"]
    lines = table(comparison)
    for results in plain:
        line, label = lines[results.name], results.predictions["label"]
        assert float(line["linear"]) == pytest.approx(np.mean(results.predictions["linear.layer3"] == label), abs=1e-6)
        assert float(line["linear_last_layer"]) == pytest.approx(np.mean(results.predictions["linear.layer4"] == label))
        assert float(line["knn"]) == pytest.approx(np.mean(results.predictions["knn.layer3"] == label))
        assert float(line["linear_1pct"]) == pytest.approx(np.mean(results.predictions["budget.1%"] == label), abs=1e-6)
        for name in ("linear", "knn", "linear_last_layer", "linear_1pct", "corrupted", "finetune_100pct"):
            assert float(line[f"{name}_low"]) < float(line[name]) < float(line[f"{name}_high"])
    assert lines["random"]["kind"] == "control"
    assert lines["simclr"]["kind"] == "method"
    assert lines["simclr"]["linear_layer"] == "layer3"


def test_the_layer_of_a_row_is_chosen_on_validation_over_all_seeds():
    results = runs({"simclr": 0.7}, seeds=2)
    for entry, val in zip(results, ((0.5, 0.9), (0.8, 0.6)), strict=True):
        layers = {f"layer{i + 1}": {"val": v} for i, v in enumerate((0.1, *val, 0.2))}
        entry.metrics["linear"] = {"best": "?", "last": "layer4", "layers": layers}
    assert compare(results, PARAMS).rows[0].layers["linear"] == "layer3"


def test_rows_in_any_order_give_the_same_report(plain, comparison):
    assert leaderboard_csv(compare(plain[::-1], PARAMS)) == leaderboard_csv(comparison)


def test_ties_share_a_letter_and_are_recommended_together():
    results = compare(runs({"simclr": 0.65, "rotation": 0.65, "random": 0.4, "supervised": 0.9}, seed=3), PARAMS)
    by_name = {row.name: row.letters for row in results.rows}
    assert by_name["simclr"] == by_name["rotation"]
    text = recommendation_md(results)
    assert "**Provisional: the encoders of" in text.split("cannot be distinguished here")[0]
    assert "took the least time" in text
    surer = text.split("What would make the answer surer")[1].partition("\n## ")[0]
    assert "test images" not in surer, "with one seed more test images make a false certainty surer"
    assert "twice the budget" in surer


def test_different_test_sets_are_refused(plain):
    other = run("jigsaw", 0, plain[0].predictions)
    other.metrics["data"]["fingerprint"] = "b" * 64
    with pytest.raises(UserError, match=r"jigsaw-0.*different test images or labels.*aaaaaaaaaaaa and bbbbbbbbbbbb"):
        compare([*plain, other], PARAMS)


def test_unequal_budgets_are_refused_unless_asked_for(plain):
    more = [replace(r, images_seen=64_000) if r.name == "rotation" else r for r in plain]
    with pytest.raises(UserError, match=r"budgets differ.*rotation-0 64,000, simclr-0 32,000.*allow_unequal_budgets"):
        compare(more, PARAMS)
    results = compare(more, PARAMS.model_copy(update={"allow_unequal_budgets": True}))
    assert "different numbers of images" in leaderboard_md(results)
    assert "mixes method and budget" in recommendation_md(results)
    compare([replace(r, images_seen=32_100) if r.name == "rotation" else r for r in plain], PARAMS)  # whole batches


def test_the_supervised_control_has_the_same_budget(plain):
    more = [replace(r, images_seen=64_000) if r.name == "supervised" else r for r in plain]
    with pytest.raises(UserError, match="budgets differ"):
        compare(more, PARAMS)


def test_nothing_and_twice_the_same(plain):
    with pytest.raises(UserError, match="nothing to compare"):
        compare([], PARAMS)
    with pytest.raises(UserError, match="simclr-0 is there twice"):
        compare([*plain, plain[0]], PARAMS)


def test_missing_predictions_are_an_empty_cell_with_its_reason(plain, tmp_path):
    lost = [replace(r, predictions={}, missing="predictions.npz is gone") if r.name == "rotation" else r for r in plain]
    results = compare(lost, PARAMS)
    line = table(results)["rotation"]
    assert line["linear"] == line["knn"] == line["linear_1pct"] == line["tie_group"] == ""
    assert line["notes"] == "predictions.npz is gone"
    assert results.rows[-1].name == "rotation"
    cells = next(line for line in leaderboard_md(results).splitlines() if line.startswith("| rotation")).split("|")
    assert [cells[i].strip() for i in (2, 3, 4, 6, 7, 8, 9)] == [""] * 7
    assert "rotation" in leaderboard_md(results).split("Empty cells")[1]
    assert "knn" not in json.loads(row_metrics(results)["rotation"])
    assert "**Provisional: simclr is the only method here.**" in recommendation_md(results)
    write(results, lost, tmp_path)


def test_a_budget_without_labels_is_an_empty_column_with_its_reason(plain):
    poor = []
    for entry in plain:
        predicted = {key: value for key, value in entry.predictions.items() if key != "budget.1%"}
        budgets = {"1%": {"top1": None, "reason": "class 2 has 3"}, "10%": {"labels": 600, "top1": 0.5}}
        poor.append(replace(entry, predictions=predicted, metrics={**entry.metrics, "budgets": budgets}))
    results = compare(poor, PARAMS)
    assert table(results)["simclr"]["linear_1pct"] == ""
    assert table(results)["simclr"]["notes"] == "1%: class 2 has 3"
    assert "1 % labels: not measured" in recommendation_md(results)


def test_different_redraws_are_refused(plain):
    predicted = {**plain[0].predictions, "budget.1%": plain[0].predictions["budget.1%"][:2]}
    with pytest.raises(UserError, match=r"different `evaluate.redraws`"):
        compare([replace(plain[0], predictions=predicted), *plain[1:]], PARAMS)


def test_without_labels(plain, tmp_path):
    bare = [unlabelled(r) for r in plain]
    results = compare(bare, PARAMS)
    assert results.rows[0].name == "supervised"  # the longest name has the highest RankMe here
    assert "No accuracies: no training image has a label" in leaderboard_md(results)
    assert "**Open: no recommendation, because" in recommendation_md(results)
    assert set(json.loads(row_metrics(results)["simclr"])) == {"rankme", "uniformity", "feature_std", "seconds"}
    write(results, bare, tmp_path)
    with pytest.raises(UserError, match="different test images"):
        compare([unlabelled(plain[0]), *plain[1:]], PARAMS)


def test_one_seed_says_what_it_leaves_out(comparison):
    assert "**One seed per row: this ranks these encoders, not the methods.**" in leaderboard_md(comparison)
    assert "One seed per row" in recommendation_md(comparison)
    three = compare(runs(PLAIN, seeds=3), PARAMS)
    assert "One seed per row" not in leaderboard_md(three)
    assert "One seed per row" not in recommendation_md(three)
    assert {row.seeds for row in three.rows} == {(0, 1, 2)}


def test_the_words():
    text = recommendation_md(compare(runs({**PLAIN, "supervised": 0.6}, seeds=3), PARAMS))
    assert "**Shown: use simclr.**" in text
    assert "points above rotation, the next method (p" in text
    assert "points above random (p" in text
    assert "pretraining pays even with all labels" in text
    flipped = runs(PLAIN, seeds=3, n=2000, few={"simclr": 0.4, "rotation": 0.6})
    assert "the ranking flips" in recommendation_md(compare(flipped, PARAMS))
    useless = recommendation_md(compare(runs({"simclr": 0.5, "rotation": 0.48, "random": 0.52}, seeds=3), PARAMS))
    assert "**Open: no method is shown to help.**" in useless
    assert "supervised control was not run" in useless
    assert "set `compare.budgets: [64000]`, twice the budget; what is trained is kept: about" in text
    alone = recommendation_md(compare(runs({"simclr": 0.7}), PARAMS))
    assert "only method here" in alone
    assert "nothing to recommend" in recommendation_md(compare(runs({"random": 0.5}), PARAMS))


def test_reports(plain, comparison, tmp_path):
    paths = write(comparison, plain, tmp_path)
    assert sorted([*(p.name for p in paths), "metrics"]) == sorted(p.name for p in tmp_path.iterdir())
    numbers = json.loads((tmp_path / "metrics/simclr.json").read_text())
    assert list(numbers) == ["linear", "knn", "linear_10pct", "corrupted", "seconds"]
    assert numbers["linear"] == pytest.approx(float(table(comparison)["simclr"]["linear"]))
    assert {path.stem for path in (tmp_path / "metrics").iterdir()} == {row.name for row in comparison.rows}
    png = (tmp_path / "leaderboard.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    (tmp_path / "metrics/of-an-earlier-comparison.json").write_text("{}")
    write(comparison, plain, tmp_path)
    assert not (tmp_path / "metrics/of-an-earlier-comparison.json").exists()
    assert (tmp_path / "leaderboard.png").read_bytes() == png


def test_a_place_that_cannot_be_written(plain, comparison, tmp_path):
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(UserError, match="Cannot write"):
        write(comparison, plain, tmp_path / "reports")


def test_markdown_is_aligned():
    lines = align(["", "a"], [["longer", "1"], ["x", "100.0"]])
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == "| ------ | ----: |"


def test_runs_come_back_from_disk(plain, comparison, tmp_path):
    folders = [on_disk(r, tmp_path) for r in plain]
    results = read(tmp_path, folders)
    assert leaderboard_csv(compare(results, PARAMS)) == leaderboard_csv(comparison)
    (tmp_path / "simclr-0/predictions.npz").write_bytes(b"half a file")
    broken = read(tmp_path, folders)
    assert broken[0].missing.startswith("simclr-0/predictions.npz cannot be read")
    (tmp_path / "simclr-0/metrics.json").unlink()
    with pytest.raises(UserError, match=r"Cannot read .*simclr-0/metrics.json.*Run the evaluate stage"):
        read(tmp_path, folders)
    (tmp_path / "rotation-0/encoder.json").write_text("{}")
    with pytest.raises(UserError, match=r"says nothing of 'method'.*pretrain stage"):
        read(tmp_path, ["rotation-0"])


def test_comparing_needs_no_torch():
    code = "import pretextbench.report.output, pretextbench.ranking.runs, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
