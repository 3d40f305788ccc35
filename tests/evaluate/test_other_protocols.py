"""Evaluations other than the probes: corrupted images, a second data set, all labels, maps and cost."""

import csv
import io

import numpy as np
import pytest
import torch
from PIL import Image

from pretextbench.evaluate import protocol
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.pictures import (
    HEADER,
    RIGHT,
    WRONG,
    Side,
    alike,
    feature_map,
    find_neighbours,
    gallery,
    nearest,
    pca,
    queries,
)
from pretextbench.params import Evaluate
from tests.evaluate.fakes import FakeData, FakeViews, TinyEncoder

CPU = torch.device("cpu")
PARAMS = Evaluate(budgets=("100%",), redraws=2, linear_l2=(1e-3, 1e-1), map_images=0)


def judged(data, params=PARAMS, **further):
    return protocol.evaluate(protocol.Subject(TinyEncoder(), params, CPU, **further), data)


class Second(FakeData):
    """The second data set: other images, other classes."""

    class card:
        source = "folder"

    def __init__(self):
        super().__init__(train=60, val=30, test=40, classes=2, seed=7)


@pytest.fixture(scope="module")
def result():
    data, other = FakeData(), Second()
    return data, other, judged(data, views=FakeViews(data), transfer=other)


def test_corrupted_accuracies_are_those_of_the_clean_probe_on_corrupted_features(result):
    data, _, evaluation = result
    views, curves = FakeViews(data), evaluation.metrics["robustness"]
    bench = protocol.Subject(TinyEncoder(), PARAMS, CPU).bench(
        data, extract(TinyEncoder(), data.images("val"), CPU), protocol._labels(data)
    )
    probed = protocol.linear_probes(bench)
    truth = data._labels["test"][views.rows]
    for c, name in enumerate(views.names):
        for s in range(2):
            for stage, features in extract(TinyEncoder(), views.corrupted[c, s], CPU).items():
                predicted = probed.models[stage].probabilities(features).argmax(1).numpy()
                assert np.array_equal(evaluation.predictions[f"robust.{stage}.{name}"][s], predicted)
                assert (curves["corruptions"][name][s] == np.mean(predicted == truth)) or stage != probed.best
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
    result = judged(data, views=views)
    assert result.metrics["robustness"]["images"] == len(views.rows) - 5 == len(result.predictions["robust.label"])
    data._labels["test"][views.rows] = -1
    none = judged(data, views=views)
    assert none.metrics["robustness"] == {"reason": "none of the corrupted test images has a label"}
    assert not any(name.startswith("robust") for name in none.predictions)
    assert none.metrics["labelled"]


def test_the_second_data_set_is_judged_by_its_own_labels(result):
    data, other, evaluation = result
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
    result = judged(FakeData(), transfer=other)
    assert "transfer data" in result.metrics["transfer"]["reason"]
    assert not any(name.startswith("transfer") for name in result.predictions)


def test_all_labels_are_the_linear_probe_itself(result):
    _, _, evaluation = result
    few, best = evaluation.metrics["budgets"]["100%"], evaluation.metrics["linear"]["best"]
    assert few["labels"] == 120
    assert few["top1"] == evaluation.metrics["linear"]["layers"][best]["test"]["top1"]
    assert np.array_equal(evaluation.predictions["budget.100%"][0], evaluation.predictions[f"linear.{best}"])


def test_what_cannot_be_fine_tuned_is_a_reason():
    result = judged(FakeData(), PARAMS.model_copy(update={"finetune": ("999",)}))
    assert "asks for 999 labels per class" in result.metrics["finetune"]["999"]["reason"]
    assert "finetune.999" not in result.predictions


def test_pca_is_a_projection_on_the_two_largest_eigenvectors_of_the_covariance():
    x = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    centred = x - x.mean(0)
    vectors = np.linalg.eigh(np.cov(x.T))[1][:, ::-1][:, :2]  # eigenvalues rise
    places = pca(torch.from_numpy(x)).numpy()
    assert np.allclose(np.abs(places), np.abs(centred @ vectors), atol=1e-9)
    assert (places[np.abs(places).argmax(0), [0, 1]] > 0).all()


def test_pca_of_one_dimension_leaves_the_second_empty():
    places = pca(torch.tensor([[1.0], [3.0], [8.0]], dtype=torch.float64))
    assert np.allclose(places, [[-3, 0], [-1, 0], [4, 0]])


def test_a_map_keeps_groups_apart_and_comes_out_the_same():
    centres = torch.eye(3).repeat_interleave(20, 0)
    features = centres + 0.01 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    names = ["a"] * 20 + ["b"] * 20 + [""] * 20
    content = feature_map(features, names, seed=1)
    assert content == feature_map(features, names, seed=1)
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert tuple(rows[0]) == HEADER
    assert [row["class"] for row in rows] == names
    for kind in ("pca", "tsne"):
        places = np.array([[float(row[f"{kind}_x"]), float(row[f"{kind}_y"])] for row in rows])
        inner = max(np.ptp(places[i : i + 20], 0).max() for i in (0, 20, 40))
        middles = [places[i : i + 20].mean(0) for i in (0, 20, 40)]
        apart = min(np.linalg.norm(middles[i] - middles[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
        assert apart > inner, kind


def test_a_map_of_one_point():
    rows = list(csv.DictReader(io.StringIO(feature_map(torch.ones(9, 4), [""] * 9, 0).decode())))
    assert {float(row["tsne_x"]) for row in rows} == {0.0}


def test_neighbours_are_the_most_similar_by_cosine():
    bank = torch.tensor([[1.0, 0.0], [10.0, 1.0], [0.0, 5.0], [-1.0, 0.0]])
    assert nearest(bank, torch.tensor([[2.0, 0.0]])).tolist() == [[0, 1, 2, 3]]
    assert queries(np.array([2, 2, -1, 0, 0])).tolist() == [3, 0]
    assert queries(np.array([-1, -1, -1])).tolist() == [0, 1, 2]
    assert len(queries(np.arange(100))) == 8


def test_frames_say_whether_the_class_is_the_same():
    images = np.full((3, 8, 8, 3), 128, np.uint8)
    bank = Side(images, torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), np.array([0, 1, -1]))
    asked = Side(images[:1], torch.tensor([[1.0, 0.0]]), np.array([0]))
    sheet = Image.open(io.BytesIO(gallery(bank, asked, find_neighbours(bank, asked), "ab", "z")))
    pixels = {tuple(p) for p in np.asarray(sheet).reshape(-1, 3).tolist()}
    for colour in (RIGHT, WRONG):
        assert tuple(round(255 * c) for c in colour) in pixels
    unlabelled = Side(images, bank.features, np.full(3, -1))
    sheet = Image.open(io.BytesIO(gallery(unlabelled, unlabelled, find_neighbours(unlabelled, unlabelled), (), "z")))
    assert tuple(round(255 * c) for c in WRONG) not in {tuple(p) for p in np.asarray(sheet).reshape(-1, 3).tolist()}


def test_the_table_of_neighbours_has_the_rows_and_classes_of_the_picture():
    bank = Side(
        np.zeros((3, 8, 8, 3), np.uint8), torch.tensor([[0.0, 1.0], [1.0, 0.1], [1.0, 0.0]]), np.array([0, 1, -1])
    )
    asked = Side(bank.images[:2], torch.tensor([[0.0, 2.0], [1.0, 0.0]]), np.array([-1, 1]))
    lines = list(csv.DictReader(io.StringIO(alike(bank, asked, find_neighbours(bank, asked), ("a,b", "c")).decode())))
    assert [(line["query"], line["query_class"], line["image"], line["class"]) for line in lines] == [
        ("1", "c", "2", ""), ("1", "c", "1", "c"), ("1", "c", "0", "a,b"),
    ]  # fmt: skip
    assert [line["rank"] for line in lines] == ["1", "2", "3"]
