"""Communication across processes that carries gradients; the identity in a single process."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


def _alone() -> bool:
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def rank() -> int:
    """This process's number, 0 when alone."""
    return 0 if _alone() else dist.get_rank()


class _Gather(Function):
    """torch.distributed.nn has the same function, but it is deprecated and warns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Every process used what this one sent: the sum of their gradients, and of it this process's part."""
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gather(x: Tensor) -> Tensor:
    """Concatenate (B, ...) of every process, in order of rank: (world B, ...). Gradients flow back to every process."""
    if _alone():
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def mean(x: Tensor) -> Tensor:
    """Average over processes, with the gradient of the average."""
    return x if _alone() else gather(x[None]).mean(0)
