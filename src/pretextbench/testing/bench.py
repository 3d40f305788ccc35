"""Shared parts of the checks: a method built at small size, and the form of a check and of its verdict."""

import functools
import time
import traceback
import unittest
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from pretextbench.augment.pipeline import Augmenter, as_float
from pretextbench.encoder import TokenEncoder
from pretextbench.errors import UserError
from pretextbench.method import Batch, Data, PretextMethod
from pretextbench.params import EncoderParams, MethodParams, Pretrain
from pretextbench.registry import Plugin
from pretextbench.train.budget import Job
from pretextbench.train.loop import Training
from pretextbench.train.pretrain import start_fabric

Method = type[PretextMethod[Any]]
Check = Callable[[Method], None]
KIT = Path(__file__).parent


class CheckFailed(UserError):
    """A method broke the contract; `found` is the finding and `hint` the remedy."""

    def __init__(self, found: str, hint: str) -> None:
        super().__init__(f"{found}. {hint}.")
        self.found, self.hint = found, hint


class CheckSkipped(unittest.SkipTest):
    """A check cannot be made here, and why; pytest reports it as a skipped test."""


def require(condition: bool, found: str, hint: str) -> None:
    """Raise CheckFailed unless the condition holds; neither text ends with a full stop."""
    if not condition:
        raise CheckFailed(found, hint)


@dataclass(frozen=True)
class Verdict:
    """One check of one method."""

    check: str
    meaning: str  # the rule, in one sentence
    state: Literal["ok", "failed", "skipped"]
    seconds: float
    found: str = ""  # what is wrong, or why the check was skipped
    hint: str = ""  # what to do, of a failure


def meaning(check: Check) -> str:
    """The rule that a check stands for: the first paragraph of its docstring."""
    return " ".join((check.__doc__ or "").strip().split("\n\n")[0].split())


def judge(method: Method, checks: Mapping[str, Check]) -> Iterator[Verdict]:
    """Run all checks in order, also after a failure; yields each verdict at once."""
    for name, check in checks.items():
        started = time.perf_counter()
        state, result, hint = _outcome(check, method)
        yield Verdict(name, meaning(check), state, round(time.perf_counter() - started, 3), result, hint)


def _outcome(check: Check, method: Method) -> tuple[Literal["ok", "failed", "skipped"], str, str]:
    try:
        check(method)
    except CheckFailed as error:
        return "failed", error.found, error.hint
    except CheckSkipped as reason:
        return "skipped", str(reason), ""
    except Exception as error:  # whatever a method raises is that method's fault, and the other checks go on
        return "failed", f"{type(error).__name__}: {error}"[:500], _where(error)
    return "ok", "", ""


def _where(error: Exception) -> str:
    """The line to look at: the last one that is neither the kit's nor a library's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    own = [frame for frame in frames if not Path(frame.filename).is_relative_to(KIT.parent)]
    if not own:
        return "Run the method's own tests for the traceback"
    return f"Look at {Path(own[-1].filename).name}, line {own[-1].lineno}: {own[-1].line}"


IMAGES, SIZE, BATCH = 64, 32, 16  # images in all, pixels, images per step
ENCODER = EncoderParams(name="resnet10", width=8)
TOKENS = EncoderParams(name="vit-tiny", depth=2)  # for methods that need tokens


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
    encoder: EncoderParams | None = None,
) -> Training:
    """A tiny training of `method` in float32 on images of `size` pixels, at step 0.

    `encoder`: None is a small residual network, or a small vision transformer for a method that needs tokens.
    """
    params = params or default_params(method)
    recipe = method.recipe(params, size)
    torch.manual_seed(0)
    chunks = (as_float(torch.from_numpy(chunk)) for chunk in np.split(images(size=size), 4))
    facts = Data(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), IMAGES, method.derive(params, chunks, size))
    params = params.model_copy(update={"batch_size": BATCH})
    pretrain = Pretrain(images=steps * BATCH, batch_size=BATCH, precision="fp32", accelerator=accelerator)
    plugin = Plugin(getattr(method, "__name__", "method"), "under:test", "under-test", "0")
    encoder = encoder or (TOKENS if issubclass(method.requires.encoder, TokenEncoder) else ENCODER)
    job = Job(plugin, "0", method, params, encoder, pretrain, recipe, facts.derived, seed)
    return Training(job, facts, _devices(accelerator))


@functools.cache
def _devices(accelerator: Literal["cpu", "gpu"]) -> Any:  # a Fabric, whose home is train/
    """The devices of all trainings of this process: at each start Fabric asks every distribution for plugins, 0.1 s."""
    return start_fabric(Pretrain(precision="fp32", accelerator=accelerator))


def advance(training: Training, steps: int) -> list[float]:
    """Take steps of the real loop on the tiny data set; returns the losses of the first player."""
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
