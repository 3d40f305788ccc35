"""What an evaluation asks beside the probes: corrupted images, a second data set, all labels, maps and cost."""

import numpy as np
import pytest
import torch

from pretextbench.evaluate import protocol
from pretextbench.evaluate.features import extract
from pretextbench.params import Evaluate
from tests.evaluate.fakes import FakeData, FakeViews, TinyEncoder

CPU = torch.device("cpu")
PARAMS = Evaluate(budgets=("100%",), redraws=2, linear_l2=(1e-3, 1e-1), map_images=0)


def judged(data, params=PARAMS, **beside):
    return protocol.evaluate(protocol.Subject(TinyEncoder(), params, CPU, **beside), data)


class Second(FakeData):
    """The second data set: other images, other classes."""

    class card:
        source = "folder"

    def __init__(self):
        super().__init__(train=60, val=30, test=40, classes=2, seed=7)


@pytest.fixture(scope="module")
def found():
    data, other = FakeData(), Second()
    return data, other, judged(data, views=FakeViews(data), transfer=other)


def test_corrupted_accuracies_are_those_of_the_clean_probe_on_corrupted_features(found):
    data, _, evaluation = found
    views, curves = FakeViews(data), evaluation.metrics["robustness"]
    bench = protocol.Subject(TinyEncoder(), PARAMS, CPU).bench(
        data, extract(TinyEncoder(), data.images("val"), CPU), protocol._labels(data)
    )
    probed = protocol.linear_probes(bench)
    truth = data._labels["test"][views.rows]
    for c, name in enumerate(views.names):
        for s in range(2):
            features = extract(TinyEncoder(), views.corrupted[c, s], CPU)[probed.best]
            said = probed.models[probed.best].probabilities(features).argmax(1).numpy()
            assert np.array_equal(evaluation.predictions[f"robust.{name}"][s], said)
            assert curves["corruptions"][name][s] == np.mean(said == truth)
    whole = evaluation.predictions[f"linear.{curves['layer']}"][views.rows]
    assert curves["clean"] == np.mean(whole == truth)
    assert curves["mean"] == np.mean(list(curves["corruptions"].values()), 0).tolist()
    assert curves["relative_drop"] == pytest.approx(1 - np.mean(curves["mean"]) / curves["clean"])
    assert np.array_equal(evaluation.predictions["robust.index"], views.rows)


def test_views_that_change_nothing_cost_nothing():
    data = FakeData()
    views = FakeViews(data)
    views.corrupted = np.broadcast_to(data.images("test")[views.rows], views.corrupted.shape)
    curves = judged(data, views=views).metrics["robustness"]
    assert curves["relative_drop"] == 0
    assert curves["mean"] == [curves["clean"]] * 2


def test_only_labelled_corrupted_images_count():
    data = FakeData()
    views = FakeViews(data)
    data._labels["test"][views.rows[:5]] = -1
    found = judged(data, views=views)
    assert found.metrics["robustness"]["images"] == len(views.rows) - 5 == len(found.predictions["robust.label"])
    data._labels["test"][views.rows] = -1
    none = judged(data, views=views)
    assert none.metrics["robustness"] == {"reason": "none of the corrupted test images has a label"}
    assert not any(name.startswith("robust") for name in none.predictions)
    assert none.metrics["labelled"]


def test_the_second_data_set_is_judged_by_its_own_labels(found):
    data, other, evaluation = found
    assert (data.reads.count("test"), other.reads.count("test")) == (1, 1)
    moved, alone = evaluation.metrics["transfer"], judged(Second())
    assert moved["linear"] == alone.metrics["linear"]
    assert moved["knn"] == alone.metrics["knn"]
    assert moved["data"]["fingerprint"] == alone.metrics["data"]["fingerprint"]
    for stage in ("one", "two", "three"):
        assert np.array_equal(evaluation.predictions[f"transfer.linear.{stage}"], alone.predictions[f"linear.{stage}"])
    assert evaluation.metrics["linear"] == judged(FakeData()).metrics["linear"], "the first is judged as without it"


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_second_data_set_without_labels_is_a_reason(split):
    other = Second()
    other._labels[split][:] = -1
    found = judged(FakeData(), transfer=other)
    assert "transfer data" in found.metrics["transfer"]["reason"]
    assert not any(name.startswith("transfer") for name in found.predictions)


def test_all_labels_are_the_linear_probe_itself(found):
    _, _, evaluation = found
    few, best = evaluation.metrics["budgets"]["100%"], evaluation.metrics["linear"]["best"]
    assert few["labels"] == 120
    assert few["top1"] == evaluation.metrics["linear"]["layers"][best]["test"]["top1"]
    assert np.array_equal(evaluation.predictions["budget.100%"][0], evaluation.predictions[f"linear.{best}"])


def test_what_cannot_be_fine_tuned_is_a_reason():
    found = judged(FakeData(), PARAMS.model_copy(update={"finetune": ("999",)}))
    assert "asks for 999 labels per class" in found.metrics["finetune"]["999"]["reason"]
    assert "finetune.999" not in found.predictions
