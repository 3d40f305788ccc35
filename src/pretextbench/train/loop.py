"""The training loop of every method: same encoder, same budget, same seed streams; it survives kills.

Everything random in a step is drawn after seeding torch's global generator from (seed, step), and the order of the
images is a function of (seed, step): a checkpoint holds weights and optimizer states, and a resumed run ends with the
bytes of an uninterrupted one.
"""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.base.seed import Seed
from pretextbench.distributed import join, synchronised
from pretextbench.encoders import depth, weights
from pretextbench.errors import UserError
from pretextbench.method import Data, PretextMethod
from pretextbench.train import cuda_graphs, encoder_folder, optim
from pretextbench.train.batches import Batches, Order, seed_device, send_to_device
from pretextbench.train.budget import Budget, Job, budget, too_few
from pretextbench.train.checkpoint import Checkpoint
from pretextbench.train.history import History, Log
from pretextbench.train.work import Work

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FROZEN, CONTINUED = 0.1, 0.1  # with start weights: share of the steps, and of the encoder's learning rate


class Training:
    """One run of one method: built from a job, stepped by `run`, saved and restored whole."""

    def __init__(
        self, job: Job, facts: Data, fabric: "Fabric", labels: np.ndarray | None = None, key: str = ""
    ) -> None:
        self.job, self.fabric, self.seed, self.key = job, fabric, Seed(job.seed), key  # key: see Job.key
        self.labels = None if labels is None else torch.from_numpy(labels).to(fabric.device)  # of the training images
        self.budget: Budget = budget(job, facts.images)
        self.order = Order(facts.images, self.budget.batch, Seed(self.seed.key("data")))
        self.method = self._build(facts)
        self.players, self.parameters = self.method.players(), list(self.method.parameters())
        self.module, self.optimizers = self._set_up()
        self.augmenter = cuda_graphs.for_device(Augmenter(job.recipe, facts.image_size), fabric.device)
        self.step, self.seconds, self.monitored = 0, 0.0, False  # monitored: by k-NN on validation labels
        self.history: History = []
        self.work = Work()  # per image, where it is measured

    @property
    def steps(self) -> int:
        """Steps of the whole run; 0 for a method without players."""
        return self.budget.steps if self.players else 0

    @property
    def resting(self) -> int:
        """Steps at the start in which the encoder's weights rest, so that new heads do not spoil start weights."""
        freeze = self.job.pretrain.freeze
        return round((FROZEN if freeze is None and self.start else freeze or 0.0) * self.steps)

    @property
    def snapshots(self) -> list[int]:
        """The steps after which the encoder is kept, for the learning curve."""
        steps = {round(share * self.steps) for share in self.job.pretrain.snapshots}
        return sorted(steps - {0, self.steps})

    def _build(self, data: Data) -> PretextMethod[Any]:
        torch.manual_seed(self.seed.key("weights"))
        encoder = self.job.method.build_encoder(self.job.params, self.job.encoder, data)
        self.job.method.requires.check(self.job.plugin.name, data.image_size, encoder)
        self.start = weights.start(encoder, self.job.encoder, self.job.method.uses_weights)
        method = self.job.method(self.job.params, encoder, data).to(memory_format=torch.channels_last)
        synchronised(method, self.fabric.device)
        if self.job.pretrain.compile:
            encoder.stages = torch.compile(encoder.stages)  # type: ignore[method-assign]
        return method

    def _set_up(self) -> tuple[Any, list[Any]]:
        if not self.players:  # nothing to train: only the move to the device
            return self.fabric.to_device(self.method.requires_grad_(False)), []
        gpu = self.fabric.device.type == "cuda"
        exempt, share = optim.exempt(self.method), self.job.pretrain.encoder_rate or (CONTINUED if self.start else 1.0)
        decay = self.job.pretrain.layer_decay if self.start else None
        shares, constant = depth.shares(self.method.encoder, share, decay), optim.constant_rate(self.method)
        optimizers = [
            optim.build(player.parameters, player.optimizer, gpu, exempt, shares, constant) for player in self.players
        ]
        module, *wrapped = self.fabric.setup(self.method, *optimizers)
        return module, wrapped

    def advance(self, index: np.ndarray, pixels: Tensor) -> dict[str, Tensor]:
        """One step on uint8 images (B, H, W, 3): every player's turn. Returns detached scalars by name."""
        seed_device(self.seed.key("step", self.step, self.fabric.global_rank), self.fabric.device)
        progress, parts = self.step / self.steps, self.job.pretrain.accumulate
        chunks = list(zip(send_to_device(index, self.fabric.device).chunk(parts), pixels.chunk(parts), strict=True))
        batches = [(self.augmenter(as_float(chunk)), number, SimpleNamespace()) for number, chunk in chunks]
        values: dict[str, Tensor] = {}
        staged: dict[str, list[Tensor]] = {}
        for player, optimizer in zip(self.players, self.optimizers, strict=True):
            optim.schedule(optimizer, self.step, self.steps, player.optimizer)
            for parameter in self.parameters:  # of all players: a turn leaves gradients on the other
                parameter.grad = None
            for views, number, scratch in batches:
                total, named, rows = self.turn(views, number, progress, player.name, scratch)
                self.fabric.backward(total / parts)
                for key, value in rows.items():
                    staged.setdefault(key, []).append(value)
                name = "loss" if player is self.players[0] else f"loss_{player.name}"
                for key, value in {name: total, **named}.items():
                    values[key] = values.get(key, 0) + value.detach() / parts
            self._drop_gradients(progress)
            if self.job.pretrain.clip:
                self.fabric.clip_gradients(self.module, optimizer, max_norm=self.job.pretrain.clip)
            optimizer.step()
        with torch.no_grad():
            self.method.after_step(progress, join(staged))
        return values

    def _drop_gradients(self, progress: float) -> None:
        """Of the encoder while it rests, and of what the method lets stand still; an optimizer skips them."""
        still = optim.no_step(self.method, progress)
        if self.step < self.resting:
            still |= {id(parameter) for parameter in self.method.encoder.parameters()}
        for parameter in self.parameters if still else ():
            if id(parameter) in still:
                parameter.grad = None

    def turn(
        self, views: tuple[Tensor, ...], number: Tensor, progress: float, player: str, scratch: SimpleNamespace
    ) -> Any:
        """A player's loss on one part of the batch, its named parts, and the rows that it stages.

        Whether one image is too few depends on method, stem and image size, so the norm itself has to say it.

        Raises:
            UserError: a batch norm meets a single value per channel.
        """
        labels = None if self.labels is None else self.labels[number]
        try:
            return self.module(views, number, progress, player, labels, scratch)
        except (ValueError, RuntimeError) as error:  # the second when the encoder is compiled
            if "more than 1 value per channel" not in str(error):
                raise
            raise UserError(too_few(self.job, self.method.data.image_size, len(number))) from error

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "method": self.method.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.method.load_state_dict(state["method"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def share(self, step: int) -> np.ndarray:
        """The image numbers of this process in a step."""
        return self.order[step][self.fabric.global_rank :: self.fabric.world_size]


class Observer:
    """Observer of a training, called on rank 0. This base class does nothing.

    An observer must not change the training: the same bytes come out. Its time is not part of the training's seconds.
    """

    def begin(self, training: Training) -> None:
        """Called before the first step, or before the first step after the last checkpoint."""

    def step(self, training: Training) -> None:
        """Called after every step, so it must cost microseconds."""

    def row(self, training: Training, row: dict[str, float]) -> None:
        """Called when a row of the history is complete."""

    def end(self, training: Training, diagnosis: Any) -> None:
        """Called after the last step; `diagnosis` is the `pretrain.Diagnosis` of the trained method."""

    def fail(self, message: str) -> None:
        """Called when a `UserError` ends the training."""


def run(
    training: Training, data: Batches, checkpoint: Checkpoint, show: bool = True, observer: Observer | None = None
) -> None:
    """Train to the end of the budget, from the last checkpoint if there is one."""
    observer = observer or Observer()
    if (state := training.fabric.broadcast(checkpoint.load() if training.fabric.is_global_zero else None)) is not None:
        training.restore(state)
    observer.begin(training)
    training.module.train()
    every, due = training.job.pretrain.log_every, training.job.pretrain.checkpoint_seconds
    log, saved = Log(training), time.monotonic()
    kept = set(training.snapshots if training.fabric.is_global_zero else ())
    with tqdm(total=training.steps, initial=training.step, unit="step", disable=not show) as bar:
        for index, pixels in data.stream(_shares(training)):
            log.add(training.advance(index, pixels))
            training.step += 1
            bar.update()
            if training.step in kept:
                log.leave_out(lambda: checkpoint.keep(training.step, encoder_folder.as_bytes(training.method.encoder)))
            observer.step(training)
            last = training.step == training.steps
            if training.step % every and not last:
                continue
            row = log.flush()  # before a checkpoint: one of broken weights would resume into the same wall
            bar.set_postfix_str(f"loss {row['loss']:.4f}, {row['images_per_second']:.0f} images/s")
            if training.fabric.is_global_zero and not last and time.monotonic() - saved >= due:
                checkpoint.save(training.state())
                saved = time.monotonic()
            observer.row(training, row)
            log.go_on()


def _shares(training: Training) -> Iterator[np.ndarray]:
    for step in range(training.step, training.steps):
        yield training.share(step)
