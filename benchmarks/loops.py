"""The project's own training loop and its lower bounds, on random images, for the rows that time training."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from pretextbench import registry
from pretextbench.augment.pipeline import as_float
from pretextbench.method import Data
from pretextbench.params import EncoderParams, Params, Pretrain
from pretextbench.project.inventory import own_parameters
from pretextbench.train import optim
from pretextbench.train.batches import Batches
from pretextbench.train.budget import Job
from pretextbench.train.history import Log
from pretextbench.train.loop import Training
from pretextbench.train.pretrain import start_fabric

IMAGES = 2000
PARTS = ("data", "augmentation", "forward and targets", "backward", "optimizer", "logging")


@dataclass(frozen=True)
class Case:
    """The training that is timed: `simclr` on `resnet18` of width 64, images of 32 px, 128 per step."""

    method: str
    encoder: str = "resnet10"
    width: int = 16
    size: int = 32  # pixels
    batch: int = 128
    precision: str = "auto"
    compile: bool = False

    @property
    def network(self) -> EncoderParams:
        """The encoder; a transformer has no width of its own."""
        width = {} if self.encoder.startswith("vit") else {"width": self.width}
        return EncoderParams.model_validate({"name": self.encoder, **width})

    def __str__(self) -> str:
        more = ("" if self.precision == "auto" else f", {self.precision}") + (", compiled" if self.compile else "")
        width = "" if self.encoder.startswith("vit") else f" x{self.width}"
        return f"{self.method}, {self.encoder}{width}, {self.size} px, batch {self.batch}{more}"


def pixels(case: Case, count: int = IMAGES) -> np.ndarray:
    """Random images, uint8 (count, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, case.size, case.size, 3), dtype=np.uint8)


def training(case: Case, images: np.ndarray) -> Training:
    """The project's own loop for a method, at step 0."""
    plugin, method = registry.find(case.method), registry.load(case.method)
    budget = {"images": 1000 * case.batch, "batch_size": case.batch}
    pretrain = Pretrain.model_validate(budget | {"precision": case.precision, "compile": case.compile})
    chunks = iter([torch.from_numpy(images[:256]).permute(0, 3, 1, 2).float() / 255])
    params = own_parameters(case.method, method, Params(encoder=case.network))
    derived = method.derive(params, chunks, case.size)
    data = Data(case.size, (0.5,) * 3, (0.25,) * 3, len(images), derived)
    recipe = method.recipe(params, case.size)
    job = Job(plugin, "", method, params, case.network, pretrain, recipe, derived, 0)
    return Training(job, data, start_fabric(pretrain))


def looped(run: Training, data: Batches, steps: int) -> Callable[[], None]:
    """Steps as `pretrain` takes them: fetch, augment, every player's turn, a row of the history at the end."""

    def work() -> None:
        log = Log(run)
        for index, batch in data.stream(iter([run.share(run.step + i) for i in range(steps)])):
            log.add(run.advance(index, batch))
            run.step += 1
        log.flush()

    return work


def networks(run: Training, batch: int, steps: int) -> Callable[[], None]:
    """Bare steps of all of the method's networks on random views: every player's forward, backward and step."""
    size = run.method.data.image_size
    views = tuple(torch.rand_like(view) for view in run.augmenter(torch.rand(batch, 3, size, size, device=device(run))))
    index = torch.arange(batch, device=device(run))
    on_gpu = device(run).type == "cuda"
    optimizers = [optim.build(player.parameters, player.optimizer, on_gpu) for player in run.players]

    def work() -> None:
        for _ in range(steps):
            for player, optimizer in zip(run.players, optimizers, strict=True):
                with run.fabric.autocast():
                    total, *_ = run.method(views, index, 0.5, player.name, None, SimpleNamespace())
                run.method.zero_grad(set_to_none=True)
                total.backward()
                optimizer.step()

    return work


def augmentation(run: Training, data: Batches, steps: int) -> Callable[[], None]:
    """The views of so many steps, and nothing else."""
    batch = data.take(run.share(0))

    def work() -> None:
        for _ in range(steps):
            run.augmenter(as_float(batch))

    return work


def encoder_alone(run: Training, images: int, steps: int) -> Callable[[], None]:
    """Bare steps of the same encoder on random tensors, for as many images as the method passes through it."""
    encoder, size = run.method.encoder, run.method.data.image_size
    x = torch.rand(images, 3, size, size, device=device(run)).to(memory_format=torch.channels_last)
    optimizer = optim.build(encoder.parameters(), run.job.params.optimizer, device(run).type == "cuda")

    def work() -> None:
        for _ in range(steps):
            with run.fabric.autocast():
                out = encoder(x)
            optimizer.zero_grad(set_to_none=True)
            out.float().square().mean().backward()
            optimizer.step()

    return work


def passed(run: Training) -> int:
    """Images that go through the encoder in one step."""
    seen: list[int] = []
    hook = run.method.encoder.conv1.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    size = run.method.data.image_size
    run.advance(run.share(0), torch.zeros(run.budget.batch, size, size, 3, dtype=torch.uint8, device=device(run)))
    hook.remove()
    return sum(seen)


def device(run: Training) -> torch.device:
    """The device of the training."""
    return run.fabric.device


def shares(run: Training, data: Batches, steps: int) -> dict[str, float]:
    """Seconds of so many steps by what they go to: data, augmentation, forward (targets), backward, optimizer, logging.

    The same work as `Training.advance` for one part per batch, with a clock between; a GPU is waited for at each.
    """
    spent = dict.fromkeys(PARTS, 0.0)
    clock, log = [time.perf_counter()], Log(run)

    def tick(name: str) -> None:
        if device(run).type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        spent[name] += now - clock[0]
        clock[0] = now

    for index, batch in data.stream(iter([run.share(i) for i in range(steps)])):
        tick("data")
        views, numbers = run.augmenter(as_float(batch)), torch.from_numpy(index).to(device(run))
        tick("augmentation")
        for player, optimizer in zip(run.players, run.optimizers, strict=True):
            values = {"loss": _turn(run, views, numbers, player.name, optimizer, tick)}
        log.add(values)
        tick("logging")
    log.flush()
    tick("logging")
    return spent


def _turn(
    run: Training,
    views: tuple[Tensor, ...],
    numbers: Tensor,
    player: str,
    optimizer: torch.optim.Optimizer,
    tick: Callable[[str], None],
) -> Tensor:
    run.method.zero_grad(set_to_none=True)
    total, *_ = run.module(views, numbers, 0.5, player, None, SimpleNamespace())
    tick("forward and targets")
    run.fabric.backward(total)
    tick("backward")
    optimizer.step()
    tick("optimizer")
    return total.detach()
