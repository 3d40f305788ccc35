"""A tiny world in which a method can be tried: 64 small images, a narrow encoder, the project's own loop."""

import functools
from typing import Literal

import numpy as np
import torch

from pretextbench.augment import Augmenter, as_float
from pretextbench.budget import Job
from pretextbench.method import Batch, Data
from pretextbench.params import EncoderParams, MethodParams, Pretrain
from pretextbench.pretrain import start_fabric
from pretextbench.registry import Plugin
from pretextbench.testing.verdict import Method
from pretextbench.training import Training

IMAGES, SIZE, BATCH = 64, 32, 16  # images in all, pixels, images per step
ENCODER = EncoderParams(name="resnet10", width=8)


@functools.cache
def images(count: int = IMAGES, size: int = SIZE) -> np.ndarray:
    """Smooth coloured images with an up and a down, uint8 (count, size, size, 3): something to learn for everyone."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    phase, pitch = random.uniform(0, 6.28, (2, count, 1, 1, 3))
    waves = 0.5 + 0.3 * np.sin(6 * x[None, ..., None] * (1 + pitch / 6) + phase) * y[None, ..., None]
    scene: np.ndarray = ((waves + 0.2 * (1 - y[None, ..., None])).clip(0, 1) * 255).astype(np.uint8)
    return scene


def default_params(method: Method) -> MethodParams:
    """The method's own defaults."""
    return method.Params()


def build(
    method: Method,
    seed: int = 0,
    params: MethodParams | None = None,
    steps: int = 4,
    size: int = SIZE,
    accelerator: Literal["cpu", "gpu"] = "cpu",
) -> Training:
    """A tiny training of `method` in float32 on images of `size` pixels, at step 0."""
    params = params or default_params(method)
    recipe = method.recipe(params, size)
    torch.manual_seed(0)
    chunks = (as_float(torch.from_numpy(chunk)) for chunk in np.split(images(size=size), 4))
    facts = Data(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), IMAGES, method.derive(params, chunks, size))
    params = params.model_copy(update={"batch_size": BATCH})
    pretrain = Pretrain(images=steps * BATCH, batch_size=BATCH, precision="fp32", accelerator=accelerator)
    plugin = Plugin(getattr(method, "__name__", "method"), "under:test", "under-test", "0")
    job = Job(plugin, "0", method, params, ENCODER, pretrain, recipe, facts.derived, seed)
    return Training(job, facts, start_fabric(pretrain))


def advance(training: Training, steps: int) -> list[float]:
    """Take so many steps of the real loop on the tiny data set; returns the losses of the first player."""
    training.module.train()
    pixels, losses = images(size=training.method.data.image_size), []
    for _ in range(steps):
        index = training.share(training.step)
        values = training.advance(index, torch.from_numpy(pixels[index]).to(training.fabric.device))
        losses.append(float(values.get("loss", torch.tensor(0.0))))
        training.step += 1
    return losses


def batch(training: Training, count: int = BATCH, player: str = "main") -> Batch:
    """A batch of the tiny data set through the method's own recipe, the same at every call, on the CPU."""
    size = training.method.data.image_size
    torch.manual_seed(1)
    views = Augmenter(training.job.recipe, size)(as_float(torch.from_numpy(images(size=size)[:count])))
    return Batch(views, torch.arange(count), player=player)
