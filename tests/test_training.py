"""The one loop: every row of the contract's capability table runs through it, resumes exactly and fails in words."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pretextbench import testing
from pretextbench.checkpoint import Checkpoint
from pretextbench.data.batches import Batches
from pretextbench.encoder import Encoder
from pretextbench.errors import UserError
from pretextbench.method import Loss, Player, PretextMethod
from pretextbench.params import OptimizerParams
from pretextbench.recipe import HorizontalFlip, RandomResizedCrop, Recipe, View, augmented
from pretextbench.testing.bench import advance, build, images
from pretextbench.training import run


class Base(PretextMethod):
    """Two views should give the same vector, through a head: enough for each row to hang on."""

    api_version = 1
    reference = "none: made for these tests"

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.head = nn.Linear(encoder.dim, 8)

    @classmethod
    def recipe(cls, params, image_size):
        return augmented(RandomResizedCrop(), HorizontalFlip(), draws=2)

    def z(self, x):
        return self.head(self.encoder(x)).float()

    def loss(self, batch):
        a, b = (self.z(view) for view in batch.views[:2])
        return Loss((a - b).square().mean() + (1 - a.std(0)).relu().mean())


class MultiCrop(Base):
    """Two large views and four small ones."""

    @classmethod
    def recipe(cls, params, image_size):
        crop = RandomResizedCrop
        small = View(ops=(crop(scale=(0.05, 0.3)),), size=16, draws=4)
        return Recipe(views=(View(ops=(crop(scale=(0.3, 1.0)),), draws=2), small))

    def loss(self, batch):
        sizes = [view.shape[-1] for view in batch.views]
        assert sizes == [32, 32, 16, 16, 16, 16]
        z = torch.stack([self.z(view) for view in batch.views])
        return Loss((z - z[:2].mean(0).detach()).square().mean())


class MovingTwin(Base):
    """A twin without gradients that follows the encoder (MoCo, BYOL, DINO)."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.twin = copy.deepcopy(encoder).requires_grad_(False)

    def loss(self, batch):
        with torch.no_grad():
            target = self.twin(batch.views[1])
        return Loss((self.encoder(batch.views[0]) - target).float().square().mean() + 0 * self.z(batch.views[0]).sum())

    def after_step(self, progress):
        for slow, fast in zip(self.twin.parameters(), self.encoder.parameters(), strict=True):
            slow.lerp_(fast, 0.1)


class Queue(Base):
    """A queue of past vectors (MoCo, SwAV): a buffer, hence in the checkpoint."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.register_buffer("queue", torch.randn(32, 8))

    def loss(self, batch):
        z = self.z(batch.views[0])
        total = (z @ self.queue.T).square().mean()
        self.queue = torch.cat([self.queue[len(z) :], z.detach()])
        return Loss(total)


class TwoPlayers(Base):
    """A player that judges and one that is judged, alternating, each with its own optimizer (context encoder)."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.judge = nn.Linear(8, 1)

    def players(self):
        mine = (*self.encoder.parameters(), *self.head.parameters())
        slow = OptimizerParams(name="sgd", lr=1e-3, momentum=0.0)
        return (
            Player("judge", tuple(self.judge.parameters()), slow),
            Player("main", mine, self.params.optimizer),
        )

    def loss(self, batch):
        z = self.z(batch.views[0])
        if batch.player == "judge":
            return Loss(self.judge(z.detach()).square().mean())
        return Loss(self.judge(z).square().mean() + z.square().mean())


class SeesMaps(Base):
    """A decoder on feature maps (denoising, context encoder, colorization)."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.decoder = nn.Conv2d(encoder.channels["layer2"], 3, 1)

    def loss(self, batch):
        maps = self.encoder.stages(batch.views[0])
        small = torch.nn.functional.avg_pool2d(batch.views[0], 2)
        rest = 0 * self.head(maps["layer4"].mean((2, 3))).sum()
        return Loss((self.decoder(maps["layer2"]).float() - small).square().mean() + rest.float())


class FlatEncoder(Encoder):
    """Not a residual network at all."""

    def __init__(self, mean, std):
        super().__init__(mean, std)
        self.dim, self.channels = 5, {"only": 5}
        self.layer = nn.Conv2d(3, 5, 3)

    def stages(self, x):
        return {"only": self.layer(self.normalise(x))}


class OwnBackbone(Base):
    """A method with its own backbone (MAE)."""

    @classmethod
    def build_encoder(cls, params, encoder, data):
        return FlatEncoder(data.mean, data.std)


class MeasuresFirst(Base):
    """Statistics of the data set before training (colorization)."""

    @classmethod
    def derive(cls, params, images, image_size):
        return {"mean": torch.cat(list(images)).mean((0, 2, 3))}

    def loss(self, batch):
        assert self.data.derived["mean"].shape == (3,)
        return super().loss(batch)


ROWS = [Base, MultiCrop, MovingTwin, Queue, TwoPlayers, SeesMaps, OwnBackbone, MeasuresFirst]


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
