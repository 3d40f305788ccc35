"""One of two processes that share a batch.

`python -m pretextbench.testing.pair MODULE:CLASS MEETING PRECISION RANK TARGET`.
"""

import importlib
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
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


def main(path: str, meeting: str, precision: str, rank: int, target: str) -> None:
    """Meet the other process, take the turns, and write what was found."""
    torch.set_num_threads(1)
    module, name = path.split(":")
    method = getattr(importlib.import_module(module), name)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2, timeout=PATIENCE)
    half = BATCH // 2
    torch.save(turns(method, slice(rank * half, (rank + 1) * half), precision), target)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
