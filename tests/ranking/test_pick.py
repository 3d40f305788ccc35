"""The method that is named is picked on validation: test labels play no part in it, and test judges it without bias."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.ranking.pick import expected_anew, pick, widened
from pretextbench.ranking.protocols import LINEAR
from pretextbench.ranking.statistics import judge
from pretextbench.report.recommend import recommendation_md
from tests.ranking.fakes import encoders, runs
from tests.ranking.simulation import drawn

PARAMS = Compare(resamples=200)


def row(name, *validation):
    return SimpleNamespace(validation_error=(), name=name, validation=validation)


def test_the_largest_validation_accuracy_is_picked():
    chosen = pick([row("a", 0.5, 0.7), row("b", 0.65, 0.65), row("c", 0.1, 0.2)], 400)
    assert (chosen.name, list(chosen.accuracies)) == ("b", ["b", "a", "c"])
    assert chosen.gap == pytest.approx(0.05)
    assert chosen.error == pytest.approx(np.sqrt((0.6 * 0.4 + 0.65 * 0.35) / 400 + 0.02 / 2)), "images, and seeds of a"
    assert not chosen.clear
    assert pick([], 400) is None
    assert pick([row("a", 0.5)], 400).clear


@pytest.mark.parametrize(("images", "clear"), [(100, False), (5000, True)])
def test_few_validation_images_cannot_pick(images, clear):
    assert pick([row("a", 0.62), row("b", 0.60)], images).clear == clear


def permuted(results, seed):
    """The runs as they would be with other test labels."""
    order = np.random.default_rng(seed).permutation(len(results[0].predictions["label"]))
    changed = {"label": results[0].predictions["label"][order]}
    return [replace(run, predictions={**run.predictions, **changed}) for run in results]


@pytest.mark.parametrize("seeds", [1, 3])
def test_test_labels_change_neither_the_named_method_nor_the_order_of_the_pick(seeds):
    results = runs({"simclr": 0.62, "rotation": 0.61, "jigsaw": 0.6, "random": 0.4}, seeds=seeds)
    expected = compare(results, PARAMS)
    for seed in range(3):
        actual = compare(permuted(results, seed), PARAMS)
        assert actual.pick == expected.pick
        assert actual.contenders[0].name == expected.leader.name == expected.pick.name
        assert f"probe on {expected.leader.name}'s layer3" in recommendation_md(actual)


def test_where_test_shows_another_method_to_be_better_nothing_is_recommended():
    results = runs({"simclr": 0.75, "rotation": 0.6, "random": 0.4}, seeds=3, n=2000)
    for run in results:
        value = 0.9 if run.name == "rotation" else 0.1
        run.metrics["linear"]["layers"] = {k: {**v, "val": value} for k, v in run.metrics["linear"]["layers"].items()}
    comparison = compare(results, PARAMS)
    assert comparison.leader.name == "rotation"
    assert [row.name for row in comparison.better] == ["simclr"]
    assert comparison.rows[0].name == "simclr", "the leaderboard is in the order of test"
    assert "alidation picked rotation, and on test simclr did better" in recommendation_md(comparison)


def test_a_pair_that_was_not_asked_has_no_p_value():
    rates = {"simclr": 0.75, "rotation": 0.6, "jigsaw": 0.5, "random": 0.4, "supervised": 0.9}
    verdict = compare(runs(rates), PARAMS).verdicts[LINEAR]
    assert verdict.asked("rotation", "simclr")
    assert verdict.asked("random", "jigsaw")
    for pair in (("rotation", "jigsaw"), ("random", "supervised"), ("simclr", "nothing")):
        assert not verdict.asked(*pair)
        with pytest.raises(LookupError, match="were not tested against each other"):
            verdict.p(*pair)
    every = compare(runs(rates), PARAMS.model_copy(update={"pairs": "all"})).verdicts[LINEAR]
    assert every.asked("random", "supervised")
    assert (every.charge("random", "supervised"), verdict.charge("random", "jigsaw")) == (10, 3)


def test_the_charge_of_a_pair_is_for_the_pairs_that_are_still_open():
    """Holm's steps: two methods that are far behind were tested before, and count no more for the close one."""
    rates = {"simclr": 0.75, "rotation": 0.74, "jigsaw": 0.5, "denoising": 0.45, "random": 0.4}
    comparison = compare(runs(rates, seeds=3, seed_sd=0.02), PARAMS)
    verdict, best = comparison.verdicts[LINEAR], comparison.leader.name
    (close,) = {"simclr", "rotation"} - {best}
    assert [row.name for row in comparison.tied] == [best, close]
    assert (verdict.charge(best, close), verdict.open_charge(best, close)) == (6, 1)
    assert verdict.open_charge(best, "jigsaw") == 3, "denoising differs, the close one does not"
    assert verdict.open_charge("jigsaw", "denoising") == 0


def headline_bias(methods, seeds, n, spread, times, chooser):
    """Mean of the printed accuracy of the chosen row minus the true accuracy of its encoders, in points."""
    generator, errors = np.random.default_rng([methods, seeds, n]), []
    slope = 0.318 / np.sqrt(2)  # accuracy per unit of the latent scale, at 75 %
    for _ in range(times):
        rows, truths = encoders(generator, [0.75] * methods, seeds, n, spread / 100 / slope)
        truth = np.array([t.mean() for t in truths])
        val = [generator.binomial(1000, t[:, 0, 0]) / 1000 for t in truths]
        test = np.array([r.mean() for r in rows])
        candidates = [row(str(i), *accuracies) for i, accuracies in enumerate(val)]
        chosen = int(pick(candidates, 1000).name) if chooser == "validation" else int(test.argmax())
        errors.append(100 * (test[chosen] - truth[chosen]))
    return np.mean(errors), np.std(errors) / np.sqrt(times)


@pytest.mark.parametrize(
    ("methods", "seeds", "n", "spread", "allowed"),
    [(17, 1, 200, 0, 0.5), *((5, seeds, 2000, spread, 0.3) for seeds in (1, 3) for spread in (0, 1, 3))],
)
def test_the_accuracy_in_the_headline_is_not_too_high(methods, seeds, n, spread, allowed):
    bias, error = headline_bias(methods, seeds, n, spread, 400 if n == 200 else 60, "validation")
    assert abs(bias) < allowed + 2.6 * error
    if spread == 0:
        planted, _ = headline_bias(methods, seeds, n, spread, 60, "test")
        assert planted > allowed, "picked on test it is too high"


def test_each_seed_judges_the_method_that_the_others_pick():
    rows = [row("a", 0.9, 0.5, 0.5), row("b", 0.6, 0.6, 0.6)]
    test = {"a": np.array([0.91, 0.51, 0.52]), "b": np.array([0.61, 0.62, 0.63])}
    assert pick(rows, 1000).name == "a"
    assert expected_anew(rows, test) == pytest.approx((0.61 + 0.51 + 0.52) / 3), "without its first seed, b is picked"
    assert expected_anew([rows[0], row("b", 0.8, 0.9)], test) == pytest.approx((0.61 + 0.62 + 0.61) / 3)
    assert expected_anew([rows[0], row("b", 0.6)], test) is None, "one seed cannot be left out"
    assert expected_anew(rows, {"a": test["a"]}) is None
    assert expected_anew([], {}) is None


def test_the_order_of_the_rows_does_not_decide_between_equals():
    rows = [row("b", 0.5, 0.5), row("a", 0.5, 0.5)]
    test = {"a": np.array([0.4, 0.4]), "b": np.array([0.9, 0.9])}
    assert expected_anew(rows, test) == expected_anew(rows[::-1], test) == 0.4


def test_only_the_lower_end_of_the_interval_moves():
    assert widened((0.5, 0.7), 0.6, 0.55) == pytest.approx((0.45, 0.7))
    assert widened((0.5, 0.7), 0.6, 0.65) == (0.5, 0.7)
    assert widened((0.01, 0.7), 0.6, 0.5) == (0.0, 0.7)


def contest(generator, methods, seeds, spread, n):
    """Equal methods of 75 %: per method its accuracies by seed, of the encoders, on validation and on test."""
    truth = np.clip(0.75 + spread / 100 * generator.standard_normal((methods, seeds)), 0, 1)
    validation, test = (generator.binomial(size, truth) / size for size in (1000, n))
    return truth, [row(f"{m:02}", *accuracies) for m, accuracies in enumerate(validation)], test


@pytest.mark.parametrize(
    ("methods", "seeds", "spread"),
    [(5, 3, 0), (5, 3, 1), (2, 3, 3), (5, 3, 3), (17, 3, 3), (5, 5, 3)],
)
def test_the_accuracy_expected_of_a_new_pretraining_is_not_too_high(methods, seeds, spread):
    """A thousand comparisons: the standard error of the bias is 0.07 points at most."""
    generator, anew, naive = np.random.default_rng([methods, seeds, spread]), [], []
    for _ in range(1000):
        _, rows, test = contest(generator, methods, seeds, spread, 2000)
        anew.append(expected_anew(rows, {item.name: values for item, values in zip(rows, test, strict=True)}))
        naive.append(test[int(pick(rows, 1000).name)].mean())
    assert abs(100 * np.mean(anew) - 75) < 0.3
    if spread == 3:
        assert 100 * np.mean(naive) - 75 > 0.6, "the mean over the seeds that picked is too high"


def test_the_interval_of_the_picked_method_covers_a_new_pretraining():
    """Of 17 equal methods whose seeds vary by 5 points; the standard error is two points."""
    generator, covered = np.random.default_rng(4), []
    for _ in range(150):
        truth, rows, _ = contest(generator, 17, 3, 5, 400)
        data, chosen = drawn(generator, truth, 400), int(pick(rows, 1000).name)
        results = judge(data, 0.95, 100, generator, ())
        test = {item.name: table.mean((1, 2)) for item, table in zip(rows, data, strict=True)}
        interval = results.low[chosen], results.high[chosen]
        wider = widened(interval, results.accuracy[chosen], expected_anew(rows, test))
        covered.append([low <= 0.75 <= high for low, high in (interval, wider)])
    plain, wider = np.mean(covered, 0)
    print(f"\ncoverage of the pick's method {plain:.3f}, with the lower end moved {wider:.3f}")
    assert wider > 0.88
    assert plain < 0.82
