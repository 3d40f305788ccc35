"""One of two processes that share a batch."""

import importlib
import os
import sys
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from pretextbench.distributed import synchronised
from pretextbench.method import Batch
from pretextbench.testing.bench import BATCH, Method, batch, build

PATIENCE = timedelta(seconds=60)  # for one message


def turns(method: Method, own: slice, precision: str, seed: int = 2) -> dict[str, Tensor]:
    """Loss and gradient (P,) of every player on its own part of the kit's batch, all norms over all processes.

    `precision`: `float64` or `float32`. In float32 the norms of two processes round otherwise than those of one, and
    activations near zero change sign: gradients of some methods then differ by 1e-2.
    """
    training, found, dtype = build(method), dict[str, Tensor](), getattr(torch, precision)
    synchronised(training.method.to(dtype), torch.device("cpu"))
    for player in training.players:
        whole = batch(training, player=player.name)
        part = Batch(tuple(view[own].to(dtype) for view in whole.views), whole.index[own], player=player.name)
        torch.manual_seed(seed)
        training.method.zero_grad(set_to_none=True)
        total = training.method.loss(part).total
        total.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in player.parameters]
        found[f"{player.name}.loss"] = total.detach()
        found[f"{player.name}.gradient"] = torch.cat([gradient.flatten() for gradient in gradients])
    return found


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
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=PATIENCE)
    half = BATCH // 2
    try:
        return {
            key: value.numpy() for key, value in turns(method, slice(rank * half, (rank + 1) * half), precision).items()
        }
    finally:
        dist.destroy_process_group()
