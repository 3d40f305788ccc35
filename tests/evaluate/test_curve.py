"""The learning curve: k-NN on validation at each snapshot and at the end, by one code, without a test label."""

import copy

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from pretextbench.evaluate import curve, protocol
from pretextbench.evaluate.features import extract
from pretextbench.evaluate.subject import Snapshots
from pretextbench.params import Evaluate
from tests.evaluate.fakes import FakeData, TinyEncoder

CPU = torch.device("cpu")
PARAMS = Evaluate(budgets=(), linear_l2=(1e-2,), linear_steps=5, map_images=0)


def judged(data, snapshots, params=PARAMS, seen=100):
    kept = Snapshots(snapshots, seen)
    return protocol.evaluate(protocol.Subject(TinyEncoder(), params, CPU, snapshots=kept), data).metrics


def other_encoder():
    encoder = TinyEncoder()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return encoder


def by_hand(encoder, data, stage, rows):
    """scikit-learn's k-NN on the features of some images."""
    features = {split: extract(encoder, data._images[split][rows[split]], CPU)[stage].double() for split in rows}
    unit = {split: (x / x.norm(dim=1, keepdim=True)).numpy() for split, x in features.items()}
    oracle = KNeighborsClassifier(20, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07))
    oracle.fit(unit["train"], data._labels["train"][rows["train"]])
    return oracle.score(unit["val"], data._labels["val"][rows["val"]])


def test_every_moment_is_judged_as_scikit_learn_does(monkeypatch):
    monkeypatch.setattr(curve, "MOST", 50)
    data = FakeData()
    result = judged(data, [(25, other_encoder())])["curve"]
    assert (result["seen"], result["images"], result["bank"]) == ([25, 100], 50, 50)
    rows = {"train": np.linspace(0, 119, 50).astype(int), "val": np.linspace(0, 59, 50).astype(int)}
    for stage in ("one", "two", "three"):
        wanted = [by_hand(encoder, data, stage, rows) for encoder in (other_encoder(), TinyEncoder())]
        assert result["layers"][stage] == pytest.approx(wanted, abs=0.021), stage  # a near-tie may fall either way
    assert result["layers"]["three"][0] != result["layers"]["three"][1]


def test_the_end_is_judged_as_a_snapshot_of_the_same_weights_would_be():
    layers = judged(FakeData(), [(50, TinyEncoder())])["curve"]["layers"]
    assert all(first == last for first, last in layers.values())


def test_unlabelled_images_neither_vote_nor_count():
    data = FakeData()
    data._labels["train"][::2] = -1
    data._labels["val"][:40] = -1
    result = judged(data, [(50, other_encoder())])["curve"]
    assert (result["images"], result["bank"]) == (20, 60)


def test_without_snapshots_or_labels_there_is_no_curve():
    assert judged(FakeData(), [])["curve"] == {}
    data = FakeData()
    data._labels["val"][:] = -1
    metrics = judged(data, [(50, other_encoder())])
    assert (metrics["labelled"], "curve" in metrics) == (False, False)


def test_other_test_labels_do_not_move_it():
    data, other = FakeData(), FakeData()
    other._labels["test"] = np.random.default_rng(1).permutation(other._labels["test"])
    assert judged(data, [(50, other_encoder())])["curve"] == judged(other, [(50, other_encoder())])["curve"]


def test_snapshots_may_be_one_network_with_changing_weights():
    """As `encoder_folder.snapshots` gives them: each is judged before the next is loaded."""

    def shared():
        network = copy.deepcopy(other_encoder())
        yield 25, network
        network.load_state_dict(TinyEncoder().state_dict())
        yield 50, network

    layers = judged(FakeData(), shared())["curve"]["layers"]
    expected = judged(FakeData(), [(25, other_encoder()), (50, TinyEncoder())])["curve"]["layers"]
    assert layers == expected
