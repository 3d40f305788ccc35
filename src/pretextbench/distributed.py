"""Communication across processes that carries gradients, and batch norm over all of them; the identity in one process.

Every process is given as many images as every other: a batch that does not divide is refused before training.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function

__all__ = ["SynchronisedBatchNorm", "gather", "mean", "processes", "rank", "synchronised"]


def _is_single() -> bool:
    return not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1


def rank() -> int:
    """The rank of this process, 0 in a single process."""
    return 0 if _is_single() else dist.get_rank()


def processes() -> int:
    """The number of processes that share a batch."""
    return 1 if _is_single() else dist.get_world_size()


class _Gather(Function):
    """torch.distributed.nn has the same function, but it is deprecated and warns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Sum of the gradients of all processes, since each used this one's part; of the sum, this process's part."""
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gather(x: Tensor) -> Tensor:
    """Concatenate (B, ...) of every process, in order of rank: (world B, ...). Gradients flow back to every process."""
    if _is_single():
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


def mean(x: Tensor) -> Tensor:
    """Average over processes, with the gradient of the average."""
    return x if _is_single() else gather(x[None]).mean(0)


def join(staged: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """Rows (n, ...) that the calls of `loss` staged in one step, by name: of all calls and all processes, by rank."""
    return {name: gather(torch.cat(staged[name])) for name in sorted(staged)}  # sorted: in every process alike


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm by mean and variance of the images of all processes: torch's own runs on accelerators only."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any (B, C, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) of this process, normalised over all processes; in evaluation by the running statistics."""
        if not self.training or _is_single():
            return super().forward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        axes, shape = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2))
        centre = mean(wide.mean(axes))  # (C,)
        centred = wide - centre.view(shape)
        variance = mean(centred.square().mean(axes))
        self._remember(centre.detach(), variance.detach(), dist.get_world_size() * x.numel() // x.shape[1])
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(x.dtype)

    @torch.no_grad()
    def _remember(self, centre: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics, by the unbiased variance of `count` values, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(centre.to(self.running_mean), share)
        self.running_var.lerp_((variance * count / max(count - 1, 1)).to(self.running_var), share)


def synchronised(module: nn.Module, device: torch.device) -> nn.Module:
    """Make every batch norm in a module use all processes, in place; names and weights stay. One process: no-op."""
    if _is_single():
        return module
    if device.type != "cpu":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return converted
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.__class__ = SynchronisedBatchNorm  # same parameters, buffers and settings; only forward differs
    return module
