"""Training from scratch on few labels: on all of them, on nothing else, and only where the encoder is untrained."""

import copy

import numpy as np
import pytest
import torch

from pretextbench.errors import UserError
from pretextbench.evaluate import finetune, label_budgets, protocol
from pretextbench.evaluate.from_scratch import from_scratch
from pretextbench.params import Evaluate
from tests.evaluate.colours import CPU, SHORT, Colours, per_class
from tests.evaluate.fakes import FakeData, TinyEncoder


def train(data, rows, encoder=None, name="5 0", params=SHORT):
    labels = torch.from_numpy(data._labels["train"])
    return from_scratch(encoder or TinyEncoder(), data, rows, labels, params, CPU, name)


def test_it_learns_from_all_of_the_few_labels_and_reads_no_other(monkeypatch):
    taken, original = [], finetune.Batches.take
    monkeypatch.setattr(finetune.Batches, "take", lambda b, index: taken.append(index) or original(b, index))
    data, encoder = Colours(), TinyEncoder()  # the labels of validation and test cannot be read
    before, rows = copy.deepcopy(encoder.state_dict()), per_class(data, 5)
    trained = train(data, rows, encoder)
    assert set(np.concatenate(taken)) == set(rows.numpy())
    assert (trained.labels, trained.best_at, trained.stopped, trained.history) == (15, 3000, False, ())
    assert data.accuracy(trained) > 0.95
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_the_draws_are_those_of_the_subset_and_its_name():
    data, brief = Colours(), Evaluate(finetune_images=60, finetune_lr=1e-2)
    first, again, other = (train(data, per_class(data, 5), None, name, brief) for name in ("5 0", "5 0", "5 1"))
    assert np.array_equal(first.probabilities, again.probabilities)
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_a_training_that_diverges_says_what_to_do(monkeypatch):
    def diverge(*_):
        raise UserError("Fine-tuning diverged")

    monkeypatch.setattr("pretextbench.evaluate.from_scratch.train_copy", diverge)
    with pytest.raises(UserError, match=r"scratch diverged.*rate of 0\.004\. Take the budget out"):
        train(Colours(), per_class(Colours(), 5))


PARAMS = Evaluate(budgets=("5",), scratch=("5", "999"), redraws=2, linear_l2=(1e-2,), map_images=0, finetune_images=60)


@pytest.fixture(scope="module")
def seen():
    """The rows that each training got, and the evaluations of the untrained encoder and of another."""
    rows, original = [], finetune.train_copy

    def spy(encoder, start, data, parts, *rest):
        rows.append(parts[0].rows)
        return original(encoder, start, data, parts, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretextbench.evaluate.from_scratch.train_copy", spy)
        subjects = [protocol.Subject(TinyEncoder(), PARAMS, CPU, untrained=untrained) for untrained in (True, False)]
        return rows, [protocol.evaluate(subject, FakeData()) for subject in subjects]


def test_only_the_untrained_encoder_is_trained_and_on_the_subsets_of_the_probes(seen):
    rows, (untrained, other) = seen
    labels = FakeData()._labels["train"]
    assert len(rows) == 2
    for redraw, subset in enumerate(rows):
        assert np.array_equal(subset, label_budgets.subset(labels, "5", PARAMS.seed, redraw))
    assert untrained.predictions["scratch.5"].shape == untrained.predictions["budget.5"].shape == (2, 80)
    assert untrained.metrics["scratch"]["5"]["labels"] == 15
    assert "asks for 999 labels per class" in untrained.metrics["scratch"]["999"]["reason"]
    assert "scratch" not in other.metrics
    assert not any(name.startswith("scratch") for name in other.predictions)


def test_other_validation_labels_change_nothing(seen):
    data = FakeData()
    data._labels["val"] = np.random.default_rng(4).permutation(data._labels["val"])
    changed = protocol.evaluate(protocol.Subject(TinyEncoder(), PARAMS, CPU, untrained=True), data)
    assert np.array_equal(changed.predictions["scratch.5"], seen[1][0].predictions["scratch.5"])
