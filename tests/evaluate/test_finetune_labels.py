"""Fine-tuning is honest about its labels: what it learns from, what it is validated on, what it refuses."""

import numpy as np
import pytest
import torch

from pretextbench.base.seed import Seed
from pretextbench.errors import UserError
from pretextbench.evaluate import finetune as module
from pretextbench.evaluate.finetune import divide
from pretextbench.params import Evaluate, OptimizerParams
from tests.evaluate.colours import Colours, per_class, tune


def test_a_few_labels_are_validated_on_a_stratified_fifth_that_is_never_trained_on(monkeypatch):
    taken, original = [], module.Batches.take
    monkeypatch.setattr(module.Batches, "take", lambda b, index: taken.append(index) or original(b, index))
    data = Colours()
    rows = per_class(data, 20)
    truth = torch.from_numpy(data._labels["train"])
    tuned = tune(data, rows=rows)
    learn, held = divide(data, rows, truth, Seed(Seed(0).key("finetune", "10%.0")))
    assert np.array_equal(np.sort(np.concatenate([learn.rows, held.rows])), np.sort(rows.numpy()))
    assert held.labels.bincount().tolist() == [4, 4, 4]
    assert torch.equal(held.labels, truth[held.rows])
    assert torch.equal(learn.labels, truth[learn.rows])
    assert set(np.concatenate(taken)) == set(learn.rows)
    assert {len(index) for index in taken} == {48}
    assert tuned.labels == 60


def test_the_labels_of_validation_and_test_are_closed_to_a_few_labels():
    data = Colours()
    tune(data)
    assert "val" not in data.asked
    assert data.asked.count("test") == 1
    assert data.asked[-1] == "test"


def test_all_labels_are_validated_on_the_labelled_part_of_the_validation_split(monkeypatch):
    held, original = [], module.validate
    monkeypatch.setattr(module, "validate", lambda n, part, *rest: held.append(part) or original(n, part, *rest))
    data = Colours()
    data.open = ("train", "val")
    data._labels["val"][::2] = -1
    data._labels["train"][:5] = -1
    tuned = tune(data, rows=torch.arange(120))
    assert tuned.labels == 115
    assert np.array_equal(held[0].rows, np.arange(1, 60, 2))
    assert np.array_equal(held[0].labels.numpy(), data._labels["val"][1::2])
    assert data.asked[-1] == "test"


def test_too_few_labels_to_hold_any_out_are_trained_on_to_the_end():
    data = Colours()
    tuned = tune(data, rows=per_class(data, 4), params=Evaluate(finetune_images=1200, finetune_lr=1e-2))
    assert (tuned.history, tuned.best_at, tuned.stopped, tuned.labels) == ((), 1200, False, 12)
    assert data.accuracy(tuned) > 0.95


def test_a_rare_class_keeps_all_its_labels_for_training():
    data = Colours()
    rows = torch.cat([per_class(data, 20), torch.from_numpy(np.flatnonzero(data._labels["train"] == 2)[:1])])
    rows = rows[(torch.from_numpy(data._labels["train"])[rows] != 2) | (torch.arange(len(rows)) == len(rows) - 1)]
    learn, held = divide(data, rows, torch.from_numpy(data._labels["train"]), Seed(0))
    assert held.labels.bincount().tolist() == [4, 4]
    assert learn.labels.bincount().tolist() == [16, 16, 1]


def test_two_images_are_enough():
    data = Colours()
    assert tune(data, rows=per_class(data, 1)[:2], params=Evaluate(finetune_images=4)).best_at == 4


def test_labels_of_one_class_are_refused():
    data = Colours()
    with pytest.raises(UserError, match="images of two classes or more; found 1"):
        tune(data, rows=per_class(data, 9)[:9])


@pytest.mark.parametrize(("count", "images"), [(20, 3000), (4, 3000), (4, 12)])
def test_a_diverging_rate_is_named_and_ends_the_training(monkeypatch, count, images):
    monkeypatch.setattr(module, "OptimizerParams", OptimizerParams.model_construct)  # allows any rate
    data = Colours()
    wild = Evaluate(finetune_images=images).model_copy(update={"finetune_lr": 1e30})  # params.yaml may not ask for it
    with pytest.raises(UserError, match=r"diverged.*at a learning rate of 1e\+30. Lower evaluate.finetune_lr"):
        tune(data, rows=per_class(data, count), params=wild)
    assert ("test" in data.asked) == (images == 12)  # its one step has a finite loss: only what it says can tell
