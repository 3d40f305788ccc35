"""The control `pixels` in the report: what it says of a method that is not above the pixels themselves."""

import pytest

from pretextbench.params import Compare
from pretextbench.ranking.comparison import compare
from pretextbench.ranking.protocols import KNN
from pretextbench.report.recommend import recommendation_md
from pretextbench.report.sections import winners
from pretextbench.report.svg import styles
from tests.ranking.fakes import runs

PARAMS = Compare(resamples=500)
METHODS = {"simclr": 0.75, "rotation": 0.6}
FLOORS = {"random": 0.5, "supervised": 0.9}
NOTHING = "Open: no {} is shown to be better than the pixels of a small thumbnail."


@pytest.mark.parametrize(("seeds", "kind"), [(1, "encoder"), (3, "method")])
@pytest.mark.parametrize("pixels", [0.76, 0.82])
def test_a_method_that_is_not_above_the_pixels_is_not_recommended(seeds, kind, pixels):
    """A tie, and pixels that are better: above `random` alone is no evidence of learning."""
    comparison = compare(runs({**METHODS, **FLOORS, "pixels": pixels}, seeds=seeds, seed_sd=0.02), PARAMS)
    text = recommendation_md(comparison)
    assert text.split("\n")[2].startswith(f"**{NOTHING.format(kind)}**")
    assert "To be above an untrained encoder is not enough" in text
    assert winners(comparison) == []


def test_a_method_above_the_pixels_is_recommended_with_the_margin():
    results = runs({**METHODS, **FLOORS, "pixels": 0.55}, seeds=3, seed_sd=0.02)
    comparison = compare(results, PARAMS)
    text = recommendation_md(comparison)
    assert text.split("\n")[2].startswith("**Shown: use simclr.**")
    assert "The pixels of a thumbnail of 8 x 8 get " in text
    assert "points above pixels (p" in text
    assert "By k-NN" not in text
    assert winners(comparison) == ["simclr"]
    without = recommendation_md(compare([run for run in results if run.name != "pixels"], PARAMS))
    assert "pixels" not in without


def test_pixels_that_are_not_behind_by_knn_are_named():
    results = runs({**METHODS, **FLOORS, "pixels": 0.55}, seeds=1)
    picked = next(run for run in results if run.name == "simclr")
    for run in results:
        if run.name == "pixels":
            run.predictions["knn.layer3"] = picked.predictions["knn.layer3"]
    comparison = compare(results, PARAMS)
    shared = f"{100 * comparison.cell(KNN, 'simclr'):.1f} %"
    expected = f"By k-NN, simclr's encoder is not shown to be above the pixels: {shared} against {shared}."
    assert expected in recommendation_md(comparison)


def test_pixels_have_another_length_of_features_so_that_no_agreement_is_measured_with_them():
    results = runs({**{"m" * (i + 1): 0.5 + 0.05 * i for i in range(5)}, "pixels": 0.3})
    taus = [
        [item.tau for item in compare(kept, PARAMS).agreements]
        for kept in (results, [run for run in results if run.name != "pixels"])
    ]
    assert taus[0] == taus[1] != []


def test_pixels_cost_nothing_and_are_drawn_apart_from_the_other_floor():
    comparison = compare(runs({**METHODS, **FLOORS, "pixels": 0.55}), PARAMS)
    assert comparison.front[0] == "pixels", "as fast as `random`, and better"
    assert "random" not in comparison.front
    assert comparison.leader.name == "simclr"
    looks = styles(comparison.rows)
    assert looks["pixels"] != looks["random"]
    assert looks["pixels"].hue == looks["random"].hue
