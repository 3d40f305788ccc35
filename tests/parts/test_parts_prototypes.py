"""Prototypes and Sinkhorn-Knopp against known answers, a loop and lightly; two processes against one."""

import math

import pytest
import torch
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn

from pretextbench import registry
from pretextbench.errors import UserError
from pretextbench.parts import (
    Prototypes,
    dominant_prototype,
    entropies,
    prototype_count,
    prototype_pictures,
    same_for_all,
    sinkhorn,
    uniform_predictions,
)
from pretextbench.testing.bench import advance, build
from tests.parts.test_parts import rows
from tests.two_threads import in_two_threads


def shares(scores: list[list[float]], epsilon: float, iterations: int) -> list[list[float]]:
    """Sinkhorn-Knopp, one number at a time."""
    q = [[math.exp(value / epsilon) for value in row] for row in scores]
    for _ in range(iterations):
        columns = [math.fsum(row[k] for row in q) for k in range(len(q[0]))]
        q = [[value / columns[k] for k, value in enumerate(row)] for row in q]
        q = [[value / math.fsum(row) for value in row] for row in q]
    return q


@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_sinkhorn_equals_a_loop_and_lightly(iterations: int) -> None:
    scores = rows(7, 5) / 3
    result = sinkhorn(scores, 0.1, iterations)
    expected = torch.tensor(shares(scores.tolist(), 0.1, iterations), dtype=torch.float64)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(result, lightly_sinkhorn(scores, iterations, 0.1), rtol=0, atol=1e-12)


def test_rows_sum_to_one_and_shares_become_equal() -> None:
    """The rows at once, the shares of the prototypes with more iterations only."""
    scores = rows(20, 5) / 3
    few, many = (sinkhorn(scores, 0.05, iterations) for iterations in (3, 1000))
    for result in (few, many):
        torch.testing.assert_close(result.sum(1), torch.ones(20, dtype=torch.float64), rtol=0, atol=1e-12)
    assert float((few.mean(0) - 0.2).abs().max()) > 1e-3
    assert float((many.mean(0) - 0.2).abs().max()) < 1e-9


def test_known_assignments() -> None:
    """Each image of its own prototype; equal scores; a constant added to all."""
    identity = sinkhorn(torch.eye(4, dtype=torch.float64), 0.01)
    torch.testing.assert_close(identity, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(sinkhorn(torch.zeros(6, 4), 0.05), torch.full((6, 4), 0.25))
    scores = rows(6, 4)
    torch.testing.assert_close(sinkhorn(scores + 7, 0.05), sinkhorn(scores, 0.05), rtol=0, atol=1e-10)
    one_sided = torch.tensor([[1.0, 0.0]] * 6)
    torch.testing.assert_close(sinkhorn(one_sided, 0.05), torch.full((6, 2), 0.5))


def test_assignments_have_no_gradient_and_no_half_precision_and_never_overflow() -> None:
    scores = rows(6, 4).float().requires_grad_()
    assert not sinkhorn(scores, 0.05).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        low = sinkhorn(scores.to(torch.bfloat16), 0.05)
    assert low.dtype == torch.float32
    assert bool(sinkhorn(scores, 1e-3).isfinite().all())


def test_a_queue_takes_part_and_gets_no_row() -> None:
    scores, extra = rows(6, 4), rows(5, 4, seed=1)
    result = sinkhorn(scores, 0.3, 3, extra)
    torch.testing.assert_close(result, sinkhorn(torch.cat([scores, extra]), 0.3)[:6], rtol=0, atol=1e-12)
    assert float((result - sinkhorn(scores, 0.3)).abs().max()) > 1e-3


@pytest.mark.parametrize("queue", [None, rows(5, 4, seed=1)])
def test_sinkhorn_of_two_processes_is_that_of_one(queue: torch.Tensor | None) -> None:
    scores = rows(8, 4)
    result = torch.cat(in_two_threads(lambda half: sinkhorn(half, 0.3, 3, queue), scores))
    torch.testing.assert_close(result, sinkhorn(scores, 0.3, 3, queue), rtol=0, atol=1e-12)


def test_scores_are_cosines_whatever_the_lengths() -> None:
    prototypes, z = Prototypes(5, 3), rows(4, 5).float()
    expected = torch.stack([torch.cosine_similarity(z, weight[None]) for weight in prototypes.weight.detach()], 1)
    torch.testing.assert_close(prototypes(z).detach(), expected)
    before = prototypes(z).detach()
    with torch.no_grad():
        prototypes.weight.mul_(3)
    torch.testing.assert_close(prototypes(7 * z).detach(), before)
    prototypes.normalise()
    torch.testing.assert_close(prototypes.weight.detach().norm(dim=1), torch.ones(3))
    with torch.autocast("cpu", torch.bfloat16):
        assert prototypes(z).dtype == torch.float32


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_prototypes_stand_still_at_first_and_leave_no_trace_in_the_optimizer(name: str) -> None:
    """In the host's loop, for half of 20 steps. Gradients of zero would leave a trace: see the next test."""
    method = registry.load(name)
    training = build(method, steps=20, params=method.Params(frozen=0.5))
    module = training.method.prototypes if name == "swav" else training.method.last
    before, (optimizer,) = module.weight.detach().clone(), training.optimizers
    advance(training, 10)
    torch.testing.assert_close(module.weight, before)  # swav gives them length 1 again after each step
    assert module.weight not in optimizer.state
    advance(training, 1)
    assert float(optimizer.state[module.weight]["step"]) == 1
    assert float((module.weight.detach() - before).abs().max()) > 1e-4


def test_gradients_of_zero_are_no_rest_for_adam() -> None:
    """After 100 of them the largest step is twice the learning rate, where it is one rate without them."""
    largest = {}
    for rested in (0, 100):
        weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer, moves = torch.optim.AdamW([weight], lr=1.0, weight_decay=0.0), []
        for step in range(rested + 200):
            before = weight.detach().clone()
            weight.grad = torch.full_like(weight, float(step >= rested))
            optimizer.step()
            moves.append(float((weight.detach() - before).abs()))
        largest[rested] = max(moves)
    assert largest[0] == pytest.approx(1, abs=1e-6)
    assert largest[100] > 2


def test_the_number_of_prototypes() -> None:
    assert prototype_count("swav", None, 256, 50_000) == 256
    assert prototype_count("swav", None, 256, 100) == 25
    assert prototype_count("swav", 100, 256, 100) == 100
    message = (
        r"Method 'swav' needs 2 to 100 prototypes, as many as there are training images at most, found 101\. Lower"
    )
    with pytest.raises(UserError, match=message):
        prototype_count("swav", 101, 256, 100)
    with pytest.raises(UserError, match=r"found 1\."):
        prototype_count("swav", 1, 256, 100)


def test_entropies_tell_each_collapse() -> None:
    even, single, sound = torch.full((8, 4), 0.25), torch.eye(4)[[0] * 8], torch.eye(4)[[0, 1, 2, 3] * 2]
    halves = torch.tensor([0.5, 0.5, 0, 0]).expand(8, 4)
    result = [entropies(p) for p in (even, single, halves, sound)]
    assert [value for pair in result for value in pair] == pytest.approx([1, 1, 0, 0, 0.5, 0.5, 0, 1])
    symptoms = [
        uniform_predictions(row) + same_for_all(row, mean) + dominant_prototype(row, mean) for row, mean in result
    ]
    assert [len(lines) for lines in symptoms] == [1, 1, 1, 0]
    assert symptoms[0][0].startswith("predictions are uniform: their entropy is 1.000")
    assert symptoms[1][0].startswith("one prototype takes all images")
    assert symptoms[2][0].startswith("all images have nearly the same prototypes: the entropy of a row, 0.500, is that")


def test_pictures_show_the_images_nearest_to_a_prototype() -> None:
    images = torch.arange(5).view(5, 1, 1, 1).expand(5, 3, 2, 2) / 5
    scores = torch.tensor([[0.9, 0.0], [0.1, 0.1], [0.5, 0.4], [0.2, 0.7], [0.3, 0.2]])
    (picture,) = prototype_pictures(images, scores)
    assert (picture.images[:, :, 0, 0, 0] * 5).round().tolist() == [[0, 2, 4, 3], [3, 2, 4, 1]]
    assert picture.captions[0] == ("0.90", "0.50", "0.30", "0.20")
