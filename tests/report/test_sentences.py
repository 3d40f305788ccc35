"""The protocols other than the frozen probes, agreement of label-free measures, the cost front, and the curves."""

import csv
import io
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau, norm

from pretextbench.errors import UserError
from pretextbench.params import Compare
from pretextbench.ranking.agreement import Agreement, agreement
from pretextbench.ranking.comparison import compare, front
from pretextbench.ranking.protocols import CORRUPTED, TRANSFER, right
from pretextbench.report.html import Appendix
from pretextbench.report.output import budgets_csv, robustness_csv
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.tables import leaderboard_csv, leaderboard_md
from tests.ranking.fakes import CORRUPTIONS, runs

PARAMS = Compare(resamples=500)
PLAIN = {"simclr": 0.75, "rotation": 0.64, "denoising": 0.55, "random": 0.52, "supervised": 0.85}


@pytest.fixture(scope="module")
def plain():
    return runs(PLAIN, seeds=2)


@pytest.fixture(scope="module")
def comparison(plain):
    return compare(plain, PARAMS)


def lines(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_corrupted_accuracy_is_the_mean_over_seeds_corruptions_and_severities(plain, comparison):
    mine = [run for run in plain if run.name == "rotation"]
    hits = [
        run.predictions[f"robust.layer3.{name}"] == run.predictions["robust.label"]
        for run in mine
        for name in CORRUPTIONS
    ]
    assert comparison.cell(CORRUPTED, "rotation") == pytest.approx(np.mean(hits))
    low, high = comparison.verdicts[CORRUPTED].interval("rotation")
    assert low < np.mean(hits) < high


def test_transfer_is_judged_by_the_labels_and_the_layer_of_the_second_data_set(plain):
    changed = []
    for run in plain:
        layers = {stage: {"val": 0.9 if stage == "layer1" else 0.1} for stage in run.metrics["linear"]["layers"]}
        second = {**run.metrics["transfer"], "linear": {"best": "layer1", "last": "layer4", "layers": layers}}
        changed.append(replace(run, metrics={**run.metrics, "transfer": second}))
    results = compare(changed, PARAMS)
    row = next(row for row in results.rows if row.name == "simclr")
    assert (row.layers[TRANSFER], row.layers["linear"]) == ("layer1", "layer3")
    mine = [run.predictions for run in plain if run.name == "simclr"]
    hits = [predicted["transfer.linear.layer1"] == predicted["transfer.label"] for predicted in mine]
    assert results.cell(TRANSFER, "simclr") == pytest.approx(np.mean(hits))


def test_another_second_data_set_is_refused(plain):
    label = plain[0].predictions["transfer.label"]
    other = replace(plain[0], predictions={**plain[0].predictions, "transfer.label": label[::-1]})
    with pytest.raises(UserError, match="different test images or labels"):
        compare([other, *plain[1:]], PARAMS)


def test_a_row_without_a_protocol_has_an_empty_cell(plain):
    poor = [
        replace(run, predictions={k: v for k, v in run.predictions.items() if not k.startswith("robust")})
        if run.name == "rotation"
        else run
        for run in plain
    ]
    results = compare(poor, PARAMS)
    assert results.cell(CORRUPTED, "rotation") is None
    assert results.cell(CORRUPTED, "simclr") is not None
    assert next(line for line in lines(leaderboard_csv(results)) if line["name"] == "rotation")["corrupted"] == ""


def test_a_reason_is_told(plain):
    marked = [replace(run, metrics={**run.metrics, "transfer": {"reason": "no labels there"}}) for run in plain]
    results = compare(marked, PARAMS)
    assert TRANSFER not in results.verdicts
    assert "transfer: no labels there" in leaderboard_md(results)


def test_the_leaderboard_has_the_other_protocols(comparison):
    line = lines(leaderboard_csv(comparison))[0]
    assert {"corrupted", "transfer", "finetune_100pct", "views", "training_mmacs", "on_cost_front"} <= set(line)
    assert float(line["epochs"]) == pytest.approx(float(line["images_seen"]) / 6000, abs=0.001)
    header = next(text for text in leaderboard_md(comparison).splitlines() if "tie" in text)
    assert "fine-tuned, 100 % labels %" in header
    assert "corrupted %" in header
    assert "images seen | epochs | views | M multiply-adds" in " ".join(header.split())
    sentences = recommendation_md(comparison, {"said": "No test image is in train."})
    assert "- corrupted test images (mean of all corruptions and severities): simclr has " in sentences
    assert "- the whole network fine-tuned, 100 % labels: simclr has " in sentences
    assert "No test image is in train." in sentences


@pytest.mark.parametrize(
    ("accuracies", "corrupted"),
    [
        ({"simclr": 0.75, "rotation": 0.52}, r"simclr's encoder leads with .*, \d+\.\d points above rotation's"),
        (
            {"simclr": 0.64, "rotation": 0.64},
            r"'s encoder has \d\d\.\d %, \d+\.\d points above .*: (a tie|too close to say)",
        ),
        ({"simclr": 0.75}, r"simclr's encoder has \d\d\.\d %\."),
    ],
)
def test_a_method_leads_only_where_the_test_shows_it(accuracies, corrupted):
    text = recommendation_md(compare(runs({**accuracies, "random": 0.5}, n=2000), PARAMS))
    line = next(line for line in text.splitlines() if line.startswith("- corrupted test images"))
    assert re.search(corrupted, line), line
    assert ("leads" in corrupted) == ("leads" in line)


@pytest.mark.parametrize(
    ("accuracies", "n", "advice"),
    [
        ({"simclr": 0.5, "rotation": 0.5, "random": 0.5}, 2000, "Train for longer before choosing a method"),
        (
            {"simclr": 0.96, "rotation": 0.96, "random": 0.95},
            72,
            "longer training cannot be shown to help here. Label more test images first.",
        ),
    ],
)
def test_without_a_shown_gain_the_advice_is_what_can_help(accuracies, n, advice):
    text = recommendation_md(compare(runs(accuracies, n=n), PARAMS))
    assert "no encoder is shown to be better than an untrained one" in text
    assert advice in text
    assert ("Train for longer before" in text) == ("Train" in advice)


@pytest.mark.parametrize(("supervised", "named"), [(0.9, True), (0.75, False), (0.5, False)])
def test_the_answer_names_supervised_training_where_it_is_better(supervised, named):
    results = compare(runs({"simclr": 0.75, "random": 0.5, "supervised": supervised}, n=2000), PARAMS)
    answer = recommendation_md(results).partition("\n## ")[0]
    assert ("If all your images are labelled, train on the labels" in answer) == named


def test_the_faster_ones_are_methods(comparison):
    assert comparison.front[0] == "random"  # it takes no time, and is no answer
    text = recommendation_md(comparison)
    cost = text.partition("## Cost")[2].partition("##")[0]
    assert "random" not in cost


def test_severities_are_no_redraws(plain, comparison):
    """Severities of one image are no new images, and no redraws of labels: one mean per image."""
    mine = {"simclr": [run for run in plain if run.name == "simclr"]}
    assert right(mine, {"simclr": [f"robust.layer3.{name}" for name in CORRUPTIONS]})["simclr"].shape == (2, 1, 250)
    verdict = comparison.verdicts[CORRUPTED]
    shares = verdict.examples["simclr"]
    assert len(shares) == 250
    low, high = verdict.interval("simclr")
    assert high - low > 2 * 1.96 * shares.std() / np.sqrt(len(shares)) * 0.95


def brute_force(a, b):
    """Kendall's tau-b, pair by pair."""
    signs = [(np.sign(x - y), np.sign(u - v)) for (x, u), (y, v) in itertools.combinations(zip(a, b, strict=True), 2)]
    both = sum(s * t for s, t in signs)
    return both / np.sqrt(sum(s != 0 for s, _ in signs) * sum(t != 0 for _, t in signs))


def test_agreement_by_hand():
    accuracies, values = [0.9, 0.7, 0.6, 0.5, 0.4, 0.3], [5.0, 6.0, 4.0, 3.0, 2.0, 2.0]
    results = agreement("rankme", values, accuracies, 0.95)
    assert results.tau == pytest.approx(brute_force(values, accuracies))
    assert results.low < 0.8 * results.tau < results.high
    assert agreement("alignment", values, accuracies, 0.95).tau == pytest.approx(-results.tau), "low is good"
    same = agreement("rankme", accuracies, accuracies, 0.95)
    assert same.tau == pytest.approx(1)
    assert -1 < same.low < same.high < 1
    assert same.p == pytest.approx(2 / 720)
    assert agreement("rankme", [1.0] * 6, accuracies, 0.95) is None
    assert agreement("rankme", values[:4], accuracies[:4], 0.95) is None


@pytest.mark.parametrize(("encoders", "correlation"), [(7, 0.0), (7, 0.95), (12, 0.8)])
def test_the_interval_of_tau_covers(encoders, correlation):
    rng, times = np.random.default_rng(encoders), 600
    truth = 2 / np.pi * np.arcsin(correlation)  # of the bivariate normal
    covered = 0
    for _ in range(times):
        x = rng.normal(size=encoders)
        y = correlation * x + np.sqrt(1 - correlation**2) * rng.normal(size=encoders)
        results = agreement("rankme", x, y, 0.95)
        assert results.tau == pytest.approx(kendalltau(x, y).statistic)
        covered += results.low <= truth <= results.high
    assert covered / times > 0.95 - 3 * np.sqrt(0.05 * 0.95 / times)


def test_the_agreement_is_told_with_its_interval(comparison):
    marked = [entry for entry in comparison.agreements if entry.measure == "rankme"]
    assert len(marked) == 1
    assert f"RankMe {marked[0].tau:.2f} ({marked[0].low:.2f} to {marked[0].high:.2f})" in recommendation_md(comparison)
    sure = replace(comparison, agreements=(Agreement("alignment", 1.0, 0.3, 1.0, 0.01),))
    assert "Here alignment could have replaced the labels" in recommendation_md(sure)
    unsure = replace(comparison, agreements=(Agreement("alignment", -1.0, -1.0, -0.3, 0.01),))
    assert "do not choose by them" in recommendation_md(unsure), "an order in reverse is no help"


def test_the_cost_front_by_hand():
    points = {"cheap": (1.0, 0.2), "best": (9.0, 0.9), "middle": (4.0, 0.5), "dear": (5.0, 0.4), "bad": (1.0, 0.1)}
    assert front(points) == ["cheap", "middle", "best"]
    assert front({"a": (1.0, 0.5), "b": (1.0, 0.5)}) == ["a", "b"]
    assert front({}) == []


def test_the_front_is_of_rows_that_need_no_labels(comparison):
    assert "supervised" not in comparison.front
    assert comparison.front[0] == "random"
    assert "simclr" in comparison.front


def test_curves_are_those_of_the_verdicts(plain, comparison):
    rows = [line for line in lines(budgets_csv(comparison, plain)) if line["name"] == "simclr"]
    assert [int(row["labels"]) for row in rows] == [60, 600]  # these runs do not say how many labels train has
    assert float(rows[1]["accuracy"]) == pytest.approx(comparison.cell("10%", "simclr"), abs=1e-5)
    curve = [line for line in lines(robustness_csv(plain)) if (line["name"], line["corruption"]) == ("simclr", "blur")]
    assert [int(row["severity"]) for row in curve] == [0, 1, 2, 3, 4, 5]
    mine = [run.metrics["robustness"]["corruptions"]["blur"][4] for run in plain if run.name == "simclr"]
    assert float(curve[5]["accuracy"]) == pytest.approx(np.mean(mine), abs=1e-5)


def test_unequal_shares_are_not_judged_by_mcnemar():
    """Shares of right predictions are no counts: the exact test would round them."""
    from pretextbench.ranking.statistics import judge

    rng = np.random.default_rng(0)
    first, second = (norm.cdf(rng.normal(size=(1, 1, 400)) + shift) for shift in (0.4, 0.0))
    results = judge([first, second], 0.95, 2000, np.random.default_rng(1))
    assert results.p[0, 1] < 1e-5, "more than five standard errors"


def test_an_audit_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"audit.json.*Run the audit stage"):
        Appendix.read(tmp_path, {}, None, None)
