"""The one loop: every row of the contract's capability table runs through it, resumes exactly and fails in words."""

from functools import partial

import numpy as np
import pytest
import torch

from pretextbench import registry, testing
from pretextbench.augment.pipeline import as_float
from pretextbench.errors import UserError
from pretextbench.method import Data, Loss, Player
from pretextbench.params import Pretrain
from pretextbench.recipe import Recipe
from pretextbench.registry import Plugin
from pretextbench.testing.bench import ENCODER, advance, build, images
from pretextbench.train.batches import Batches
from pretextbench.train.budget import Job
from pretextbench.train.checkpoint import Checkpoint
from pretextbench.train.loop import Training, run
from pretextbench.train.pretrain import start_fabric
from tests.capabilities import ROWS, Base, MovingTwin, Queue, TwoPlayers


@pytest.mark.parametrize("method", ROWS, ids=lambda method: method.__name__)
@pytest.mark.parametrize("check", ["gradients_reach", "buffers_staged", "same_seed", "other_seed", "resumes"])
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
    expected, result = whole.method.state_dict(), resumed.method.state_dict()
    assert all(torch.equal(expected[key], result[key]) for key in expected)
    steady = [[{k: row[k] for k in ("step", "images", "lr", "loss")} for row in t.history] for t in (whole, resumed)]
    assert steady[0] == steady[1]
    assert [row["step"] for row in whole.history] == [3, 6, 9, 12]


class Diverges(Base):
    def loss(self, batch):
        total = super().loss(batch).total
        return Loss(total * float("nan") if batch.progress > 0.5 else total)


def test_a_loss_that_is_no_number_stops_with_method_step_and_images(tmp_path):
    with pytest.raises(
        UserError, match=r"'Diverges' diverged: loss is nan at step 7 of 12.*Images of that batch: \[\d+"
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


class Counts(Base):
    """Stages the numbers of its images, and keeps the scratch of every turn."""

    def __init__(self, params, encoder, data):
        super().__init__(params, encoder, data)
        self.register_buffer("seen", torch.zeros(16, dtype=torch.int64))
        self.steps, self.scratches = 0, []

    def players(self):
        own = (tuple(self.encoder.parameters()), tuple(self.head.parameters()))
        return tuple(Player(name, part, self.params.optimizer) for name, part in zip("ab", own, strict=True))

    def loss(self, batch):
        batch.scratch.turns = [*getattr(batch.scratch, "turns", []), (batch.player, len(batch.index))]
        self.scratches.append(batch.scratch)
        return Loss(super().loss(batch).total, staged={"index": batch.index} if batch.player == "a" else {})

    def after_step(self, progress, staged):
        self.seen, self.steps = staged["index"], self.steps + 1


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_what_the_loss_stages_is_applied_once_a_step_in_the_order_of_the_images(parts):
    training = build(Counts)
    object.__setattr__(training.job, "pretrain", training.job.pretrain.model_copy(update={"accumulate": parts}))
    index = training.share(0)
    training.advance(index, torch.from_numpy(images()[index]))
    assert training.method.steps == 1
    assert training.method.seen.tolist() == index.tolist()


def test_the_players_of_a_step_share_a_scratch_for_each_part_of_the_batch():
    training = build(Counts)
    object.__setattr__(training.job, "pretrain", training.job.pretrain.model_copy(update={"accumulate": 2}))
    advance(training, 2)
    first, second = training.method.scratches[:4], training.method.scratches[4:]
    assert [scratch.turns for scratch in first] == [[("a", 8), ("b", 8)]] * 4
    assert first[0] is first[2] is not first[1] is first[3]
    assert not {id(scratch) for scratch in first} & {id(scratch) for scratch in second}


def test_clipping_bounds_the_gradient():
    training = build(Base)
    pretrain = training.job.pretrain.model_copy(update={"clip": 1e-3})
    object.__setattr__(training.job, "pretrain", pretrain)
    advance(training, 1)
    norm = torch.stack([p.grad.norm() for p in training.method.parameters()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-2)


# --- a norm that meets a single value per channel ---------------------------------------------------------------------


def first_step(method, size=8, **settings):
    """The first step of a method on images of 8 px, where the encoder's last map is 1 x 1, and its loss."""
    pixels, labels = images(8, size), np.arange(8) % 2
    params, loop = method.Params(), Pretrain(images=8, precision="fp32", accelerator="cpu", **settings)
    derived = method.derive(params, iter([as_float(torch.from_numpy(pixels))]), size)
    facts = Data(size, (0.5,) * 3, (0.25,) * 3, 8, derived, classes=2 if method.uses_labels else 0)
    plugin, recipe = Plugin("ours", "ours:Ours", "ours", "0"), method.recipe(params, size)
    job = Job(plugin, "0", method, params, ENCODER, loop, recipe, derived, seed=0)
    training = Training(job, facts, start_fabric(loop), labels if method.uses_labels else None)
    training.module.train()
    index = training.share(0)
    return float(training.advance(index, torch.from_numpy(pixels[index]))["loss"])


SINGLE = ["colorization", "context-encoder", "denoising", "supervised"]  # one view of each image, norms on its last map


@pytest.mark.parametrize("name", SINGLE)
def test_a_norm_of_one_value_is_refused(name):
    with pytest.raises(UserError, match=r"'ours' cannot train on 1 image\(s\) at a time: at 8 px .* to at least 2\.$"):
        first_step(registry.load(name), batch_size=1)
    with pytest.raises(UserError, match=r"a batch of 4 in 4 part\(s\)\. .* at least 8, or lower pretrain\.accumulate"):
        first_step(registry.load(name), batch_size=4, accumulate=4)


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("settings", [{"batch_size": 2}, {"batch_size": 1, "size": 16}])
def test_two_images_or_a_larger_map_are_enough(name, settings):
    assert np.isfinite(first_step(registry.load(name), **settings))


@pytest.mark.parametrize("name", ["rotation", "simclr"])
def test_a_method_that_sees_an_image_more_than_once_needs_no_second(name):
    assert np.isfinite(first_step(registry.load(name), batch_size=1))


def test_a_compiled_encoder_is_refused_in_the_same_words(monkeypatch):
    """torch wraps the norm's error into one of its own."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with pytest.raises(UserError, match="cannot train on 1 image"):
        first_step(registry.load("denoising"), batch_size=1, compile=True)


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_other_errors_of_a_method_are_left_as_they_are(kind):
    class Fails(Base):
        def loss(self, batch):
            raise kind("something else")

    with pytest.raises(kind, match=r"^something else$"):
        first_step(Fails, batch_size=1)


def test_each_process_draws_its_own_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same images in the same step: by rank 0, by rank 1, and by rank 0 again."""
    losses = []
    for rank in (0, 1, 0):
        training = build(registry.load("simclr"))
        index = training.share(0)
        monkeypatch.setattr(type(training.fabric), "global_rank", property(lambda _, rank=rank: rank))
        losses.append(float(training.advance(index, torch.from_numpy(images()[index]))["loss"]))
        monkeypatch.undo()
    assert losses[0] == losses[2] != losses[1]
