"""Checks of a method on other machines: in half precision, on an accelerator, in two processes that share a batch."""

import contextlib
import functools
import importlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from pretextbench.base.child import Child, start
from pretextbench.distributed import synchronised
from pretextbench.method import Batch
from pretextbench.testing.bench import BATCH, CheckFailed, CheckSkipped, Method, advance, batch, build, require
from pretextbench.train.loop import Training

PATIENCE = 120  # seconds until two processes that wait for each other are given up
LOSS_GAP, GRADIENT_GAP = 1e-4, 1e-3  # of the value and of the norm; a gather without gradients is off by 1e-2
IN_FLOAT64 = 1e-5  # of both: a loss that is computed in float32, as the kit advises, is off by 1e-6


def half_precision(method: Method) -> None:
    """Under bf16 autocast the loss stays within 5 % (and 0.05) of float32."""
    losses = []
    for enabled in (False, True):
        training = build(method)
        views = batch(training)
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(float(training.method.loss(views).total.detach()) if training.players else 0.0)
    plain, half = losses
    hint = "Compute losses in float32: .float() on the network's outputs, autocast off around exp and log"
    require(abs(plain - half) <= 0.05 * abs(plain) + 0.05, f"float32 gives {plain:.4f}, bf16 autocast {half:.4f}", hint)


def accelerator(method: Method) -> None:
    """Two steps on a GPU give finite losses; without a GPU, nothing of the loss stays on the CPU of a simulated one."""
    if torch.cuda.is_available():
        losses = advance(build(method, accelerator="gpu"), 2)
        require(all(torch.tensor(losses).isfinite()), f"on the GPU the losses are {losses}", "Compare with the CPU")
        return
    training = build(method)
    for player in training.players:
        _simulate(training, batch(training, player=player.name))
    raise CheckSkipped("no GPU here; with a simulated one nothing was left on the CPU")


def _simulate(training: Training, views: Batch) -> None:
    """The loss with weights and views that claim to lie on a GPU: shapes and devices are followed, values are not."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        named = [*training.method.named_parameters(), *training.method.named_buffers()]
        state = {name: mode.from_tensor(tensor).to("cuda") for name, tensor in named}
        views_on_gpu = tuple(mode.from_tensor(view).to("cuda") for view in views.views)
        index = mode.from_tensor(views.index).to("cuda")
        try:
            functional_call(training.method, state, (views_on_gpu, index, 0.0, views.player, None, views.scratch))
        except RuntimeError as error:
            if "device" not in str(error).lower():
                raise CheckSkipped(f"no GPU here, and a simulated one cannot follow this loss ({error})") from error
            hint = "Give device=x.device where a tensor is made, and register constants as buffers"
            raise CheckFailed(f"tensors of two devices meet in the loss: {error}", hint) from error


def two_processes(method: Method) -> None:
    """If the loss communicates, two processes with half a batch each give the loss and gradients of one with all of it.

    A loss that never asks whether there are other processes cannot communicate: nothing is started for it.
    """
    training = build(method)
    if not any(_communicates(training, batch(training, player=p.name)) for p in training.players):
        return
    precision, gaps = gaps_of_two_processes(method)
    for name, gap in gaps.items():
        limit = IN_FLOAT64 if precision == "float64" else LOSS_GAP if name.endswith("loss") else GRADIENT_GAP
        hint = "Use pretextbench.distributed.gather and mean, which carry gradients, and average over all images"
        require(gap <= limit, f"two processes differ from one in {name} by {gap:.1e}", hint)


def gaps_of_two_processes(method: Method) -> tuple[str, dict[str, float]]:
    """The precision, and how far two processes are from one in loss and gradient of every player, relative to them.

    Raises:
        CheckSkipped: the loss draws random numbers, or another process cannot import the method.
        CheckFailed: a process failed, or they wait for each other.
    """
    precision, alone = _turns_in_one_process(method)
    again = turns(method, slice(None), precision, seed=3)
    if any(not torch.equal(value, alone[name]) for name, value in again.items()):
        raise CheckSkipped("loss() draws random numbers, and every process draws its own: compare without them")
    averages = _run(_path(method), precision)
    return precision, {
        name: float((averages[name] - value).norm() / value.norm().clamp_min(1e-12)) for name, value in alone.items()
    }


def _turns_in_one_process(method: Method) -> tuple[str, dict[str, torch.Tensor]]:
    """The precision that a method computes in, float64 if it can, and its turns in one process."""
    try:
        return "float64", turns(method, slice(None), "float64")
    except RuntimeError:  # constants of its own are float32
        return "float32", turns(method, slice(None), "float32")


def _communicates(training: Training, views: Batch) -> bool:
    """Whether the loss asks if there are other processes, as everything does that talks to them."""
    with mock.patch.object(dist, "is_initialized", return_value=False) as query:
        training.method.loss(views)
    return query.called


def _path(method: Method) -> str:
    """`module:Class`, for another process to import."""
    module = sys.modules.get(method.__module__)
    if "<" in method.__qualname__ or method.__module__ == "__main__" or not hasattr(module, method.__name__):
        raise CheckSkipped("another process cannot import this class: put it at the top of a module")
    return f"{method.__module__}:{method.__qualname__}"


def _run(path: str, precision: str) -> dict[str, torch.Tensor]:
    """Let both processes take the turns of a method, and average what they found.

    Raises:
        CheckFailed: one failed, or they wait for each other. Both are ended then, and the next method gets new ones.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as faulty:
        faulty.callback(_end)
        pipes = [child.pipe for child in _processes()]
        for pipe in pipes:
            pipe.send((path, f"{folder}/meeting", precision, sys.path))
        first, second = _answers(pipes)
        faulty.pop_all()
    return {name: torch.as_tensor((value + second[name]) / 2) for name, value in first.items()}


@functools.cache
def _processes() -> tuple[Child, Child]:
    return start(serve, 0), start(serve, 1)


def _end() -> None:
    for child in _processes():
        child.end()
    _processes.cache_clear()


def _answers(pipes: Sequence[Connection]) -> list[dict[str, NDArray[Any]]]:
    """The results of the processes, in order of rank.

    Raises:
        CheckFailed: one failed, or they are not done in time.
    """
    end = time.monotonic() + PATIENCE
    answers: dict[Connection, dict[str, NDArray[Any]]] = {}
    while len(answers) < len(pipes):
        ready = wait([pipe for pipe in pipes if pipe not in answers], max(0.0, end - time.monotonic()))
        if not ready:
            hint = "Every process must call gather and mean equally often, in the same order"
            raise CheckFailed(f"two processes were not done after {PATIENCE} s", hint)
        answers |= {pipe: _answer(pipe) for pipe in pipes if pipe in ready}
    return [answers[pipe] for pipe in pipes]


def _answer(pipe: Connection) -> dict[str, NDArray[Any]]:
    try:
        answer: str | dict[str, NDArray[Any]] = pipe.recv()
    except EOFError:
        answer = "it ended without a word"
    if isinstance(answer, str):
        hint = "A method sees half of the batch in each process, and must not count on all of it"
        raise CheckFailed(f"one of two processes failed: {answer}", hint)
    return answer


MESSAGE_TIMEOUT = timedelta(seconds=60)  # for one message


def turns(method: Method, own: slice, precision: str, seed: int = 2) -> dict[str, Tensor]:
    """Loss and gradient (P,) of every player on its own part of the kit's batch, all norms over all processes.

    `precision`: `float64` or `float32`. In float32 the norms of two processes round otherwise than those of one, and
    activations near zero change sign: gradients of some methods then differ by 1e-2.
    """
    training, results, dtype = build(method), dict[str, Tensor](), getattr(torch, precision)
    synchronised(training.method.to(dtype), torch.device("cpu"))
    for player in training.players:
        whole = batch(training, player=player.name)
        part = Batch(tuple(view[own].to(dtype) for view in whole.views), whole.index[own], player=player.name)
        torch.manual_seed(seed)
        training.method.zero_grad(set_to_none=True)
        total = training.method.loss(part).total
        total.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in player.parameters]
        results[f"{player.name}.loss"] = total.detach()
        results[f"{player.name}.gradient"] = torch.cat([gradient.flatten() for gradient in gradients])
    return results


def serve(pipe: Connection, rank: int) -> None:
    """Answer requests of the kit, one method after the other, as process `rank` of two: to start one takes seconds."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    while True:
        path, meeting, precision, sys.path[:] = pipe.recv()
        try:
            pipe.send(_meet(path, meeting, precision, rank))
        except Exception as error:  # the method's, whatever it is
            pipe.send(f"{type(error).__name__}: {error}")


def _meet(path: str, meeting: str, precision: str, rank: int) -> dict[str, NDArray[Any]]:
    """Meet the other process and take the turns on this one's half of the batch."""
    module, name = path.split(":")
    method = getattr(importlib.import_module(module), name)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=MESSAGE_TIMEOUT)
    half = BATCH // 2
    try:
        return {
            key: value.numpy() for key, value in turns(method, slice(rank * half, (rank + 1) * half), precision).items()
        }
    finally:
        dist.destroy_process_group()
