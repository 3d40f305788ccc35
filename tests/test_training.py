"""The one loop: every row of the contract's capability table runs through it, resumes exactly and fails in words."""

import numpy as np
import pytest
import torch

from pretextbench import testing
from pretextbench.checkpoint import Checkpoint
from pretextbench.data.batches import Batches
from pretextbench.errors import UserError
from pretextbench.method import Loss
from pretextbench.recipe import Recipe
from pretextbench.testing.bench import advance, build, images
from pretextbench.training import run
from tests.capabilities import ROWS, Base, MovingTwin, Queue, TwoPlayers


@pytest.mark.parametrize("method", ROWS, ids=lambda method: method.__name__)
@pytest.mark.parametrize("check", ["gradients_reach", "seeded", "resumes"])
def test_every_row_of_the_capability_table_runs_in_the_one_loop(method, check):
    testing.CHECKS[check](method)


def test_players_move_only_what_they_own():
    training = build(TwoPlayers)
    weights = {name: p.clone() for name, p in training.method.named_parameters()}
    advance(training, 1)
    moved = {name for name, p in training.method.named_parameters() if not torch.equal(p, weights[name])}
    assert {"judge.weight", "head.weight", "encoder.conv1.weight"} <= moved
    judge = next(player for player in training.players if player.name == "judge")
    assert [group["lr"] for group in training.optimizers[0].param_groups] == [judge.optimizer.lr] * 2  # warm-up: 1 step


def test_the_twin_follows_and_is_not_trained():
    training = build(MovingTwin)
    before = training.method.twin.conv1.weight.clone()
    advance(training, 1)
    fast = training.method.encoder.conv1.weight
    torch.testing.assert_close(training.method.twin.conv1.weight, before.lerp(fast, 0.1))


def whole_run(method, folder, stop=None, every=1):
    """Run to the end, or stop after some steps by an exception between two of them."""
    training = build(method, steps=12)
    pretrain = training.job.pretrain.model_copy(update={"checkpoint_seconds": 0.0, "log_every": every})
    object.__setattr__(training.job, "pretrain", pretrain)
    real, taken = training.advance, []

    def advance_or_stop(index, pixels):
        if stop is not None and len(taken) == stop:
            raise KeyboardInterrupt
        taken.append(index)
        return real(index, pixels)

    training.advance = advance_or_stop
    run(training, Batches(images(), torch.device("cpu"), "never"), Checkpoint(folder), show=False)
    return training


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_an_interrupted_run_ends_with_the_same_bytes_and_the_same_history(tmp_path, stop):
    whole = whole_run(Queue, tmp_path / "whole", every=3)
    with pytest.raises(KeyboardInterrupt):
        whole_run(Queue, tmp_path / "cut", stop=stop, every=3)
    resumed = whole_run(Queue, tmp_path / "cut", every=3)
    expected, found = whole.method.state_dict(), resumed.method.state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    steady = [[{k: row[k] for k in ("step", "images", "lr", "loss")} for row in t.history] for t in (whole, resumed)]
    assert steady[0] == steady[1]
    assert [row["step"] for row in whole.history] == [3, 6, 9, 12]


class Diverges(Base):
    def loss(self, batch):
        total = super().loss(batch).total
        return Loss(total * float("nan") if batch.progress > 0.5 else total)


def test_a_loss_that_is_no_number_stops_with_method_step_and_images(tmp_path):
    with pytest.raises(
        UserError, match=r"'Diverges' diverged: loss is nan at step 7 of 12.*images of that batch: \[\d+"
    ) as e:
        whole_run(Diverges, tmp_path / "run", every=4)
    named = np.array(eval(str(e.value).rsplit("batch: ", 1)[1].rstrip(".")))
    assert (named == build(Diverges, steps=12).share(7)).all()
    state = Checkpoint(tmp_path / "run").load()
    assert state is not None
    assert state["step"] == 4  # the last one whose weights were sound


def test_parts_of_a_batch_add_up_to_the_whole_for_a_loss_that_is_a_mean():
    class Mean(Base):
        @classmethod
        def recipe(cls, params, image_size):
            return Recipe()

        def loss(self, batch):
            return Loss((self.z(batch.views[0]) - 1).square().mean())

    gradients = []
    for parts in (1, 2):
        training = build(Mean)
        training.method.eval()  # batch norm would see other batches
        pretrain = training.job.pretrain.model_copy(update={"accumulate": parts})
        object.__setattr__(training.job, "pretrain", pretrain)
        index = training.share(0)
        training.advance(index, torch.from_numpy(images()[index]))
        gradients.append(training.method.head.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_clipping_bounds_the_gradient():
    training = build(Base)
    pretrain = training.job.pretrain.model_copy(update={"clip": 1e-3})
    object.__setattr__(training.job, "pretrain", pretrain)
    advance(training, 1)
    norm = torch.stack([p.grad.norm() for p in training.method.parameters()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-2)
