"""The controls `random` and `supervised`: one takes no step, the other learns from the labels that there are."""

import math

import pytest
import torch
from torch import Tensor

from pretextbench.encoder import build
from pretextbench.method import Batch, Data
from pretextbench.methods.controls import Random, Supervised, SupervisedParams
from pretextbench.params import EncoderParams, MethodParams
from pretextbench.recipe import HorizontalFlip, PadCrop, Recipe

SIDE, CLASSES = 16, 3
FACTS = Data(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), images=100, classes=CLASSES)


def supervised() -> Supervised:
    return Supervised(SupervisedParams(), build(EncoderParams(width=4), SIDE, FACTS.mean, FACTS.std), FACTS)


def batch(labels: list[int]) -> Batch:
    x = torch.rand(len(labels), 3, SIDE, SIDE)
    return Batch((x,), torch.arange(len(labels)), labels=torch.tensor(labels))


def by_hand(logits: Tensor, labels: list[int]) -> float:
    """Cross-entropy in a scalar loop, over the labelled images."""
    rows = [(row.double().tolist(), label) for row, label in zip(logits, labels, strict=True) if label >= 0]
    return sum(math.log(sum(math.exp(v) for v in row)) - row[label] for row, label in rows) / len(rows)


def test_random_has_nobody_who_moves() -> None:
    encoder = build(EncoderParams(width=4), SIDE, FACTS.mean, FACTS.std)
    control = Random(MethodParams(), encoder, FACTS)
    assert control.players() == ()
    assert control.encoder is encoder
    assert Random.recipe(MethodParams(), SIDE) == Recipe()
    assert not Random.uses_labels


@pytest.mark.parametrize("labels", [[0, 1, 2, 1], [0, -1, 2, -1]])
def test_loss_is_cross_entropy_over_the_labelled_images(labels: list[int]) -> None:
    control, given = supervised().eval(), batch(labels)
    with torch.no_grad():
        logits = control.head(control.encoder(given.views[0]))
        assert float(control.loss(given).total) == pytest.approx(by_hand(logits, labels), abs=1e-5)


@torch.no_grad()
def test_accuracy_of_a_fully_labelled_batch() -> None:
    control = supervised().eval()
    torch.nn.init.zeros_(control.head.weight)
    control.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # says 1, always
    assert float(control.loss(batch([1, 1, 0, 2])).parts["accuracy"]) == 0.5


@torch.no_grad()
def test_accuracy_is_over_the_labelled_images() -> None:
    control = supervised().eval()
    torch.nn.init.zeros_(control.head.weight)
    control.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    assert float(control.loss(batch([1, 1, -1, -1])).parts["accuracy"]) == 1.0


def test_a_batch_without_labels_teaches_nothing() -> None:
    """With 1 % of the images labelled, every fourth batch of 128 has no label at all."""
    control = supervised()
    total = control.loss(batch([-1, -1, -1, -1])).total
    total.backward()
    assert float(total.detach()) == 0
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in control.parameters())


def test_unlabelled_images_do_not_pull_at_the_weights() -> None:
    """The gradient of the head is that of the labelled images alone (evaluation mode: no shared batch statistics)."""
    control, given = supervised().eval(), batch([0, -1, 2, -1])
    control.loss(given).total.backward()
    gradient = control.head.weight.grad.clone()
    control.zero_grad()
    labelled = Batch((given.views[0][[0, 2]],), torch.arange(2), labels=torch.tensor([0, 2]))
    control.loss(labelled).total.backward()
    torch.testing.assert_close(control.head.weight.grad, gradient)


def test_the_ceiling_uses_the_usual_recipe_of_small_images() -> None:
    assert Supervised.recipe(SupervisedParams(), 32).views[0].ops == (PadCrop(padding=4), HorizontalFlip(p=0.5))
    assert Supervised.recipe(SupervisedParams(), 96).views[0].ops[0] == PadCrop(padding=12)
    assert Supervised.uses_labels
    assert supervised().head.out_features == CLASSES
